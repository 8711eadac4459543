import BlockStorage
import IORuntime

/// Volumes that share a device: a pool's, or a host's.
///
/// With a capacity, what the group lets through altogether is no more than that, so every volume's minimum means something
/// as long as the sum of minimums is no more either: what one volume may have beyond its own, another asks for in vain.
/// A capacity below what the device can do is a limit that all volumes of the group share. Without one, only each volume's
/// own limits hold.
///
/// A `QoSScheduler` behind a lock. A request that may go takes the lock once and neither memory nor another thread; one
/// that may not waits without a thread. One timer a group runs while requests wait for time to pass, on the executor that
/// needed it first.
public final class ThrottleGroup: Sendable {
    public struct Options: Sendable {
        public var scheduler = QoSScheduler.Options()
        /// What requests cost.
        public var curve = CostCurve.element
        /// What the group may have altogether, in 4 KiB operations a second; nil for as much as the device can do.
        public var capacity: UInt64?
        /// The most requests at the device at once; nil for no bound. What is known of a device of unknown capacity: it
        /// takes another request when one is done, and so the minimums hold whatever it can do.
        public var slots: Int?
        /// A request that waits longer fails with `timedOut`, the same for all.
        public var deadline = Duration.seconds(600)

        /// The Element curve, neither a capacity nor a bound, and timers that may be 20 ms late.
        public init() { scheduler.lateness = 20_000_000 }
    }

    let curve: CostCurve
    private let clock: any ThrottleClock
    private let shell: Locked<Shell>
    /// Runs the timer where no executor asks for it.
    private let home = IOExecutorGroup.shared.next()

    private struct Shell {
        var state: ThrottleState
        var timer: Timer?
        var nextTimer: UInt64 = 0
    }

    private struct Timer {
        var id: UInt64
        var time: UInt64
        var task: Task<Void, Never>
    }

    private enum Entry {
        case ended(ThrottleWaiters.Outcome)
        case waits(ThrottleWaiters.Ticket)
    }

    /// What is done without the lock.
    private struct Work {
        var ended: [ThrottleState.Ended] = []
        var timers: [Task<Void, Never>] = []

        func carryOut() {
            for end in ended { end.continuation.resume(returning: end.outcome) }
            for timer in timers { timer.cancel() }
        }
    }

    public init(_ options: Options = Options(), clock: any ThrottleClock = MonotonicClock()) {
        self.clock = clock
        curve = options.curve
        shell = Locked(Shell(state: ThrottleState(options, now: clock.now())))
    }

    // MARK: - Volumes

    func join(_ policy: QoSPolicy, credit: Int64, meter: ThrottleMeter?) -> ThrottleMember {
        change { state, now, _ in
            state.add(policy, credit: credit, now: now) { ThrottleMember(index: $0, meter: meter) }
        }
    }

    /// Removes a volume; what waits goes now. Returns what it has had, nil where it was removed before, and tells how many
    /// requests go whose ends `finish` is not told of.
    func leave(_ member: ThrottleMember, _ willRelease: (Int) -> Void) -> ThrottleStatistics? {
        change { state, now, work in
            guard let (last, released, count) = state.remove(member, now: now) else { return nil }
            willRelease(count)
            work.ended += released
            return last
        }
    }

    func setPolicy(_ policy: QoSPolicy, of member: ThrottleMember) {
        change { state, now, _ in state.setPolicy(policy, of: member, now: now) }
    }

    func statistics(of member: ThrottleMember) -> ThrottleStatistics {
        change { state, now, _ in state.statistics(of: member, now: now) }
    }

    /// Another capacity, from now on, for waiting requests too.
    public func setCapacity(_ capacity: UInt64?) {
        change { state, now, _ in state.setCapacity(capacity, now: now) }
    }

    /// Books what other hosts have served of a volume; see `ServiceElsewhere`.
    func serveElsewhere(_ service: ServiceElsewhere, of member: ThrottleMember) {
        change { state, now, _ in state.serveElsewhere(service, of: member, now: now) }
    }

