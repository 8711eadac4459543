import CURing
import Glibc
import SystemPackage

/// A number that a library or another thread adds to, and that one task waits for and takes: `eventfd(2)`.
package final class EventCounter: Sendable {
    /// Valid as long as the counter. Eight bytes that are written to it are a number to add.
    package let descriptor: Int32

    package init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError(Errno(rawValue: errno), "eventfd") }
    }

    deinit { _ = close(descriptor) }

    /// Waits until the number is not 0, and sets it to 0. Throws `ECANCELED` when the task is cancelled.
    package func wait() async throws(SystemError) {
        _ = try await IOExecutor.ready(descriptor, for: POLLIN)
        var count: UInt64 = 0
        _ = unsafe read(descriptor, &count, 8)
    }

    /// Adds one.
    package func add() {
        var one: UInt64 = 1
        _ = unsafe write(descriptor, &one, 8)
    }
}
