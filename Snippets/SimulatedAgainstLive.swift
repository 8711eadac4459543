// One scenario twice: by the clock on a device of known capacity in memory, and in virtual time. With the argument
// `mixed` each volume has requests of another size.

import BlockStorage
import QoSSimulator
import VolumeQoS

let capacity: UInt64 = 10_000
let seconds = 8
let isMixed = CommandLine.arguments.contains("mixed")
let volumes: [(name: String, policy: QoSPolicy, depth: Int, size: Int)] = [
    ("greedy", try QoSPolicy(minIOPS: 500, maxIOPS: 20_000), 256, isMixed ? 65_536 : 4096),
    ("limited", try QoSPolicy(minIOPS: 1000, maxIOPS: 1500), 32, isMixed ? 16_384 : 4096),
    ("small", try QoSPolicy(minIOPS: 1500, maxIOPS: 5000), 32, 4096),
    ("large", try QoSPolicy(minIOPS: 3000, maxIOPS: 9000), 64, isMixed ? 262_144 : 4096),
]

/// In operations of 4 KiB.
func cost(_ size: Int) -> Double { Double(CostCurve.element.cost(of: UInt64(size))) / Double(CostCurve.unit) }

// snippet.simulate
var scenario = Scenario(
    name: "device", duration: UInt64(seconds) * 1_000_000_000,
    cluster: Cluster(nodes: [NodeGroup(name: "device", iops: capacity)]),
    volumes: volumes.map { name, policy, depth, size in
        var workload = Workload(.closed(depth: depth, think: 0))
        workload.sizes = [Workload.SizeShare(byteCount: UInt64(size))]
        return VolumeGroup(name: name, policy: VolumePolicy(policy), workloads: [workload])
    })
scenario.cluster.nodes[0].readLatency = 0...0
var simulation = try Simulation(scenario)
let result = try simulation.run()
let simulated = volumes.map { result.windows(of: $0.name) }
// snippet.end

/// Operations of 4 KiB of each volume in each second.
func live() async throws -> [[Double]] {
    var options = ThrottleGroup.Options()
    options.capacity = capacity
    let group = ThrottleGroup(options)
    let start = ContinuousClock.now
    return try await withThrowingTaskGroup(of: (volume: Int, counts: [Double]).self) { tasks in
        for (index, volume) in volumes.enumerated() {
            let throttled = ThrottledVolume(MemoryVolume(size: 1 << 20), volume.policy, in: group)
            for _ in 0..<volume.depth {
                tasks.addTask {
                    var counts = [Double](repeating: 0, count: seconds)
                    var buffer = [UInt8](repeating: 0, count: volume.size)
                    while true {
                        var span = buffer.mutableSpan
                        var bytes = span.mutableBytes
                        try await throttled.read(into: &bytes, at: 0)
                        let window = Int((ContinuousClock.now - start) / .seconds(1))
                        guard window < seconds else { return (index, counts) }
                        counts[window] += cost(volume.size)
                    }
                }
            }
        }
        var sums = volumes.map { _ in [Double](repeating: 0, count: seconds) }
        for try await (volume, counts) in tasks {
            for second in 0..<seconds { sums[volume][second] += counts[second] }
        }
        return sums
    }
}

let measured = try await live()
// Requests are not split, so with large ones a window has some more or less, besides two in a hundred.
let largest = volumes.map { cost($0.size) }.max() ?? 1
var worst = 0.0
for (index, volume) in volumes.enumerated() {
    let share = Double(volumes.count) * Double(volume.policy.minIOPS ?? 0) / Double(capacity)
    let allowance = isMixed ? largest * (2 + share) : 0
    // The last second ends in the middle of a request, and the first one begins with what the buckets hold.
    for second in 1..<(seconds - 1) {
        let (found, expected) = (measured[index][second], simulated[index][second])
        worst = max(worst, max(0, abs(found - expected) - allowance) / expected)
    }
    let means = [measured, simulated].map { $0[index][1..<(seconds - 1)].reduce(0, +) / Double(seconds - 2) }
    print(
        "  \(volume.name), requests of \(volume.size / 1024) KiB: live \(Int(means[0])), simulated \(Int(means[1])) IOPS"
    )
}
print(
    "  in no second more than \(Double(Int(worst * 10_000)) / 100) % apart\(isMixed ? ", besides whole requests" : "")")
guard worst <= 0.02 else { throw StorageError(.internalError, "compare", why: "more than 2 %") }
