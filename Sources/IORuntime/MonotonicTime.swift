import CURing
import Glibc

/// The monotonic clock, for what is timed at every request.
public enum MonotonicTime {
    /// Nanoseconds since some moment before this process began. The corresponding C function is `clock_gettime`.
    public static func nanoseconds() -> UInt64 { read(CLOCK_MONOTONIC) }

    /// The same, some milliseconds behind and cheaper: for limits that are much longer.
    package static func coarseNanoseconds() -> UInt64 { read(CLOCK_MONOTONIC_COARSE) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        // Sound: the kernel fills the structure during the call.
        unsafe clock_gettime(clock, &time)
        return UInt64(bitPattern: Int64(time.tv_sec)) &* 1_000_000_000 &+ UInt64(bitPattern: Int64(time.tv_nsec))
    }
}
