import Synchronization
import SystemPackage

extension BlockingPool {
    /// Runs a system call, or a few, within the pool's deadline: past it the call throws `ETIMEDOUT`, and what it does
    /// or returns later is of no interest to anybody but `ifLate`. One that has not begun by then never does.
    ///
    /// `fence` is shut while the call is late: for calls that change its file. With `mustRun` it begins however late, as
    /// what gives something back has to. One that makes `progress` has the deadline anew each time it does.
    package func call<Result: Sendable>(
        _ name: String, _ path: String, fence: FileFence? = nil, mustRun: Bool = false,
        progress: CallProgress? = nil, ifLate: (@Sendable (Result) -> Void)? = nil,
        _ body: @escaping @Sendable () throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        guard let deadline else { return try await run(body) }
        let call = TimedCall<Result>(name, path, deadline, fence, mustRun: mustRun, progress: progress)
        let number = watch(call)
        defer { timedCalls.withLock { _ = $0.calls.removeValue(forKey: number) } }
        let result: Swift.Result<Result, SystemError> = unsafe await withUnsafeContinuation { continuation in
            unsafe call.start(continuation)
            enqueue {
                guard call.begin() else { return }
                let result: Swift.Result<Result, SystemError>
                do throws(SystemError) {
                    result = .success(try body())
                } catch {
                    result = .failure(error)
                }
                if !call.finish(result), case .success(let late) = result { ifLate?(late) }
            }
        }
        return try result.get()
    }

    /// Enters a call among those that are looked at now and then, by a task that ends when there are none.
    private func watch(_ call: any ExpiringCall) -> UInt64 {
        let (number, needsWatch) = timedCalls.withLock { state in
            state.next &+= 1
            state.calls[state.next] = call
            defer { state.isWatched = true }
            return (state.next, !state.isWatched)
        }
        if needsWatch { Task.detached { [self] in await watchCalls() } }
        return number
    }

    private func watchCalls() async {
        guard let limit = deadline?.limit else { return }
        while true {
            await IOExecutor.sleep(for: min(max(limit / 16, .milliseconds(5)), .seconds(1)))
            let calls = timedCalls.withLock { state in
                if state.calls.isEmpty { state.isWatched = false }
                return Array(state.calls.values)
            }
            if calls.isEmpty { return }
            let now = MonotonicTime.coarseNanoseconds()
            for call in calls { call.expire(now: now) }
        }
    }
}

/// What a call that takes long tells of itself from time to time: that it is not stuck.
package final class CallProgress: Sendable {
    /// On `MonotonicTime`'s scale.
    fileprivate let due = Atomic<UInt64>(0)
    private let deadline: IODeadline?

    package init(_ pool: BlockingPool) { deadline = pool.deadline }

    /// Gives the call the whole deadline from now on.
    package func advance() {
        if let deadline { due.store(deadline.due, ordering: .relaxed) }
    }
}

/// The calls of a pool that have a deadline.
struct TimedCalls: Sendable {
    var calls: [UInt64: any ExpiringCall] = [:]
    var next: UInt64 = 0
    var isWatched = false
}

protocol ExpiringCall: Sendable {
    /// Ends the wait for the call if it is late.
    func expire(now: UInt64)
}

/// One call: waiting for a thread, running, and perhaps late.
@safe
private final class TimedCall<Result: Sendable>: ExpiringCall, @unchecked Sendable {
    @safe
    private struct State {
        var continuation: UnsafeContinuation<Swift.Result<Result, SystemError>, Never>?
        var hasBegun = false
        var isLate = false
    }

    private let name: String
    private let path: String
    private let deadline: IODeadline
    private let fence: FileFence?
    private let mustRun: Bool
    private let progress: CallProgress?
    private let due: UInt64
    private let state = Locked(State())

    init(
        _ name: String, _ path: String, _ deadline: IODeadline, _ fence: FileFence?, mustRun: Bool,
        progress: CallProgress?
    ) {
        (self.name, self.path, self.deadline, self.fence, self.mustRun) = (name, path, deadline, fence, mustRun)
        self.progress = progress
        due = deadline.due
    }

    func start(_ continuation: UnsafeContinuation<Swift.Result<Result, SystemError>, Never>) {
        state.withLock { unsafe $0.continuation = continuation }
    }

    /// Whether the call is still wanted.
    func begin() -> Bool {
        state.withLock { state in
            state.hasBegun = true
            return mustRun || !state.isLate
        }
    }

    /// Hands over the result; false when nobody waits for it any more.
    func finish(_ result: Swift.Result<Result, SystemError>) -> Bool {
        let (continuation, isLate) = unsafe state.withLock { state in
            defer { unsafe state.continuation = nil }
            return unsafe (state.continuation, state.isLate)
        }
        if isLate {
            if let fence { fence.returned(isChange: true) } else { deadline.returned() }
            return false
        }
        unsafe continuation?.resume(returning: result)
        return true
    }

    func expire(now: UInt64) {
        guard now >= max(due, progress?.due.load(ordering: .relaxed) ?? 0) else { return }
        let waiter = unsafe state.withLock { state -> UnsafeContinuation<Swift.Result<Result, SystemError>, Never>? in
            guard let continuation = unsafe state.continuation, !state.isLate else { return nil }
            unsafe state.continuation = nil
            state.isLate = true
            // One that has not begun and need not never will, so it is not missing.
            if state.hasBegun || mustRun {
                if let fence { fence.expired(name, isChange: true) } else { deadline.expired(name, path) }
            }
            return unsafe continuation
        }
        unsafe waiter?.resume(returning: .failure(SystemError(.timedOut, name)))
    }
}
