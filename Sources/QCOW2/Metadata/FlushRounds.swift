import BlockStorage

/// Who may write metadata: one flush or structural change at a time, and callers that come meanwhile share the next.
struct FlushRounds {
    /// What a caller is to do.
    enum Turn {
        /// Do the work and call `end`.
        case lead
        /// A round that began after the call has ended.
        case done
        case wait
    }

    private var started: UInt64 = 0
    private var finished: UInt64 = 0
    private(set) var isRunning = false
    private var waiters: [CheckedContinuation<Void, Never>] = []
    /// The first failure: nothing is flushed any more until the image is opened again.
    private(set) var failure: StorageError?

    /// The round that must have finished to cover everything before this moment.
    var nextRound: UInt64 { started + 1 }

    /// The turn of a caller for whom `round` must have finished.
    mutating func turn(_ round: UInt64) throws(StorageError) -> Turn {
        if let failure { throw failure }
        if finished >= round { return .done }
        if isRunning { return .wait }
        isRunning = true
        started += 1
        return .lead
    }

    /// Resumes when the running round has ended.
    mutating func wait(_ continuation: CheckedContinuation<Void, Never>) {
        if isRunning { waiters.append(continuation) } else { continuation.resume() }
    }

    /// Nothing is flushed any more.
    mutating func fail(_ failure: StorageError) { self.failure = self.failure ?? failure }

    /// The leader has finished, or given up.
    mutating func end(isComplete: Bool) {
        isRunning = false
        if isComplete { finished = started }
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter.resume() }
    }
}

/// The growth of the file under the image: one at a time, in steps.
struct Growth {
    var isRunning = false
    var waiters: [CheckedContinuation<Void, Never>] = []

    mutating func end() {
        isRunning = false
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter.resume() }
    }
}
