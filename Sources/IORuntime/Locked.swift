import Glibc

/// A value behind a `pthread` mutex.
///
/// `Synchronization.Mutex` would do, but the thread sanitizer does not see its futex and reports false races.
@safe
public final class Locked<Value>: @unchecked Sendable {
    // Sound: `mutex` is initialised before use, never moved, and destroyed with the object; `value` is only touched
    // between lock and unlock.
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
    // Sound: the lock sees to it that only one has it.
    @safe @exclusivity(unchecked) @usableFromInline var value: Value

    public init(_ value: sending Value) {
        unsafe mutex = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        self.value = value
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    /// Runs `body` with exclusive access to the value. Not reentrant; `body` must not block.
    @inlinable @inline(__always)
    public func withLock<Result, Failure: Error>(
        _ body: (inout Value) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return try body(&value)
    }
}
