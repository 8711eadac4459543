import CURing
import Glibc
import Synchronization

/// One thread that runs tasks and drives their I/O, without a hop between the two.
///
/// A task that prefers this executor submits a request, suspends, and is resumed by its completion on the same thread.
/// Everything that became runnable is run before one system call hands over the whole batch. Nothing that runs here may
/// block: use a `BlockingPool` for what does.
@safe
public final class IOExecutor: TaskExecutor, @unchecked Sendable {
    /// How requests reach the kernel.
    public enum Engine: String, Sendable {
        /// io_uring.
        case ring
        /// Worker threads and `poll`, for kernels and containers that refuse io_uring.
        case threadPool
    }

    // Sound: everything below `thread` that is not atomic or locked is touched by the executor's own thread only, and by
    // `shutDown` when that has ended. What is not checked at every access is never changed while it is in use: tasks and
    // handlers add to `localJobs`, `turnEnds` and `slots` only, none of which is in use while they run.
    private let remoteJobs = Locked<[UnownedJob]>([])
    private let remoteCancellations = Locked<[UInt64]>([])
    private let hasRemoteWork = Atomic<Bool>(false)
    private let isSleeping = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    /// Other threads that hand something over: the executor stays in place until they have.
    private let callers = Atomic<Int>(0)
    private var thread = pthread_t()
    private var engine: any IOEngine
    @safe @exclusivity(unchecked) private var localJobs: [UnownedJob] = []
    @safe @exclusivity(unchecked) private var runningJobs: [UnownedJob] = []
    /// What is done once per round, behind all that is runnable.
    @safe @exclusivity(unchecked) private var turnEnds: [any IOTurnHandler] = []
    @safe @exclusivity(unchecked) private var endingTurns: [any IOTurnHandler] = []
    @safe @exclusivity(unchecked) private var completions: [IOCompletion] = []
    @safe @exclusivity(unchecked) private var slots = IOSlots()
    /// Rounds of the loop.
    private var passes = 0
    /// When the requests in flight are looked through again: not for every wait that brought nothing.
    private var nextSweep: UInt64 = 0
    /// Bytes that may still be read in this round without suspending the task.
    private var inlineBudget = IOExecutor.inlineBytesPerPass
    private let readsInline: Bool

    /// Tasks whose reads never wait must not keep completions and other tasks waiting: about 0.1 ms of copying.
    private static let inlineBytesPerPass = 1 << 20

    /// How long a hanging transfer of a cancelled task may go unnoticed.
    static let cancellationSweep = Duration.milliseconds(50)

    /// The engine in use.
    public let engineKind: Engine

    /// Starts the thread. `engine` nil takes io_uring where the kernel allows it.
    ///
    /// With `readsInline` false every request goes to the engine.
    init(engine preference: Engine?, readsInline: Bool = true) {
        self.readsInline = readsInline
        // The ring must be made by the thread that uses it, so the thread makes the engine and then starts.
        let started = DispatchSignal()
        let made = Locked<(any IOEngine)?>(nil)
        let handover = Locked<IOExecutor?>(nil)
        let ready = DispatchSignal()
        var newThread = pthread_t()
        let start = ThreadStart {
            let ring = preference == .threadPool ? nil : RingEngine()
            let engine: any IOEngine = ring ?? ThreadPoolEngine()
            nonisolated(unsafe) let sent = engine
            made.withLock { $0 = unsafe sent }
            started.signal()
            ready.wait()
            handover.withLock { executor in
                defer { executor = nil }
                return executor
            }?.run()
        }
        start.launch(&newThread)
        started.wait()
        let engine: any IOEngine =
            made.withLock { engine in
                defer { engine = nil }
                nonisolated(unsafe) let taken = engine
                return unsafe taken
            } ?? ThreadPoolEngine()
        self.engine = engine
        engineKind = engine is RingEngine ? .ring : .threadPool
        thread = newThread
        handover.withLock { $0 = self }
        ready.signal()
    }

