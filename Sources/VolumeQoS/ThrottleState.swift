import BlockStorage

/// What a `ThrottleGroup` decides, without a clock and without waiting.
struct ThrottleState: Sendable {
    struct Member: Sendable {
        let handle: ThrottleMember
        var statistics = ThrottleStatistics()
        /// Since when requests wait.
        var limitedSince: UInt64?
    }

    var scheduler: QoSScheduler
    private(set) var waiters = ThrottleWaiters()
    /// By the scheduler's index.
    private(set) var members: [Member?] = []
    /// What comes of the group's capacity; nil without one.
    private var capacity: TokenBucket?
    private let slots: Int?
    /// Requests at the device, as far as they are counted.
    private var inFlight = 0
    private let deadline: UInt64

    /// A request whose wait ends, for whoever holds the lock to resume without it.
    typealias Ended = (
        continuation: CheckedContinuation<ThrottleWaiters.Outcome, Never>, outcome: ThrottleWaiters.Outcome
    )

    init(_ options: ThrottleGroup.Options, now: UInt64) {
        scheduler = QoSScheduler(options.scheduler)
        let (seconds, attoseconds) = max(options.deadline, .zero).components
        let nanoseconds = Int128(seconds) * 1_000_000_000 + Int128(attoseconds / 1_000_000_000)
        deadline = UInt64(clamping: nanoseconds)
        slots = options.slots.map { max(1, $0) }
        setCapacity(options.capacity, now: now)
    }

    mutating func setCapacity(_ iops: UInt64?, now: UInt64) {
        let old = capacity
        capacity = iops.map { iops in
            let rate = Int64(clamping: min(max(1, iops), UInt64(Int32.max))) * CostCurve.unit
            let late = Int64(clamping: Int128(rate) * Int128(scheduler.options.lateness) / TokenBucket.scale)
            return TokenBucket(rate: rate, depth: late + scheduler.options.largestCost, now: now)
        }
        capacity?.inherit(old)
        for index in members.indices { setThrottled(index) }
    }

    // MARK: - Volumes

    mutating func add(_ policy: QoSPolicy, credit: Int64, now: UInt64, _ make: (Int) -> ThrottleMember)
        -> ThrottleMember
    {
        let index = scheduler.add(policy, now: now)
        scheduler.restoreCredit(credit, of: index, now: now)
        let member = Member(handle: make(index))
        if index < members.count { members[index] = member } else { members.append(member) }
        setThrottled(index)
        return member.handle
    }

    mutating func setPolicy(_ policy: QoSPolicy, of member: ThrottleMember, now: UInt64) {
        guard isJoined(member) else { return }
        scheduler.setPolicy(policy, of: member.index, now: now)
        setThrottled(member.index)
    }

    mutating func serveElsewhere(_ service: ServiceElsewhere, of member: ThrottleMember, now: UInt64) {
        if isJoined(member) { scheduler.serveElsewhere(service, of: member.index, now: now) }
    }

    /// Removes a volume and releases its requests. Nil where it has been removed already.
    mutating func remove(_ member: ThrottleMember, now: UInt64) -> (
        last: ThrottleStatistics, released: [Ended], count: Int
    )? {
        guard isJoined(member) else { return nil }
        let statistics = statistics(of: member, now: now)
        member.isThrottled = false
        var released: [Ended] = []
        let forgotten = scheduler.remove(member.index)
        for slot in forgotten {
            if let continuation = waiters.end(Int(slot), .released) { released.append((continuation, .released)) }
        }
        members[member.index] = nil
        return (statistics, released, forgotten.count)
    }

    func isJoined(_ member: ThrottleMember) -> Bool {
        member.index < members.count && members[member.index]?.handle === member
    }

    /// Whether the volume's requests have to ask.
    private func setThrottled(_ index: Int) {
        guard let member = members[index] else { return }
        let isFree = capacity == nil && slots == nil && scheduler.isUnlimited(index)
        member.handle.isThrottled = !isFree
    }

    mutating func statistics(of member: ThrottleMember, now: UInt64) -> ThrottleStatistics {
        guard isJoined(member), let entry = members[member.index] else { return ThrottleStatistics() }
        var statistics = entry.statistics
        if let since = entry.limitedSince { statistics.limitedNanoseconds += now - min(now, since) }
        statistics.requests = member.requests
        statistics.cost = member.cost
        statistics.waiting = UInt64(scheduler.backlog(of: member.index))
        statistics.credit = scheduler.credit(of: member.index, now: now)
        statistics.creditSeconds = scheduler.creditSeconds(of: member.index)
        return statistics
    }

