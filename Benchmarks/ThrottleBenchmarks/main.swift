import BlockStorage
import Foundation
import IORuntime
import VolumeQoS

/// Shows that live limits are what they say: how near a maximum is held, what throttling costs, and that minimums hold on a
/// device that somebody else would take whole. Ends with 1 where something does not hold.

nonisolated(unsafe) var failures = 0

func report(_ holds: Bool, _ text: String) {
    if !holds { failures += 1 }
    print("\(holds ? "ok    " : "MISSED") \(text)")
}

func percent(_ value: Double) -> String { String(format: "%+.3f %%", value * 100) }
func fixed(_ value: Double, _ digits: Int = 2) -> String { String(format: "%.\(digits)f", value) }

// MARK: - Maximums

struct MaximumCase: Sendable {
    var rate: UInt64
    var depth: Int
    var size: Int

    func run(seconds: Int) async -> (MaximumCase, Double) {
        guard let policy = try? QoSPolicy(maxIOPS: rate) else { return (self, 0) }
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), policy)
        let counts = await load(volume, depth: depth, sizes: [size], seconds: seconds)
        return (self, Double(counts.total))
    }

    func show(_ amount: Double, seconds: Int) {
        let expected = Double(rate) * Double(seconds * 100)
        let request = Double(CostCurve.element.cost(of: UInt64(size)))
        let isHeld = abs(amount - expected) <= max(expected / 100, request)
        let name = "maximum \(rate) IOPS, depth \(depth), \(size >> 10) KiB"
        report(
            isHeld,
            "\(name): \(fixed(amount / Double(seconds * 100), 1)) IOPS over \(seconds) s, "
                + "\(percent(amount / expected - 1)), \(fixed((amount - expected) / request)) requests")
    }
}