    /// The executor whose thread this is.
    public static var current: IOExecutor? {
        guard let pointer = unsafe pthread_getspecific(currentKey) else { return nil }
        return unsafe Unmanaged<IOExecutor>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Whether this thread is an executor's.
    private static var isCurrent: Bool { unsafe pthread_getspecific(currentKey) != nil }

    /// Calls `body` with the executor whose thread this is, without counting a reference.
    @inline(__always)
    private static func withCurrent(_ body: (IOExecutor) -> Void) {
        guard let pointer = unsafe pthread_getspecific(currentKey) else { return }
        // Sound: the thread holds its executor for as long as it runs.
        unsafe Unmanaged<IOExecutor>.fromOpaque(pointer)._withUnsafeGuaranteedRef { body($0) }
    }

    /// Whether the task that runs now may read these bytes without giving way to others. Never outside an executor.
    @inline(__always)
    static func takeInlineBudget(_ byteCount: Int) -> Bool {
        var isTaken = false
        withCurrent { executor in
            guard executor.readsInline, executor.inlineBudget > 0 else { return }
            executor.inlineBudget -= byteCount
            isTaken = true
        }
        return isTaken
    }

    private static let currentKey: pthread_key_t = {
        var key = pthread_key_t()
        unsafe pthread_key_create(&key, nil)
        return key
    }()

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if pthread_equal(pthread_self(), thread) != 0 {
            localJobs.append(job)
        } else {
            // The job may have run, and been the executor's last, before this returns.
            callers.wrappingAdd(1, ordering: .relaxed)
            remoteJobs.withLock { $0.append(job) }
            wake()
            callers.wrappingSubtract(1, ordering: .releasing)
        }
    }

    /// Runs `body` on this executor; child tasks inherit it.
    public func run<Result, Failure: Error>(
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        try await withTaskExecutorPreference(self, operation: body)
    }

    /// Calls `handler` when everything that is runnable on this thread's executor has run: what several tasks prepare is
    /// done together then. False, and nothing happens, on any other thread.
    package static func atEndOfTurn(_ handler: any IOTurnHandler) -> Bool {
        var isTaken = false
        withCurrent { executor in
            executor.turnEnds.append(handler)
            isTaken = true
        }
        return isTaken
    }

    /// Ends the thread once nothing is in flight; called from another thread, with no task left on this executor.
    func shutDown() {
        isStopping.store(true, ordering: .sequentiallyConsistent)
        wake()
        pthread_join(thread, nil)
        while callers.load(ordering: .acquiring) > 0 { sched_yield() }
        engine.shutDown()
        slots.deallocate()
    }

    private func wake() {
        hasRemoteWork.store(true, ordering: .sequentiallyConsistent)
        if isSleeping.exchange(false, ordering: .sequentiallyConsistent) { engine.wake() }
    }

    private func run() {
        unsafe pthread_setspecific(Self.currentKey, Unmanaged.passUnretained(self).toOpaque())
        let executor = unsafe asUnownedTaskExecutor()
        while true {
            if hasRemoteWork.exchange(false, ordering: .sequentiallyConsistent) { takeRemoteWork() }
            // A bounded number of rounds: tasks that keep yielding must not keep completions waiting.
            var rounds = 0
            while !localJobs.isEmpty && rounds < 64 {
                swap(&localJobs, &runningJobs)
                for job in runningJobs { unsafe job.runSynchronously(on: executor) }
                runningJobs.removeAll(keepingCapacity: true)
                rounds += 1
            }
            if !turnEnds.isEmpty {
                swap(&turnEnds, &endingTurns)
                for handler in endingTurns { handler.endTurn() }
                endingTurns.removeAll(keepingCapacity: true)
            }
            var blocking = localJobs.isEmpty
            if blocking {
                if isStopping.load(ordering: .sequentiallyConsistent) && slots.inFlight == 0 { break }
                isSleeping.store(true, ordering: .sequentiallyConsistent)
                if hasRemoteWork.load(ordering: .sequentiallyConsistent) {
                    isSleeping.store(false, ordering: .sequentiallyConsistent)
                    blocking = false
                }
            }
            engine.wait(
                blocking: blocking, until: slots.hasSweepable ? Self.cancellationSweep : nil, into: &completions)
            if blocking { isSleeping.store(false, ordering: .sequentiallyConsistent) }
            passes &+= 1
            inlineBudget = Self.inlineBytesPerPass
            let isDue = completions.isEmpty || passes % 256 == 0
            deliver()
            if isDue { sweep() }
        }
    }

