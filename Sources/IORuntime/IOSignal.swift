/// Where one task of an executor waits for another task of the same executor, without a lock or an allocation.
///
/// A signal that comes before the wait is remembered, once. Cancellation does not end the wait: who owns the signal
/// gives it in the end.
@safe
package final class IOSignal: @unchecked Sendable {
    // Sound: confined to one executor, whose tasks run one at a time.
    private var continuation: UnsafeContinuation<Void, Never>?
    private var isSignalled = false

    package init() {}

    /// Returns when the signal is given, or at once if it was. One task at a time may wait.
    @inline(__always)
    package func wait() async {
        if isSignalled {
            isSignalled = false
            return
        }
        await unsafe withUnsafeContinuation { continuation in
            precondition(unsafe self.continuation == nil, "two tasks wait for one signal")
            unsafe self.continuation = continuation
        }
    }

    /// Lets the waiting task go on, behind the tasks that are runnable already.
    @inline(__always)
    package func signal() {
        guard let waiter = unsafe continuation else {
            isSignalled = true
            return
        }
        unsafe continuation = nil
        unsafe waiter.resume()
    }
}
