import Glibc

/// Threads for calls that block, so that no I/O executor ever does.
///
/// Threads start on demand, up to a limit, and end when idle. Work that does not find a thread waits in order. A
/// backend that may hang gets a pool of its own, so that it delays nobody else.
@safe
public final class BlockingPool: @unchecked Sendable {
    /// For short calls on local files.
    public static let shared = BlockingPool(threads: 32)

    private struct State {
        /// Nil where it has been taken: what work holds may end with it, and need this pool for that.
        var queue: [(@Sendable () -> Void)?] = []
        var head = 0
        var threads = 0
        var idle = 0
    }

    private let limit: Int
    private let idleSeconds: Int
    private let state = Locked(State())
    private let workAvailable = DispatchSignal()
    /// How long calls on files may take, and all other requests of files that were opened with this pool.
    public let deadline: IODeadline?
    let timedCalls = Locked(TimedCalls())

    /// At most `threads` calls run at once; a thread without work ends after `idleSeconds`.
    public init(threads: Int, idleSeconds: Int = 30, deadline: IODeadline? = nil) {
        limit = max(1, threads)
        self.idleSeconds = idleSeconds
        self.deadline = deadline
    }

    /// Runs `body` on a thread of the pool and waits for it; the caller's executor is free meanwhile. `body` is not
    /// interrupted when the task is cancelled.
    public func run<Result: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        let result: Swift.Result<Result, Failure> = unsafe await withUnsafeContinuation { continuation in
            enqueue {
                do throws(Failure) {
                    unsafe continuation.resume(returning: .success(try body()))
                } catch {
                    unsafe continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// Runs `work` on a thread of the pool, some time.
    package func enqueue(_ work: @escaping @Sendable () -> Void) {
        let needsThread = state.withLock { state in
            state.queue.append(work)
            let waiting = state.queue.count - state.head
            guard waiting > state.idle, state.threads < limit else { return false }
            state.threads += 1
            return true
        }
        workAvailable.signal()
        guard needsThread else { return }
        var thread = pthread_t()
        ThreadStart { [self] in serve() }.launch(&thread)
        pthread_detach(thread)
    }

    private func serve() {
        while true {
            state.withLock { $0.idle += 1 }
            let signalled = workAvailable.wait(seconds: idleSeconds)
            let work: (@Sendable () -> Void)? = state.withLock { state in
                state.idle -= 1
                guard state.head < state.queue.count else {
                    if !signalled { state.threads -= 1 }
                    return nil
                }
                let work = state.queue[state.head].take()
                state.head += 1
                if state.head == state.queue.count {
                    state.queue.removeAll(keepingCapacity: true)
                    state.head = 0
                } else if state.head > 1024 && state.head * 2 > state.queue.count {
                    state.queue.removeFirst(state.head)
                    state.head = 0
                }
                return work
            }
            if let work { work() } else if !signalled { return }
        }
    }
}
