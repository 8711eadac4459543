import Metrics
import Synchronization

/// The counters of one kind of request of one volume. They are created once; to record is a few atomic additions.
final class OperationMeter: Sendable {
    private let operations = Atomic<UInt64>(0)
    private let bytes = Atomic<UInt64>(0)
    private let errors = Atomic<UInt64>(0)
    private let nanoseconds = Atomic<UInt64>(0)
    private let operationsCounter: Counter
    private let bytesCounter: Counter
    private let errorsCounter: Counter
    private let timer: Timer

    init(_ operation: String, of volume: String, _ factory: any MetricsFactory) {
        let dimensions = [("volume", volume), ("operation", operation)]
        operationsCounter = Counter(
            label: "sluice_volume_operations_total", dimensions: dimensions, factory: factory)
        bytesCounter = Counter(label: "sluice_volume_bytes_total", dimensions: dimensions, factory: factory)
        errorsCounter = Counter(label: "sluice_volume_errors_total", dimensions: dimensions, factory: factory)
        timer = Timer(label: "sluice_volume_operation_seconds", dimensions: dimensions, factory: factory)
    }

    var counts: OperationCounts {
        OperationCounts(
            operations: operations.load(ordering: .relaxed), bytes: bytes.load(ordering: .relaxed),
            errors: errors.load(ordering: .relaxed), nanoseconds: nanoseconds.load(ordering: .relaxed))
    }

    func record(_ byteCount: Int, since start: ContinuousClock.Instant) {
        operations.wrappingAdd(1, ordering: .relaxed)
        bytes.wrappingAdd(UInt64(byteCount), ordering: .relaxed)
        operationsCounter.increment()
        if byteCount > 0 { bytesCounter.increment(by: byteCount) }
        recordTime(since: start)
    }

    /// Counts the failure and hands it on.
    func failed(_ error: StorageError, since start: ContinuousClock.Instant) -> StorageError {
        errors.wrappingAdd(1, ordering: .relaxed)
        errorsCounter.increment()
        recordTime(since: start)
        return error
    }

    func unpublish() {
        operationsCounter.destroy()
        bytesCounter.destroy()
        errorsCounter.destroy()
        timer.destroy()
    }

    private func recordTime(since start: ContinuousClock.Instant) {
        let elapsed = (ContinuousClock.now - start).components
        let total = elapsed.seconds &* 1_000_000_000 &+ elapsed.attoseconds / 1_000_000_000
        nanoseconds.wrappingAdd(UInt64(max(0, total)), ordering: .relaxed)
        timer.recordNanoseconds(total)
    }
}