    // MARK: - Requests

    /// Waits until a request may go. Whoever asked calls `finish` when it has ended, if it is counted.
    func admit(_ member: ThrottleMember, cost: Int64, byteCount: Int) async throws(StorageError)
        -> ThrottleWaiters.Outcome
    {
        var work = Work()
        let entry = shell.withLock { shell -> Entry in
            let now = clock.now()
            // Nothing holds up the requests of a volume that has left.
            guard shell.state.isJoined(member) else { return .ended(.granted(isCounted: false)) }
            let ticket = shell.state.enqueue(member, cost: cost, byteCount: Int64(byteCount), now: now)
            advance(&shell, now, &work)
            return shell.state.outcome(ticket, of: member, now: now).map(Entry.ended) ?? .waits(ticket)
        }
        work.carryOut()
        let outcome: ThrottleWaiters.Outcome
        switch entry {
        case .ended(let ended): outcome = ended
        case .waits(let ticket): outcome = await wait(ticket)
        }
        switch outcome {
        case .granted, .released: return outcome
        case .cancelled: throw StorageError(.cancelled, "wait for the volume's IOPS")
        case .timedOut:
            throw StorageError(
                .timedOut, "wait for the volume's IOPS", why: "its policy lets through fewer than are asked for")
        }
    }

    private func wait(_ ticket: ThrottleWaiters.Ticket) async -> ThrottleWaiters.Outcome {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = shell.withLock { $0.state.wait(ticket, continuation) }
                if let outcome { continuation.resume(returning: outcome) }
            }
        } onCancel: {
            // On any thread, also before the task waits, and perhaps when the request has long ended.
            change { state, now, work in
                if let ended = state.cancel(ticket, now: now) { work.ended.append(ended) }
            }
        }
    }

    /// A counted request has come back from the device.
    func finish() { change { state, _, _ in state.finish() } }

    // MARK: - Time

    /// Changes the state, and lets go what may go then.
    @discardableResult
    private func change<Result>(_ body: (inout ThrottleState, UInt64, inout Work) -> Result) -> Result {
        var work = Work()
        let result = shell.withLock { shell in
            // Under the lock, so that no two requests see the time go back.
            let now = clock.now()
            let result = body(&shell.state, now, &work)
            advance(&shell, now, &work)
            return result
        }
        work.carryOut()
        return result
    }

    private func advance(_ shell: inout Shell, _ now: UInt64, _ work: inout Work) {
        setTimer(shell.state.advance(now: now) { work.ended.append($0) }, &shell, &work)
    }

    private func setTimer(_ time: UInt64?, _ shell: inout Shell, _ work: inout Work) {
        // A timer that comes too early finds that out; one a request would be dearer.
        if let timer = shell.timer, let time, timer.time <= time { return }
        if let timer = shell.timer { work.timers.append(timer.task) }
        shell.timer = nil
        guard let time else { return }
        let id = shell.nextTimer
        shell.nextTimer += 1
        let current = IOExecutor.current
        let executor = IOExecutorGroup.shared.executors.first { $0 === current } ?? home
        let task = Task(executorPreference: executor) { await self.run(timer: id, at: time) }
        shell.timer = Timer(id: id, time: time, task: task)
    }

    /// Waits and lets go what may go, for as long as requests wait for time to pass and no earlier timer has come.
    private func run(timer id: UInt64, at time: UInt64) async {
        var time = time
        while true {
            await clock.sleep(until: time)
            guard let next = fire(id) else { return }
            time = next
        }
    }

    private func fire(_ id: UInt64) -> UInt64? {
        var work = Work()
        let next: UInt64? = shell.withLock { shell in
            guard shell.timer?.id == id else { return nil }
            let now = clock.now()
            let next = shell.state.advance(now: now) { work.ended.append($0) }
            if let next { shell.timer?.time = next } else { shell.timer = nil }
            return next
        }
        work.carryOut()
        return next
    }
}
