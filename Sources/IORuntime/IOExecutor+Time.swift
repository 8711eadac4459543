import CURing
import Glibc

extension IOExecutor {
    /// Suspends the task until `duration` has passed on the monotonic clock, never less. Returns early, without an
    /// error, when the task is cancelled: check `Task.isCancelled`.
    public static func sleep(for duration: Duration) async {
        var now = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &now)
        let (seconds, attoseconds) = duration.components
        guard seconds >= 0, attoseconds >= 0 else { return }
        let nanoseconds = Int64(now.tv_nsec) + (attoseconds + 999_999_999) / 1_000_000_000
        var time = __kernel_timespec()
        time.tv_sec =
            Int64(now.tv_sec).addingReportingOverflow(seconds).overflow
            ? .max : Int64(now.tv_sec) + seconds + nanoseconds / 1_000_000_000
        time.tv_nsec = nanoseconds % 1_000_000_000
        _ = await wait(until: time)
    }

    private static func wait(until time: __kernel_timespec) async -> Int {
        // The slot copies the time before the first suspension, so a copy on this frame is enough; from another
        // executor the request hops first, so the copy lives in a box.
        let box = TimeBox(time)
        let result = await perform(unsafe IORequest(.timeout, -1, box.memory, count: 1))
        return withExtendedLifetime(box) { result }
    }

    /// Suspends the task until `descriptor` is ready for one of `events` (`POLLIN`, `POLLOUT`, …). Returns the events
    /// that hold. Throws `ECANCELED` when the task is cancelled.
    public static func ready(_ descriptor: Int32, for events: Int32) async throws(SystemError) -> Int32 {
        Int32(
            truncatingIfNeeded: try await perform(unsafe IORequest(.poll, descriptor, flags: events))
                .checked("poll"))
    }
}

/// A time at a fixed address.
@safe
private final class TimeBox: @unchecked Sendable {
    // Sound: written once, read by the engine while the box is alive.
    let memory: UnsafeMutableRawPointer

    init(_ time: __kernel_timespec) {
        unsafe memory = .allocate(byteCount: MemoryLayout<__kernel_timespec>.size, alignment: 8)
        unsafe memory.storeBytes(of: time, as: __kernel_timespec.self)
    }

    deinit { unsafe memory.deallocate() }
}