func showMaximums(seconds: Int) async {
    let sizes = [4096, 16 << 10, 64 << 10, 256 << 10, 1 << 20]
    let all = [100, 1000, 10_000, 100_000].flatMap { rate in
        [1, 32, 256].flatMap { depth in
            sizes.map { MaximumCase(rate: rate, depth: depth, size: $0) }
        }
    }
    // What keeps the processor busy runs alone or in threes, the rest together.
    var batches = [all.filter { $0.rate <= 1000 }, all.filter { $0.rate == 10_000 }]
    let fast = all.filter { $0.rate > 10_000 }
    batches += fast.filter { $0.size <= 4096 }.map { [$0] }
    for size in sizes where size > 4096 { batches.append(fast.filter { $0.size == size }) }
    for batch in batches {
        let results = await withTaskGroup(of: (MaximumCase, Double).self) { group in
            for tested in batch { group.addTask { await tested.run(seconds: seconds) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        for (tested, amount) in results.sorted(by: {
            ($0.0.rate, $0.0.depth, $0.0.size) < ($1.0.rate, $1.0.depth, $1.0.size)
        }) {
            tested.show(amount, seconds: seconds)
        }
    }
}

// MARK: - Overhead

/// Times of reads, one after the other, in nanoseconds, sorted.
func latencies(_ volume: any Volume, count: Int) async -> [UInt64] {
    await IOExecutorGroup.shared.run {
        var buffer = IOBuffer(byteCount: 4096)
        var times = [UInt64](repeating: 0, count: count)
        for index in 0..<count {
            let start = MonotonicTime.nanoseconds()
            var bytes = buffer.mutableBytes
            try? await volume.read(into: &bytes, at: 0)
            times[index] = MonotonicTime.nanoseconds() - start
        }
        return times.sorted()
    }
}

/// The time of a read, in nanoseconds, without looking at the clock at each.
func average(_ volume: any Volume, count: Int) async -> Double {
    await IOExecutorGroup.shared.run {
        var buffer = IOBuffer(byteCount: 4096)
        let start = MonotonicTime.nanoseconds()
        for _ in 0..<count {
            var bytes = buffer.mutableBytes
            try? await volume.read(into: &bytes, at: 0)
        }
        return Double(MonotonicTime.nanoseconds() - start) / Double(count)
    }
}

func showOverhead() async {
    let bare = NothingVolume()
    let unlimited = ThrottledVolume(bare, .unlimited)
    // The best of several rounds of each: what else runs on the machine only adds.
    var (without, with) = (Double.infinity, Double.infinity)
    for _ in 0..<9 {
        without = min(without, await average(bare, count: 1_000_000))
        with = min(with, await average(unlimited, count: 1_000_000))
    }
    report(with - without < 300, "an unlimited volume adds \(fixed(with - without, 0)) ns a request, below 300")

    guard let policy = try? QoSPolicy(minIOPS: 1000, maxIOPS: 50_000_000) else { return }
    let limited = ThrottledVolume(bare, policy)
    var (bareMiddle, bareTail, middle, tail) = (UInt64.max, UInt64.max, UInt64.max, UInt64.max)
    for _ in 0..<9 {
        let (without, with) = (await latencies(bare, count: 200_000), await latencies(limited, count: 200_000))
        (bareMiddle, bareTail) = (min(bareMiddle, without[100_000]), min(bareTail, without[198_000]))
        (middle, tail) = (min(middle, with[100_000]), min(tail, with[198_000]))
    }
    let waited = limited.statistics.throttledRequests
    report(
        tail < bareTail + 5000,
        "a volume under its limit adds \(middle - min(middle, bareMiddle)) ns at the median and \(tail - min(tail, bareTail)) ns "
            + "at the 99th percentile, below 5000; \(waited) of \(limited.statistics.requests) requests waited")
}

// MARK: - Minimums

func showMinimums(_ name: String, sizes: [Int], seconds: Int, _ options: ThrottleGroup.Options) async {
    let capacity: UInt64 = 5000
    let device = DeviceVolume(capacity: capacity)
    let group = ThrottleGroup(options)
    // The first is greedy.
    let minimums: [UInt64] = [250, 500, 1000, 1500]
    let results = await withTaskGroup(of: (Int, [Int64]).self) { tasks in
        for (index, minimum) in minimums.enumerated() {
            guard let policy = try? QoSPolicy(minIOPS: minimum) else { continue }
            let volume = ThrottledVolume(device, policy, in: group)
            let depth = index == 0 ? 256 : 64
            tasks.addTask {
                // The first second is that of all queues' filling.
                let counts = await load(
                    volume, depth: depth, sizes: sizes, seconds: seconds + 1, seed: UInt64(index) << 32)
                return (index, Array(counts.perSecond.dropFirst()))
            }
        }
        return await tasks.reduce(into: Array(repeating: [Int64](), count: 4)) { $0[$1.0] = $1.1 }
    }
    let largest = Double(sizes.map { CostCurve.element.cost(of: UInt64($0)) }.max() ?? 100)
    for (index, minimum) in minimums.enumerated().dropFirst() {
        let wanted = Double(minimum) * 100
        let bound = largest * (2 + Double(minimums.count) * Double(minimum) / Double(capacity))
        let needed = sizes.count == 1 ? wanted * 0.98 : wanted - bound
        let worst = Double(results[index].min() ?? 0)
        report(
            worst >= needed,
            "\(name): minimum \(minimum), worst of \(seconds) seconds \(fixed(worst / 100, 1)) IOPS "
                + "(at least \(fixed(needed / 100, 1)))")
    }
    let used = (0..<seconds).map { index in results.reduce(0) { $0 + $1[index] } }
    let least = Double(used.min() ?? 0) / Double(capacity * 100)
    let mean = Double(used.reduce(0, +)) / Double(capacity * 100) / Double(seconds)
    report(
        mean >= 0.99,
        "\(name): the device is used by \(fixed(mean * 100)) %, \(fixed(least * 100)) % in the worst second; greedy has "
            + "\(fixed(Double(results[0].reduce(0, +)) / Double(100 * seconds), 0)) IOPS of \(capacity)")
}

let arguments = Set(CommandLine.arguments.dropFirst())
let everything = arguments.isEmpty
if everything || arguments.contains("overhead") { await showOverhead() }
if everything || arguments.contains("minimums") {
    // A device of unknown capacity, which says by itself when it takes more; and one whose capacity is known.
    var unknown = ThrottleGroup.Options()
    unknown.slots = 32
    var known = unknown
    known.capacity = 5000
    for (name, options) in [("capacity unknown", unknown), ("capacity set", known)] {
        await showMinimums("4 KiB, \(name)", sizes: [4096], seconds: 10, options)
        await showMinimums(
            "4 to 256 KiB, \(name)", sizes: [4096, 16 << 10, 64 << 10, 256 << 10], seconds: 10, options)
    }
}
if everything || arguments.contains("maximums") { await showMaximums(seconds: 10) }
print(failures == 0 ? "everything holds" : "\(failures) do not hold")
exit(failures == 0 ? 0 : 1)
