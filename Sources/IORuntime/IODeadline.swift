import Synchronization

/// How long requests to one backend may take, and which of them have not come back.
///
/// A request that takes longer fails with `ETIMEDOUT`, although the kernel may still hold it: its memory is then not the
/// caller's but a copy. A write that is late in this way may still happen, so its file refuses everything until the
/// kernel has given it back.
public final class IODeadline: Sendable {
    /// Requests that are late, and what is known of the first.
    public struct Overdue: Sendable, Equatable {
        /// How many are late and not back yet.
        public var count: Int
        /// The first of them: a system call and a path.
        public var request: String
        /// On `MonotonicTime`'s scale.
        var since: UInt64

        /// How long the first has been late.
        public var seconds: UInt64 {
            (MonotonicTime.coarseNanoseconds() - min(since, MonotonicTime.coarseNanoseconds())) / 1_000_000_000
        }
    }

    public let limit: Duration
    /// The same in nanoseconds, or the largest number.
    private let nanoseconds: UInt64
    private let state = Locked<Overdue?>(nil)

    /// At least a millisecond.
    public init(_ limit: Duration) {
        self.limit = max(limit, .milliseconds(1))
        let (seconds, attoseconds) = self.limit.components
        let (nanoseconds, isTooMuch) = UInt64(clamping: seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let sum = nanoseconds.addingReportingOverflow(UInt64(clamping: attoseconds / 1_000_000_000))
        self.nanoseconds = isTooMuch || sum.overflow ? .max : sum.partialValue
    }

    /// Nil while everything comes back in time.
    public var overdue: Overdue? { state.withLock { $0 } }

    package func expired(_ call: String, _ path: String) {
        state.withLock { state in
            if state == nil {
                state = Overdue(count: 0, request: "\(call) \(path)", since: MonotonicTime.coarseNanoseconds())
            }
            state?.count += 1
        }
    }

    package func returned() {
        state.withLock { state in
            state?.count -= 1
            if state?.count == 0 { state = nil }
        }
    }

    /// When a request that begins now is late, on `MonotonicTime`'s scale.
    package var due: UInt64 {
        let due = MonotonicTime.coarseNanoseconds().addingReportingOverflow(nanoseconds)
        return due.overflow ? .max : due.partialValue
    }
}

/// What ties a file's requests to their deadline.
package final class FileFence: Sendable {
    let deadline: IODeadline
    let path: String
    /// Threads that only this backend can keep.
    let workers: BlockingPool
    /// Changes of the file that are late: they may still happen.
    private let overdueChanges = Atomic(0)

    init(_ deadline: IODeadline, path: String, workers: BlockingPool) {
        (self.deadline, self.path, self.workers) = (deadline, path, workers)
    }

    /// Whether nothing may be done with the file for now.
    var isShut: Bool { overdueChanges.load(ordering: .acquiring) > 0 }

    func expired(_ call: String, isChange: Bool) {
        if isChange { overdueChanges.wrappingAdd(1, ordering: .acquiringAndReleasing) }
        deadline.expired(call, path)
    }

    func returned(isChange: Bool) {
        if isChange { overdueChanges.wrappingSubtract(1, ordering: .acquiringAndReleasing) }
        deadline.returned()
    }
}