    private func takeRemoteWork() {
        remoteJobs.withLock { jobs in
            localJobs.append(contentsOf: jobs)
            jobs.removeAll(keepingCapacity: true)
        }
        let cancellations = remoteCancellations.withLock { tokens in
            defer { tokens.removeAll() }
            return tokens
        }
        for token in cancellations where slots.cancel(token) { engine.cancel(token: token) }
    }

    /// Cancels the transfers of cancelled tasks, and ends the wait for those that are late. Called when a wait brought
    /// nothing, so every `cancellationSweep` while a transfer hangs, and now and then while others keep the executor
    /// busy.
    private func sweep() {
        guard slots.hasSweepable else { return }
        let now = MonotonicTime.coarseNanoseconds()
        guard now >= nextSweep else { return }
        nextSweep = now + 10_000_000
        slots.forEachCancelled { engine.cancel(token: $0) }
        slots.expire(now: now) { engine.cancel(token: $0) }
    }

    private func deliver() {
        for completion in completions {
            switch slots.complete(completion) {
            case .finished: break
            case .rest(let request): engine.submit(request, token: completion.token)
            case .handed(let handler, let result): handler.complete(result)
            }
        }
        completions.removeAll(keepingCapacity: true)
    }

    private func cancel(token: UInt64) {
        callers.wrappingAdd(1, ordering: .relaxed)
        remoteCancellations.withLock { $0.append(token) }
        wake()
        callers.wrappingSubtract(1, ordering: .releasing)
    }
}

// MARK: - Requests

extension IOExecutor {
    /// Transfers bytes of a file from any task. Returns what the system call would, or minus `errno`; a short transfer
    /// is continued until it is whole, the file ends, or an error occurs.
    ///
    /// When the task is cancelled the request is too, within `cancellationSweep`, and the call returns once the kernel
    /// has let go of its memory. Looking for cancelled tasks now and then costs nothing on the way of a request; a
    /// cancellation handler would cost a tenth of a microsecond each.
    @inline(__always)
    static func transfer(_ request: IORequest, _ fence: FileFence? = nil) async -> Int {
        guard isCurrent else { return await hop { await transferHere(request, fence) } }
        return await transferHere(request, fence)
    }

    /// As `transfer`, for all segments of `vector`: contiguous ones by one vectored call, the rest in parallel. Returns
    /// the number of bytes, or minus the first `errno`.
    @inline(__always)
    static func transfer(
        _ vector: IOVector, isWrite: Bool, descriptor: Int32, _ fence: FileFence? = nil
    ) async -> Int {
        if vector.count == 0 { return 0 }
        guard isCurrent else {
            return await hop { await transferHere(vector, isWrite: isWrite, descriptor: descriptor, fence) }
        }
        return await transferHere(vector, isWrite: isWrite, descriptor: descriptor, fence)
    }

    /// Performs a request that may wait for another program for ever; a cancelled task's request ends at once.
    static func perform(_ request: IORequest) async -> Int {
        guard let executor = current else {
            return await hop { await current?.performHere(request) ?? -Int(EINVAL) }
        }
        return await executor.performHere(request)
    }

    /// Starts a request that no task waits for: `handler` is called with what comes of it. Only on an executor's thread.
    static func start(_ request: IORequest, _ handler: any IOCompletionHandler) {
        precondition(isCurrent, "not on an executor's thread")
        withCurrent { executor in
            let token = executor.slots.reserve()
            executor.engine.submit(executor.slots.start(token, request, handler), token: token)
        }
    }

