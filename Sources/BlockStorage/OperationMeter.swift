import IORuntime
import Metrics

/// The metrics of one kind of request of one volume. They are created once; to record takes no lock and no memory.
final class OperationMeter: Sendable {
    private let timer: Timer
    /// Nil for requests that move nothing.
    private let bytes: Counter?
    /// Requests of any kind that are in flight.
    private let depth: Meter
    private let dimensions: [(String, String)]
    private let factory: any MetricsFactory
    private let errors = Locked<[StorageError.Code: Counter]>([:])

    init(
        _ operation: String, of volume: String, movesBytes: Bool = true, depth: Meter, _ factory: any MetricsFactory
    ) {
        dimensions = [("volume", volume), ("operation", operation)]
        self.factory = factory
        self.depth = depth
        timer = Timer(label: "sluice_volume_operation_seconds", dimensions: dimensions, factory: factory)
        bytes =
            movesBytes
            ? Counter(label: "sluice_volume_bytes_total", dimensions: dimensions, factory: factory) : nil
    }

    /// A request begins: returns the time.
    @inline(__always)
    func begin() -> UInt64 {
        depth.increment()
        return MonotonicTime.nanoseconds()
    }

    /// A request has succeeded.
    @inline(__always)
    func end(_ byteCount: Int, since start: UInt64) {
        recordTime(since: start)
        bytes?.increment(by: byteCount)
    }

    /// A request has failed: counts the error by its code, and hands it on.
    @inline(never)
    func end(_ error: StorageError, since start: UInt64) -> StorageError {
        recordTime(since: start)
        let counter = errors.withLock { errors in
            if let counter = errors[error.code] { return counter }
            let counter = Counter(
                label: "sluice_volume_errors_total", dimensions: dimensions + [("code", error.code.rawValue)],
                factory: factory)
            errors[error.code] = counter
            return counter
        }
        counter.increment()
        return error
    }

    @inline(__always)
    private func recordTime(since start: UInt64) {
        timer.recordNanoseconds(MonotonicTime.nanoseconds() &- start)
        depth.decrement()
    }

    func unpublish() {
        timer.destroy()
        bytes?.destroy()
        let errors = errors.withLock { errors in
            defer { errors = [:] }
            return errors
        }
        for counter in errors.values { counter.destroy() }
    }
}
