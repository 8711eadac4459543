import BlockStorage

/// A load on one volume.
public struct BenchmarkPlan: Sendable {
    public enum Pattern: String, CaseIterable, Sendable {
        case read, write, randread, randwrite, randrw

        public var writes: Bool { self != .read && self != .randread }
        var reads: Bool { self != .write && self != .randwrite }
        var isRandom: Bool { self != .read && self != .write }
    }

    public var pattern: Pattern
    /// Of every request, in bytes.
    public var blockSize: UInt64
    /// Requests in flight in each job.
    public var depth: Int
    /// Each runs on one executor, in turn.
    public var jobs = 1
    /// The load ends after this time, or after `count` requests of each job, whichever is first.
    public var runtime: Duration?
    public var count: UInt64?
    /// With a sequential pattern, request k goes to `k * step` modulo the size; nil for one block after the other.
    public var step: UInt64?
    /// Every write is durable when it completes.
    public var isDurable = false
    /// Requests a second of each job, sent at their times however long earlier ones take; nil for as many as it can.
    public var requestsPerSecond: UInt64?
    /// The same seed gives the same offsets.
    public var seed: UInt64 = 1

    public init(pattern: Pattern, blockSize: UInt64, depth: Int) {
        self.pattern = pattern
        self.blockSize = blockSize
        self.depth = depth
    }

    /// What all requests in flight need, or the largest number where that does not fit.
    private var bufferBytes: UInt64 {
        let (requests, isLarge) = depth.multipliedReportingOverflow(by: jobs)
        let (bytes, isLarger) = blockSize.multipliedReportingOverflow(by: UInt64(clamping: requests))
        return isLarge || isLarger ? .max : bytes
    }

    /// Throws `invalidArgument` for a load that cannot be, or that the volume cannot take.
    func check(_ geometry: VolumeGeometry) throws(StorageError) {
        let limits: [(Bool, String)] = [
            (blockSize > 0 && blockSize <= 64 << 20, "the block size is 1 byte to 64 MiB"),
            (
                blockSize % UInt64(max(1, geometry.blockSize)) == 0,
                "the volume takes blocks of \(geometry.blockSize) bytes"
            ),
            (blockSize <= geometry.size, "the volume has \(geometry.size) bytes only"),
            ((1...4096).contains(depth), "the depth is 1 to 4096"),
            ((1...256).contains(jobs), "there are 1 to 256 jobs"),
            (bufferBytes <= 4 << 30, "the buffers would exceed 4 GiB"),
            (runtime != nil || count != nil, "it needs a runtime or a count"),
            (runtime.map { $0 > .zero && $0 <= .seconds(31_536_000) } ?? true, "the runtime is at most a year"),
            (count.map { $0 > 0 } ?? true, "the count is at least 1"),
            (step.map { $0 > 0 && $0 <= geometry.size } ?? true, "the step is 1 byte to the volume's size"),
            (step == nil || !pattern.isRandom, "a step needs a sequential pattern"),
            (
                step.map { $0 % UInt64(max(1, geometry.blockSize)) == 0 } ?? true,
                "the step must fit the volume's blocks"
            ),
            (requestsPerSecond.map { (1...100_000_000).contains($0) } ?? true, "the rate is 1 to 100000000"),
        ]
        for (holds, why) in limits where !holds {
            throw StorageError(.invalidArgument, "run benchmark", why: why)
        }
        if pattern.writes { try geometry.checkWritable() }
    }
}

/// The offsets of a job's requests, in order.
struct OffsetGenerator {
    private let plan: BenchmarkPlan
    private let size: UInt64
    private let blocks: UInt64
    private var next: UInt64
    private var random: UInt64

    init(_ plan: BenchmarkPlan, size: UInt64, job: Int) {
        self.plan = plan
        self.size = size
        blocks = max(1, size / plan.blockSize)
        // Jobs that run through the volume start apart.
        next = plan.step == nil ? blocks / UInt64(plan.jobs) * UInt64(job) : 0
        random = plan.seed &+ UInt64(job) &* 0x9E37_79B9_7F4A_7C15
    }

    mutating func nextOffset() -> UInt64 {
        if plan.pattern.isRandom {
            // The high bits of a product instead of a remainder: no division, and no bias that matters here.
            return nextRandom().multipliedFullWidth(by: blocks).high * plan.blockSize
        }
        guard let step = plan.step else {
            let offset = next * plan.blockSize
            next = next + 1 == blocks ? 0 : next + 1
            return offset
        }
        let offset = next
        // Both are at most the size of a volume: far from overflow, but the size is the volume's to say.
        let following = next.addingSaturating(step)
        next = following < size ? following : following - size
        return offset <= size - plan.blockSize ? offset : 0
    }

    /// Whether the next request of a mixed load writes: every other one, at random.
    mutating func nextIsWrite() -> Bool {
        plan.pattern.writes && (!plan.pattern.reads || nextRandom() & 1 == 1)
    }

    /// SplitMix64.
    private mutating func nextRandom() -> UInt64 {
        random &+= 0x9E37_79B9_7F4A_7C15
        var value = random
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