    /// Runs `body` on an executor of the shared group.
    @concurrent
    private static func hop(_ body: @concurrent @Sendable () async -> Int) async -> Int {
        await withTaskExecutorPreference(IOExecutorGroup.shared.next()) { await body() }
    }

    private static func transferHere(_ request: IORequest, _ fence: FileFence?) async -> Int {
        unsafe await withUnsafeContinuation { continuation in
            withCurrent { executor in
                let token = executor.slots.reserve()
                executor.engine.submit(
                    unsafe executor.slots.start(token, request, continuation, WaitingTask.current, fence),
                    token: token)
            }
        }
    }

    private static func transferHere(
        _ vector: IOVector, isWrite: Bool, descriptor: Int32, _ fence: FileFence?
    ) async -> Int {
        unsafe await withUnsafeContinuation { continuation in
            withCurrent { executor in
                unsafe executor.slots.start(
                    vector, isWrite: isWrite, descriptor: descriptor, continuation,
                    WaitingTask.current, fence
                ) { request, token in
                    executor.engine.submit(request, token: token)
                }
            }
        }
    }

    private func performHere(_ request: IORequest) async -> Int {
        let token = slots.reserve()
        return await withTaskCancellationHandler {
            unsafe await withUnsafeContinuation { continuation in
                assert(pthread_equal(pthread_self(), thread) != 0, "a task has left its executor")
                engine.submit(unsafe slots.start(token, request, continuation, nil), token: token)
            }
        } onCancel: {
            // Runs on any thread, perhaps before the request is submitted. The executor handles it after the job that
            // submits, because that job does not return to the loop in between.
            cancel(token: token)
        }
    }
}

/// What is called on an executor's thread, instead of a task that waits, when a request is back. It must not block.
package protocol IOCompletionHandler: AnyObject, Sendable {
    /// `result` is what the system call would have returned, or minus `errno`.
    func complete(_ result: Int)
}

/// What is called on an executor's thread at the end of a turn: see `IOExecutor.atEndOfTurn`. It must not block.
package protocol IOTurnHandler: AnyObject, Sendable {
    func endTurn()
}

/// The executors of a process or of a test: one a core by default.
public final class IOExecutorGroup: Sendable {
    /// One executor a core, started at first use, for the life of the process.
    public static let shared = IOExecutorGroup()

    public let executors: [IOExecutor]
    private let turn = Atomic<Int>(0)

    /// Starts `count` executors (nil: one for each core the process may use). `engine` nil takes io_uring where the
    /// kernel allows it.
    public convenience init(count: Int? = nil, engine: IOExecutor.Engine? = nil) {
        self.init(count: count, engine: engine, readsInline: true)
    }

    /// With `readsInline` false every request goes to the engine, also what the page cache holds.
    package init(count: Int?, engine: IOExecutor.Engine?, readsInline: Bool) {
        let count = max(1, count ?? usableCores)
        let preference = engine ?? ioEngineFromEnvironment
        executors = (0..<count).map { _ in IOExecutor(engine: preference, readsInline: readsInline) }
    }

    /// The executors in turn.
    public func next() -> IOExecutor {
        let index = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return executors[Int(UInt(bitPattern: index) % UInt(executors.count))]
    }

    /// Runs `body` on one of the executors; child tasks inherit it.
    public func run<Result, Failure: Error>(
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        try await next().run(body)
    }

    /// Ends the threads once nothing is in flight. No task may use the executors any more. Not for `shared`.
    public func shutDown() {
        for executor in executors { executor.shutDown() }
    }
}

/// `SLUICE_IO_ENGINE=threads` forces the thread-pool engine, for kernels whose io_uring misbehaves.
private var ioEngineFromEnvironment: IOExecutor.Engine? {
    guard let value = unsafe getenv("SLUICE_IO_ENGINE"), unsafe String(cString: value) == "threads" else { return nil }
    return .threadPool
}

private var usableCores: Int {
    var set = cpu_set_t()
    guard unsafe sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else { return 1 }
    return unsafe withUnsafeBytes(of: &set) { unsafe $0.reduce(0) { $0 + $1.nonzeroBitCount } }
}
