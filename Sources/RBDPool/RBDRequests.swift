#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import SystemPackage

    /// The requests of one open image that librbd has.
    ///
    /// librbd counts what it finishes in an event descriptor; a task on one executor takes the finished requests in
    /// batches and lets their callers go on. A request that is not back at its deadline fails with `ETIMEDOUT`, though
    /// librbd still has it, and will: after a change that is late in this way nothing more is begun until it is back, so
    /// that it cannot fall on newer bytes.
    @safe
    final class RBDRequests: Sendable {
        @safe
        private struct State {
            /// By the address of the completion.
            var inFlight: [UInt: RBDRequest] = [:]
            /// Calls that give a request to librbd and have not returned, though its answer may have come.
            var submissions = 0
            /// Changes that are late: they may still happen.
            var lateChanges = 0
            /// What requests that nobody waits for any more read into, as of the last look, in bytes.
            var abandonedBytes = 0
            /// The first error of a flush that was late: what it was to write may be lost.
            var lateFlushFailure: Int?
            var isStarted = false
            var isWatched = false
            var isStopped = false
            /// Who waits for the end of the last request, or for one to be late.
            var waiters: [UnsafeContinuation<Void, Never>] = unsafe []

            /// Whether librbd has nothing to do with the image any more.
            var isIdle: Bool { inFlight.isEmpty && submissions == 0 }

            mutating func takeWaiters() -> [UnsafeContinuation<Void, Never>] {
                defer { unsafe waiters = [] }
                return unsafe waiters
            }
        }

        let image: RBDImage
        private let events: EventCounter
        private let deadline: IODeadline?
        /// A guest that asks again and again of a cluster that does not answer must not fill the memory.
        private static let largestAbandoned = 64 << 20
        private let state = Locked(State())
        private let drainer = Locked<Task<Void, Never>?>(nil)

        init(_ image: RBDImage) throws(StorageError) {
            self.image = image
            deadline = image.connection.blocking.deadline
            events = try image.startEvents()
        }

        /// Whether nothing may be done for now.
        var isShut: Bool { state.withLock { $0.lateChanges > 0 } }

        /// The error of a flush that came when nobody waited for it any more.
        var lateFlushFailure: Int? { state.withLock { $0.lateFlushFailure } }

        /// Gives a request to librbd by `submit`, which returns minus an error number where it does not take it.
        ///
        /// Throws `ETIMEDOUT` while a change is late.
        func start(
            _ call: RBDRequest.Call, byteCount: Int = 0,
            _ submit: (rbd_image_t, rbd_completion_t, UnsafeMutableRawBufferPointer) -> Int32
        ) throws(SystemError) -> RBDRequest {
            let request = RBDRequest(call, due: deadline?.due ?? .max, byteCount: byteCount)
            var made: rbd_completion_t?
            try rbdChecked(
                "rbd_aio_create_completion", Int(unsafe rbd_aio_create_completion(nil, nil, &made)))
            guard let completion = unsafe made else { throw SystemError(.noMemory, "rbd_aio_create_completion") }
            let key = UInt(bitPattern: completion)
            let (isShut, needsStart, needsWatch) = state.withLock { state in
                guard !state.isStopped, state.lateChanges == 0, state.abandonedBytes < Self.largestAbandoned else {
                    return (true, false, false)
                }
                state.inFlight[key] = request
                state.submissions += 1
                defer { (state.isStarted, state.isWatched) = (true, state.isWatched || deadline != nil) }
                return (false, !state.isStarted, !state.isWatched && deadline != nil)
            }
            if isShut {
                unsafe rbd_aio_release(completion)
                throw SystemError(.timedOut, "\(call.rawValue) waits for a late change")
            }
            if needsStart {
                let executor = IOExecutor.current ?? IOExecutorGroup.shared.next()
                drainer.withLock { $0 = Task.detached(executorPreference: executor) { await self.drain() } }
            }
            if needsWatch { Task.detached { await self.watch() } }
            let result = unsafe submit(image.handle, completion, request.buffer.memory)
            let isStopped = end { state in
                state.submissions -= 1
                if result < 0 { state.inFlight.removeValue(forKey: key) }
            }
            // Whoever drains may have waited for this only.
            if isStopped { events.add() }
            guard result >= 0 else {
                unsafe rbd_aio_release(completion)
                throw SystemError(Errno(rawValue: -result), call.rawValue)
            }
            return request
        }

        /// Notes the end of something, and wakes those who wait for the last. Returns whether nothing more is begun.
        @discardableResult
        private func end(_ body: (inout State) -> Void) -> Bool {
            let (waiters, isStopped) = unsafe state.withLock { state in
                body(&state)
                return unsafe (state.isIdle ? state.takeWaiters() : [], state.isStopped)
            }
            unsafe wake(waiters)
            return isStopped
        }

        private func wake(_ waiters: [UnsafeContinuation<Void, Never>]) {
            unsafe waiters.forEach { unsafe $0.resume() }
        }

        /// Takes finished requests until `stop`, and until none is left.
        private func drain() async {
            var completions = unsafe [rbd_completion_t?](repeating: nil, count: 64)
            while true {
                if state.withLock({ $0.isStopped && $0.isIdle }) { return }
                // Fails only where the task is cancelled, which nobody does.
                try? await events.wait()
                while true {
                    let taken = unsafe rbd_poll_io_events(image.handle, &completions, Int32(completions.count))
                    unsafe completions.prefix(max(0, Int(taken))).forEach { completion in
                        if let completion = unsafe completion { unsafe finish(completion) }
                    }
                    if unsafe taken < completions.count { break }
                }
            }
        }

        private func finish(_ completion: rbd_completion_t) {
            let key = UInt(bitPattern: completion)
            let result = unsafe rbd_aio_get_return_value(completion)
            guard let request = state.withLock({ $0.inFlight[key] }) else { return }
            if request.complete(result) {
                // Under the lock, and so after the request was counted as late.
                state.withLock { state in
                    deadline?.returned()
                    if request.call == .flush, result < 0 {
                        state.lateFlushFailure = state.lateFlushFailure ?? Int(result)
                    }
                    if request.call.isChange { state.lateChanges -= 1 }
                }
            }
            end { $0.inFlight.removeValue(forKey: key) }
            // Only now: another request may get its address.
            unsafe rbd_aio_release(completion)
        }

        /// Ends the wait for what is late, as long as anything is in flight.
        private func watch() async {
            guard let deadline else { return }
            while true {
                await IOExecutor.sleep(for: min(max(deadline.limit / 16, .milliseconds(5)), .seconds(1)))
                let now = MonotonicTime.coarseNanoseconds()
                let (isIdle, waiters) = unsafe state.withLock { state in
                    var hasExpired = false
                    for request in state.inFlight.values where now >= request.due {
                        // Before anybody can know: from now on nothing more is begun.
                        guard request.expire(now: now) else { continue }
                        hasExpired = true
                        deadline.expired(request.call.rawValue, "\(image.connection.settings.pool)/\(image.name)")
                        if request.call.isChange { state.lateChanges += 1 }
                    }
                    state.abandonedBytes = state.inFlight.values.reduce(0) { sum, request in
                        request.isAbandoned ? sum + request.bufferByteCount : sum
                    }
                    if state.inFlight.isEmpty { state.isWatched = false }
                    return unsafe (state.inFlight.isEmpty, hasExpired ? state.takeWaiters() : [])
                }
                unsafe wake(waiters)
                if isIdle { return }
            }
        }

        /// Waits until librbd has given everything back; false when something of it is late. With `andStop` nothing more is
        /// begun from that moment on.
        func settle(andStop: Bool = false) async -> Bool {
            while true {
                let isSettled: Bool? = state.withLock { state in
                    let isIdle = state.isIdle
                    guard isIdle || state.inFlight.values.contains(where: \.isLate) else { return nil }
                    if andStop { state.isStopped = true }
                    return isIdle
                }
                if let isSettled { return isSettled }
                unsafe await withUnsafeContinuation { continuation in
                    let isIdle = state.withLock { state in
                        if state.isIdle || state.inFlight.values.contains(where: \.isLate) { return true }
                        unsafe state.waiters.append(continuation)
                        return false
                    }
                    if isIdle { unsafe continuation.resume() }
                }
            }
        }

        /// Waits for the end of the draining, after `stop`.
        func ended() async { await drainer.withLock { $0 }?.value }

        /// Ends the draining, once nothing is in flight.
        func stop() {
            state.withLock { $0.isStopped = true }
            events.add()
        }
    }
#endif
