#if ISCSI
    import BlockStorage
    import IORuntime

    /// A command on its way: waiting for a session, at the target, or done.
    @safe
    final class ISCSICommand: @unchecked Sendable {
        /// How it ended.
        enum Outcome {
            /// Done; `missing` bytes were not transferred.
            case good(missing: Int)
            case refused(SCSIStatus)
            /// The session ended, or the target failed: it may or may not have done it.
            case lost
            /// Not back at its deadline.
            case late
            case cancelled
            /// The link is closed.
            case closed
            /// Somebody else has the unit.
            case fenced(StorageError)
        }

        // Sound: behind the link's lock until the outcome is handed over, then the asking task's alone.
        let request: SCSICommand
        /// The caller's memory, which stays in place until the outcome is handed over. Most have one piece.
        private var first = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
        private var others: [UnsafeMutableRawBufferPointer] = unsafe []
        /// On `MonotonicTime`'s scale.
        let due: UInt64
        private(set) var outcome: Outcome?
        var continuation: UnsafeContinuation<Void, Never>?
        /// By which the target knows it.
        var tag: UInt32 = 0
        /// Of the request that it was sent with.
        var number: UInt32 = 0
        /// The task that asked, until the outcome is handed over.
        var asker: WaitingTask?
        /// What a busy target answered last.
        var refusal: SCSIStatus?
        /// How often it was put off.
        var refusalCount = 0
        /// A session was lost that had it, so that its end is not known.
        var isUncertain = false
        /// Up to where the target has sent data, or asked for it.
        var transferred = 0
        /// Parts of its memory that wait to be sent.
        var unsentCount = 0

        init(_ request: SCSICommand, due: UInt64) { (self.request, self.due) = (request, due) }

        /// Adds memory to transfer to or from.
        func add(_ memory: UnsafeMutableRawBufferPointer) {
            if unsafe first.isEmpty { unsafe first = memory } else { unsafe others.append(memory) }
        }

        /// Calls `body` with each piece of memory that bytes of the command have, in their order.
        func forEachPiece(of range: Range<Int>, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
            var start = 0
            func take(_ piece: UnsafeMutableRawBufferPointer) {
                let lower = max(range.lowerBound, start)
                let upper = min(range.upperBound, start + piece.count)
                if lower < upper {
                    unsafe body(UnsafeMutableRawBufferPointer(rebasing: piece[lower - start..<upper - start]))
                }
                start += piece.count
            }
            unsafe take(first)
            for index in unsafe others.indices { unsafe take(others[index]) }
        }

        /// Notes how the target ended it; `finish` hands that over.
        func end(_ outcome: Outcome) { self.outcome = outcome }

        /// Hands the outcome over.
        func finish(_ outcome: Outcome) {
            self.outcome = outcome
            asker = nil
            let waiter = unsafe continuation
            unsafe continuation = nil
            unsafe waiter?.resume()
        }

        var isCancelled: Bool { asker?.isCancelled ?? false }

        /// Forgets an outcome after which the command is sent again.
        func reset() { (outcome, transferred, unsentCount) = (nil, 0, 0) }
    }
#endif
