import BlockStorage
import IORuntime
import Metrics
import Testing

@Suite struct MeteredVolumeTests {
    @Test("requests are counted by kind, with their bytes, failures and time")
    func counts() async throws {
        let base = StrictVolume(size: 65536)
        let volume = MeteredVolume(base, volume: "pool/web")
        try await volume.write([1, 2, 3], at: 10)
        try await volume.write([1], at: 0)
        _ = try await volume.read(0..<100)
        try await volume.flush()
        try await volume.writeZeroes(0..<4096)
        try await volume.discard(4096..<8192)
        base.fail(.read, after: 0)
        await #expect(throws: StorageError.self) { try await volume.read(0..<1) }
        let counts = volume.counts
        #expect(counts.writes.operations == 2 && counts.writes.bytes == 4 && counts.writes.errors == 0)
        #expect(counts.reads.operations == 1 && counts.reads.bytes == 100 && counts.reads.errors == 1)
        #expect(counts.flushes.operations == 1)
        #expect(counts.zeroes.operations == 1 && counts.zeroes.bytes == 4096)
        #expect(counts.discards.operations == 1 && counts.discards.bytes == 4096)
        #expect(counts.writes.nanoseconds > 0)
        try await volume.close()
        #expect(volume.counts == counts)
    }
}

extension MeteredVolumeTests {
    @Test("the same numbers reach the metrics backend, under the volume's name, until it is closed")
    func publishes() async throws {
        let metrics = RecordedMetrics()
        let base = StrictVolume(size: 65536)
        let volume = MeteredVolume(base, volume: "pool/web", metrics: metrics)
        try await volume.write([1, 2, 3], at: 0)
        _ = try await volume.read(0..<10)
        _ = try await volume.read(0..<20)
        base.fail(.write, after: 0)
        await #expect(throws: StorageError.self) { try await volume.write([1], at: 0) }
        #expect(metrics["sluice_volume_operations_total", "read"] == 2)
        #expect(metrics["sluice_volume_bytes_total", "read"] == 30)
        #expect(metrics["sluice_volume_bytes_total", "write"] == 3)
        #expect(metrics["sluice_volume_errors_total", "write"] == 1)
        #expect(metrics["sluice_volume_operation_seconds", "write"] == 2)
        try await volume.close()
        #expect(metrics.liveCount == 0)
    }
}

/// Keeps the sums of counters, and how often timers were used.
private final class RecordedMetrics: MetricsFactory {
    private let sums = Locked<[String: Int64]>([:])
    private let live = Locked(0)

    var liveCount: Int { live.withLock { $0 } }

    subscript(label: String, operation: String) -> Int64? {
        sums.withLock { $0["\(label) pool/web \(operation)"] }
    }

    private func handler(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        live.withLock { $0 += 1 }
        let key = ([label] + dimensions.map(\.1)).joined(separator: " ")
        return Handler { [sums] amount in sums.withLock { $0[key, default: 0] += amount } }
    }

    final class Handler: CounterHandler, TimerHandler {
        private let add: @Sendable (Int64) -> Void
        init(_ add: @escaping @Sendable (Int64) -> Void) { self.add = add }
        func increment(by amount: Int64) { add(amount) }
        func reset() {}
        func recordNanoseconds(_ duration: Int64) { add(1) }
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { handler(label, dimensions) }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { handler(label, dimensions) }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance
    }
    func destroyCounter(_ handler: any CounterHandler) { live.withLock { $0 -= 1 } }
    func destroyTimer(_ handler: any TimerHandler) { live.withLock { $0 -= 1 } }
    func destroyRecorder(_ handler: any RecorderHandler) {}
}
