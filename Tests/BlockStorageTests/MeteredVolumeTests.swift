import BlockStorage
import IORuntime
import Metrics
import Testing

@Suite struct MeteredVolumeTests {
    @Test(
        "requests, bytes, failures by code and the queue reach the backend under the volume's name, until it is closed")
    func publishes() async throws {
        let metrics = RecordedMetrics()
        let base = StrictVolume(size: 65536)
        let volume = MeteredVolume(base, volume: "pool/web", metrics: metrics)
        try await volume.write([1, 2, 3], at: 10)
        try await volume.write([1], at: 0)
        _ = try await volume.read(0..<100)
        try await volume.flush()
        try await volume.writeZeroes(0..<4096)
        try await volume.discard(4096..<8192)
        base.fail(.read, after: 0)
        await #expect(throws: StorageError.self) { try await volume.read(0..<1) }
        for (operation, count, bytes) in [("write", 2, 4), ("read", 2, 100), ("zero", 1, 4096), ("discard", 1, 4096)] {
            #expect(metrics["sluice_volume_operation_seconds pool/web \(operation)"] == Int64(count))
            #expect(metrics["sluice_volume_bytes_total pool/web \(operation)"] == Int64(bytes))
        }
        #expect(metrics["sluice_volume_operation_seconds pool/web flush"] == 1)
        #expect(metrics["sluice_volume_errors_total pool/web read inputOutput"] == 1)
        #expect(metrics["sluice_volume_queue_depth pool/web"] == 0)
        #expect(metrics.highest["sluice_volume_queue_depth pool/web"] == 1)
        try await volume.close()
        #expect(metrics.liveCount == 0)
        try await volume.close()
        #expect(metrics.liveCount == 0)
    }

    @Test("a cache's lookups are published as they grow")
    func cache() async throws {
        let metrics = RecordedMetrics()
        let base = CachedVolume()
        let volume = MeteredVolume(base, volume: "pool/web", metrics: metrics)
        base.lookups.withLock { $0 = CacheLookups(hits: 7, misses: 2) }
        volume.publish()
        base.lookups.withLock { $0 = CacheLookups(hits: 9, misses: 2) }
        volume.publish()
        #expect(metrics["sluice_volume_cache_lookups_total pool/web hit"] == 9)
        #expect(metrics["sluice_volume_cache_lookups_total pool/web miss"] == 2)
        try await volume.close()
        #expect(metrics.liveCount == 0)
    }
}

/// Says what it is told of its lookups.
private final class CachedVolume: CachingVolume {
    let lookups = Locked(CacheLookups())
    private let base = StrictVolume(size: 4096)

    var cacheLookups: CacheLookups { lookups.withLock { $0 } }
    var geometry: VolumeGeometry { base.geometry }
    var stack: String { "cached" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await base.read(into: &buffer, at: offset)
    }
    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try await base.write(bytes, at: offset, options: options)
    }
    func flush() async throws(StorageError) { try await base.flush() }
    func discard(_ range: Range<UInt64>) async throws(StorageError) { try await base.discard(range) }
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await base.writeZeroes(range, options: options)
    }
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }
    func close() async throws(StorageError) { try await base.close() }
}

/// Keeps the sums of counters and meters, and how often timers were used.
private final class RecordedMetrics: MetricsFactory {
    private let sums = Locked<[String: Int64]>([:])
    private let highestSums = Locked<[String: Int64]>([:])
    private let live = Locked(0)

    var liveCount: Int { live.withLock { $0 } }
    var highest: [String: Int64] { highestSums.withLock { $0 } }

    /// By the label and the values of the dimensions.
    subscript(key: String) -> Int64? { sums.withLock { $0[key] } }

    private func handler(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        live.withLock { $0 += 1 }
        let key = ([label] + dimensions.map(\.1)).joined(separator: " ")
        return Handler { [sums, highestSums] amount in
            let sum = sums.withLock { sums in
                sums[key, default: 0] += amount
                return sums[key] ?? 0
            }
            highestSums.withLock { $0[key] = max($0[key] ?? 0, sum) }
        }
    }

    final class Handler: CounterHandler, TimerHandler, MeterHandler {
        private let add: @Sendable (Int64) -> Void
        init(_ add: @escaping @Sendable (Int64) -> Void) { self.add = add }
        func increment(by amount: Int64) { add(amount) }
        func increment(by amount: Double) { add(Int64(amount)) }
        func decrement(by amount: Double) { add(-Int64(amount)) }
        func set(_ value: Int64) {}
        func set(_ value: Double) {}
        func reset() {}
        func recordNanoseconds(_ duration: Int64) { add(1) }
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { handler(label, dimensions) }
    func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler { handler(label, dimensions) }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { handler(label, dimensions) }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance
    }
    func destroyCounter(_ handler: any CounterHandler) { live.withLock { $0 -= 1 } }
    func destroyMeter(_ handler: any MeterHandler) { live.withLock { $0 -= 1 } }
    func destroyTimer(_ handler: any TimerHandler) { live.withLock { $0 -= 1 } }
    func destroyRecorder(_ handler: any RecorderHandler) {}
}
