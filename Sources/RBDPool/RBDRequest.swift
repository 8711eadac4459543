#if RBD
    import CRBD
    import Glibc
    import IORuntime

    /// A request that librbd has, until it gives it back. It owns the memory that is read into: whoever asked may be gone
    /// by then.
    @safe
    final class RBDRequest: @unchecked Sendable {
        /// What the request is, by the name of the call.
        enum Call: String {
            case read = "rbd_aio_read"
            case write = "rbd_aio_write"
            case flush = "rbd_aio_flush"
            case discard = "rbd_aio_discard"
            case writeZeroes = "rbd_aio_write_zeroes"

            /// Whether it changes the image, so that it must not happen late.
            var isChange: Bool { self != .read && self != .flush }
        }

        @safe
        private enum State {
            case pending
            case awaited(UnsafeContinuation<Int, Never>)
            case done(Int)
            /// Nobody waits any more, and `isLate` says whether that is because it took too long.
            case abandoned(isLate: Bool)
        }

        let call: Call
        /// On `MonotonicTime`'s scale.
        let due: UInt64
        // Sound: librbd writes into it until the request is done, and the caller uses it only after that.
        private(set) var buffer: IOBuffer
        let bufferByteCount: Int
        private let state = Locked(State.pending)

        init(_ call: Call, due: UInt64, byteCount: Int = 0) {
            (self.call, self.due, bufferByteCount) = (call, due, byteCount)
            buffer = IOBuffer(byteCount: byteCount)
        }

        /// Copies what a finished request has read.
        func copy(to bytes: inout MutableRawSpan) {
            // Sound: the memory lives as long as this request.
            bytes.copy(from: unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(buffer.memory)))
        }

        /// Gives what a finished request has read, in exchange for a buffer of the same size.
        func exchange(_ other: inout IOBuffer) { swap(&buffer, &other) }

        /// Whether nobody waits any more, for whatever reason.
        var isAbandoned: Bool {
            state.withLock { if case .abandoned = $0 { true } else { false } }
        }

        /// Whether nobody waits any more, because it took too long.
        var isLate: Bool {
            state.withLock { if case .abandoned(true) = $0 { true } else { false } }
        }

        /// Waits for the result: what librbd returned, `-ETIMEDOUT` when that took too long, or `-ECANCELED` for a read
        /// whose task was cancelled. A cancelled change is waited for, because it may land.
        func result() async -> Int {
            guard call == .read else { return await wait() }
            return await withTaskCancellationHandler {
                await wait()
            } onCancel: {
                abandon(with: -Int(ECANCELED), isLate: false)
            }
        }

        private func wait() async -> Int {
            unsafe await withUnsafeContinuation { continuation in
                let result: Int? = state.withLock { state in
                    switch state {
                    case .pending:
                        unsafe state = .awaited(continuation)
                        return nil
                    case .awaited: return -Int(EINVAL)
                    case .done(let result): return result
                    case .abandoned(let isLate): return isLate ? -Int(ETIMEDOUT) : -Int(ECANCELED)
                    }
                }
                if let result { unsafe continuation.resume(returning: result) }
            }
        }

        /// librbd has given the request back. Returns whether it had been late.
        func complete(_ result: Int) -> Bool {
            let (waiter, wasLate) = unsafe state.withLock { state -> (UnsafeContinuation<Int, Never>?, Bool) in
                switch state {
                case .awaited(let continuation):
                    state = .done(result)
                    return unsafe (continuation, false)
                case .abandoned(let isLate): return (nil, isLate)
                case .pending, .done:
                    state = .done(result)
                    return (nil, false)
                }
            }
            unsafe waiter?.resume(returning: result)
            return wasLate
        }

        /// Ends the wait for a request that takes too long. Returns whether it is late from now on.
        func expire(now: UInt64) -> Bool { now >= due && abandon(with: -Int(ETIMEDOUT), isLate: true) }

        /// Ends the wait. Returns false when it was over.
        @discardableResult
        private func abandon(with result: Int, isLate: Bool) -> Bool {
            let (waiter, isAbandoned) = unsafe state.withLock { state -> (UnsafeContinuation<Int, Never>?, Bool) in
                switch state {
                case .awaited(let continuation):
                    state = .abandoned(isLate: isLate)
                    return unsafe (continuation, true)
                case .pending:
                    state = .abandoned(isLate: isLate)
                    return (nil, true)
                case .abandoned(isLate: false) where isLate:
                    // A cancelled one, which librbd has for too long by now.
                    state = .abandoned(isLate: true)
                    return (nil, true)
                case .done, .abandoned: return (nil, false)
                }
            }
            unsafe waiter?.resume(returning: result)
            return isAbandoned
        }
    }
#endif
