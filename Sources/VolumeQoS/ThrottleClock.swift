import IORuntime

/// What time it is, and a way to wait: the real one, or a test's.
///
/// Rates hold over any time because nothing is counted in waits: a volume's tokens come with the clock, a wait ends when
/// they are there and never before, rounded up to a nanosecond, and who wakes late finds what came meanwhile, up to
/// `ThrottleGroup.Options.lateness`.
public protocol ThrottleClock: Sendable {
    /// In nanoseconds, never less than before.
    func now() -> UInt64
    /// Returns at that time or later; at once when the task is cancelled.
    func sleep(until time: UInt64) async
}

/// The monotonic clock of the system, and timers of the I/O executors.
public struct MonotonicClock: ThrottleClock {
    public init() {}

    public func now() -> UInt64 { MonotonicTime.nanoseconds() }

    public func sleep(until time: UInt64) async {
        let now = now()
        guard time > now else { return }
        await IOExecutor.sleep(for: .nanoseconds(Int64(clamping: time - now)))
    }
}
