import IORuntime
import Metrics

/// Publishes what a throttled volume has had, with the dimension `volume`:
///
/// | metric | kind | |
/// | --- | --- | --- |
/// | `sluice_volume_normalised_operations_total` | counter | 4 KiB operations that were let through |
/// | `sluice_volume_throttled_requests_total` | counter | requests that had to wait |
/// | `sluice_volume_throttle_wait_seconds` | timer | how long each of them did |
/// | `sluice_volume_limited_seconds_total` | counter | how long at least one was waiting |
/// | `sluice_volume_burst_credit_operations` | meter | 4 KiB operations of burst that are saved |
final class ThrottleMeter: Sendable {
    private let operations: Counter
    private let throttled: Counter
    private let wait: Timer
    private let limited: FloatingPointCounter
    private let credit: Meter
    private let published = Locked(ThrottleStatistics())

    init(volume: String, _ factory: any MetricsFactory) {
        let dimensions = [("volume", volume)]
        operations = Counter(
            label: "sluice_volume_normalised_operations_total", dimensions: dimensions, factory: factory)
        throttled = Counter(label: "sluice_volume_throttled_requests_total", dimensions: dimensions, factory: factory)
        wait = Timer(label: "sluice_volume_throttle_wait_seconds", dimensions: dimensions, factory: factory)
        limited = FloatingPointCounter(
            label: "sluice_volume_limited_seconds_total", dimensions: dimensions, factory: factory)
        credit = Meter(label: "sluice_volume_burst_credit_operations", dimensions: dimensions, factory: factory)
    }

    func waited(_ nanoseconds: UInt64) { wait.recordNanoseconds(Int64(clamping: nanoseconds)) }

    /// Publishes what has come since the last time.
    func publish(_ statistics: () -> ThrottleStatistics) {
        published.withLock { old in
            // Read under the lock: else two that publish at once would count the same twice.
            let now = statistics()
            operations.increment(by: Self.difference(now.normalisedOperations, old.normalisedOperations))
            throttled.increment(by: Self.difference(now.throttledRequests, old.throttledRequests))
            limited.increment(by: Double(Self.difference(now.limitedNanoseconds, old.limitedNanoseconds)) / 1e9)
            credit.set(now.credit / CostCurve.unit)
            old = now
        }
    }

    private static func difference(_ new: UInt64, _ old: UInt64) -> Int64 { Int64(clamping: new - min(new, old)) }

    func unpublish() {
        operations.destroy()
        throttled.destroy()
        wait.destroy()
        limited.destroy()
        credit.destroy()
    }
}
