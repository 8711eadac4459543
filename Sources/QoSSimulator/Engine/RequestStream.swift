import BlockStorage

/// One workload of one volume while it is simulated.
struct RequestStream {
    enum Kind {
        case closed
        case open(OpenRate)
        case trace(TraceReplay)
    }

    let volume: Int
    let index: Int
    let kind: Kind
    /// Closed: how many requests are under way, and how long each is thought about; 0 for other kinds.
    let depth: Int
    let think: UInt64
    var random: SeededGenerator
    private let sizes: [Workload.SizeShare]
    private let readPercent: UInt64
    /// Where all requests are alike, that request.
    private let only: RequestCode?
    let start: UInt64
    let stop: UInt64
    private let activity: Workload.Activity?
    let limit: UInt64
    var isActive = false
    /// Closed: under way or being thought about.
    var outstanding = 0
    /// Issued in this cycle.
    var issued: UInt64 = 0

    init(_ workload: Workload, volume: Int, index: Int, seed: UInt64) throws(StorageError) {
        (self.volume, self.index) = (volume, index)
        switch workload.source {
        case .closed(let depth, let think): (kind, self.depth, self.think) = (.closed, depth, think)
        case .open(let rate): (kind, depth, think) = (.open(OpenRate(rate)), 0, 0)
        case .trace(let source):
            (kind, depth, think) = (.trace(try TraceReplay(source, seed: seed, stream: index)), 0, 0)
        }
        random = SeededGenerator(seed: seed, part: UInt64(index))
        sizes = workload.sizes
        readPercent = workload.readPercent
        only =
            sizes.count == 1 && (readPercent == 0 || readPercent == 100)
            ? RequestCode(stream: index, byteCount: sizes[0].byteCount, isWrite: readPercent == 0) : nil
        start = workload.start.saturatingSum(workload.spread > 0 ? random.below(workload.spread) : 0)
        stop = workload.stop
        activity = workload.activity
        limit = workload.limit ?? .max
    }

    /// The largest request that the stream issues; of traces that is not known.
    var largestSize: UInt64 {
        if case .trace = kind { return 1 << 20 }
        return sizes.map(\.byteCount).max() ?? 4096
    }

    /// The size and direction of the next request.
    @inline(__always)
    mutating func draw() -> RequestCode {
        if let only { return only }
        var byteCount = sizes[0].byteCount
        if sizes.count > 1 {
            var point = random.below(100_000)
            for size in sizes {
                byteCount = size.byteCount
                if point < size.share { break }
                point -= size.share
            }
        }
        let isWrite = random.below(100) >= readPercent
        return RequestCode(stream: index, byteCount: byteCount, isWrite: isWrite)
    }

    /// When the stream is active next or still at `time`, and until when; nil for never again.
    func period(from time: UInt64) -> (start: UInt64, end: UInt64)? {
        guard time < stop else { return nil }
        guard let activity else { return start < stop ? (max(start, time), stop) : nil }
        let cycles = time > start ? (time - start) / activity.cycle : 0
        var begin = start + cycles * activity.cycle
        if time >= begin + activity.active { begin = begin.saturatingSum(activity.cycle) }
        guard begin < stop else { return nil }
        return (max(begin, time), min(stop, begin.saturatingSum(activity.active)))
    }
}

/// How far apart the requests of an open stream are.
struct OpenRate {
    private let rate: Workload.Rate
    /// The mean distance in nanoseconds, by the part of the period.
    private let distances: [Double]

    private static let parts = 256

    init(_ rate: Workload.Rate) {
        self.rate = rate
        let mean = 1e12 / Double(max(1, rate.milliIOPS))
        distances =
            rate.swingPercent == 0
            ? [mean]
            : (0..<Self.parts).map { part in
                let turns = (Double(part) + 0.5) / Double(Self.parts) - Double(rate.peak) / Double(rate.period)
                let factor = 1 + Double(rate.swingPercent) / 100 * cosine(turns: turns)
                // A rate of nothing is drawn to one request in a thousand mean distances.
                return mean / max(0.001, factor)
            }
    }

    /// From a request at `time` to the next.
    func distance(at time: UInt64, _ random: inout SeededGenerator) -> UInt64 {
        var mean = distances[0]
        if distances.count > 1 {
            let part = UInt128(time % rate.period) * UInt128(Self.parts) / UInt128(rate.period)
            mean = distances[Int(part)]
        }
        let distance = rate.isPoisson ? mean * random.exponential() : mean
        return distance < 1e18 ? UInt64(distance) : 1 << 60
    }
}

extension UInt64 {
    /// The sum, or the largest number where it is larger than that.
    func saturatingSum(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
