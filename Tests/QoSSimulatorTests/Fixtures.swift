import BlockStorage
import Foundation
import VolumeQoS

@testable import QoSSimulator

/// The folder Fixtures of the repository.
let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Fixtures")

/// A file that is there while the body runs.
func withFile<Value>(_ bytes: [UInt8], _ body: (String) throws -> Value) throws -> Value {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}

/// All that a trace replays.
func replay(_ path: String, _ format: TraceFormat = .msr, volume: String? = nil, unit: UInt64 = 1) throws
    -> [TraceRecord]
{
    var source = TraceSource(path: path, format: format)
    source.volume = volume
    source.timeUnit = unit
    let replay = try TraceReplay(source, seed: 1, stream: 0)
    var records: [TraceRecord] = []
    while let record = try replay.next() { records.append(record) }
    return records
}

/// All that a trace of these lines replays.
func records(_ text: String, _ format: TraceFormat, volume: String? = nil) throws -> [TraceRecord] {
    try withFile(Array(text.utf8)) { try replay($0, format, volume: volume) }
}

/// The error that a body throws, as the command prints it.
func message(_ body: () throws -> some Any) -> String {
    do {
        _ = try body()
        return "no error"
    } catch {
        return "\(error)"
    }
}

/// A cluster of one node, with greedy volumes unless told otherwise.
func scenario(
    iops: UInt64 = 10_000, seconds: UInt64 = 10, policies: [QoSPolicy],
    _ source: Workload.Source = .closed(depth: 32, think: 0)
) -> Scenario {
    let groups = policies.enumerated().map { index, policy in
        VolumeGroup(name: "volume\(index)", policy: VolumePolicy(policy), workloads: [Workload(source)])
    }
    return Scenario(
        name: "test", duration: seconds * 1_000_000_000, cluster: Cluster(nodes: [NodeGroup(name: "node", iops: iops)]),
        volumes: groups)
}

func run(_ scenario: Scenario) throws -> RunResult {
    var simulation = try Simulation(scenario)
    return try simulation.run()
}

extension RunResult {
    var allPassed: Bool { checks.allSatisfy { $0.passed } }
}