    // MARK: - Requests

    mutating func enqueue(_ member: ThrottleMember, cost: Int64, byteCount: Int64, now: UInt64)
        -> ThrottleWaiters.Ticket
    {
        let ticket = waiters.add(volume: member.index, arrival: now)
        scheduler.enqueue(UInt64(ticket.slot), cost: cost, byteCount: byteCount, volume: member.index, now: now)
        return ticket
    }

    /// How the request ended, if it has; else its volume has requests that wait from now on.
    mutating func outcome(_ ticket: ThrottleWaiters.Ticket, of member: ThrottleMember, now: UInt64) -> ThrottleWaiters
        .Outcome?
    {
        if let outcome = waiters.takeOutcome(ticket) { return outcome }
        if members[member.index]?.limitedSince == nil { members[member.index]?.limitedSince = now }
        return nil
    }

    /// The request's task waits, unless the request ended before.
    mutating func wait(
        _ ticket: ThrottleWaiters.Ticket, _ continuation: CheckedContinuation<ThrottleWaiters.Outcome, Never>
    ) -> ThrottleWaiters.Outcome? {
        if let outcome = waiters.takeOutcome(ticket) { return outcome }
        waiters.wait(ticket, continuation)
        return nil
    }

    /// A request is wanted no more; does nothing where it has ended.
    mutating func cancel(_ ticket: ThrottleWaiters.Ticket, now: UInt64) -> Ended? {
        guard waiters.isPending(ticket) else { return nil }
        return end(ticket.slot, .cancelled, now: now)
    }

    /// A counted request has come back from the device.
    mutating func finish() { inFlight -= 1 }

    /// Lets go what may go, and returns when there is more to do.
    mutating func advance(now: UInt64, _ ended: (Ended) -> Void) -> UInt64? {
        var next = grantAll(now: now, ended)
        while let oldest = waiters.first {
            let due = waiters.arrival(of: oldest).addingSaturating(deadline)
            guard due <= now else {
                next = min(next ?? .max, due)
                break
            }
            if let end = end(oldest, .timedOut, now: now) { ended(end) }
        }
        return next
    }

    private mutating func grantAll(now: UInt64, _ ended: (Ended) -> Void) -> UInt64? {
        while true {
            if let slots, inFlight >= slots { return nil }
            capacity?.refill(now: now)
            if let ready = capacity?.ready(), ready > now, waiters.first != nil { return ready }
            switch scheduler.next(now: now) {
            case .idle: return nil
            case .wait(let time): return time
            case .grant(let grant):
                capacity?.take(grant.cost)
                if slots != nil { inFlight += 1 }
                let slot = Int(grant.request)
                if waiters.hasWaited(slot) { recordWait(slot, now: now) }
                noteBacklog(grant.volume, now: now)
                let outcome = ThrottleWaiters.Outcome.granted(isCounted: slots != nil)
                if let continuation = waiters.end(slot, outcome) { ended((continuation, outcome)) }
            }
        }
    }

    /// Takes a request out of the queue.
    private mutating func end(_ slot: Int, _ outcome: ThrottleWaiters.Outcome, now: UInt64) -> Ended? {
        let volume = waiters.volume(of: slot)
        _ = scheduler.cancel(UInt64(slot), volume: volume, now: now)
        recordWait(slot, now: now)
        noteBacklog(volume, now: now)
        return waiters.end(slot, outcome).map { ($0, outcome) }
    }

    private mutating func recordWait(_ slot: Int, now: UInt64) {
        let volume = waiters.volume(of: slot)
        let wait = now - min(now, waiters.arrival(of: slot))
        members[volume]?.statistics.record(wait: wait)
        members[volume]?.handle.meter?.waited(wait)
    }

    /// Ends the time in which the volume's requests wait, if none does any more.
    private mutating func noteBacklog(_ volume: Int, now: UInt64) {
        guard let since = members[volume]?.limitedSince, scheduler.backlog(of: volume) == 0 else { return }
        members[volume]?.statistics.limitedNanoseconds += now - min(now, since)
        members[volume]?.limitedSince = nil
    }
}
