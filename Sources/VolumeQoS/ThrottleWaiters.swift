/// Requests that wait for a `ThrottleGroup`, the oldest first; each in a slot that is used again.
struct ThrottleWaiters: Sendable {
    /// How a wait ends.
    enum Outcome: Sendable {
        /// The request may go; whether it counts as one at the device until it ends.
        case granted(isCounted: Bool)
        /// It may go at once, since its volume is being closed, which waits for its end.
        case released
        case cancelled
        case timedOut
    }

    /// A slot, and which of its uses.
    struct Ticket: Sendable {
        var slot: Int
        var use: UInt64
    }

    private enum State: Sendable {
        case free
        /// Its task has not begun to wait yet.
        case queued
        case waiting(CheckedContinuation<Outcome, Never>)
        /// It ended before its task began to wait.
        case ended(Outcome)
    }

    private struct Slot: Sendable {
        var state = State.free
        var use: UInt64 = 0
        var volume = 0
        var arrival: UInt64 = 0
        var previous = -1
        var next = -1
        /// Whether its first attempt to go has failed.
        var hasWaited = false
    }

    private var slots: [Slot] = []
    private var free: [Int] = []
    private var oldest = -1
    private var newest = -1

    mutating func add(volume: Int, arrival: UInt64) -> Ticket {
        if free.isEmpty {
            free.append(slots.count)
            slots.append(Slot())
        }
        let index = free.removeLast()
        slots[index] = Slot(
            state: .queued, use: slots[index].use &+ 1, volume: volume, arrival: arrival, previous: newest, next: -1)
        if newest >= 0 { slots[newest].next = index } else { oldest = index }
        newest = index
        return Ticket(slot: index, use: slots[index].use)
    }

    func volume(of slot: Int) -> Int { slots[slot].volume }
    func arrival(of slot: Int) -> UInt64 { slots[slot].arrival }

    /// The request that came first of those that have not ended.
    var first: Int? { oldest >= 0 ? oldest : nil }

    /// Whether the use of the slot that the ticket stands for has not ended.
    func isPending(_ ticket: Ticket) -> Bool {
        guard slots[ticket.slot].use == ticket.use else { return false }
        switch slots[ticket.slot].state {
        case .queued, .waiting: return true
        case .free, .ended: return false
        }
    }

    /// Ends a request's wait. Returns who is to be resumed, if its task waits already.
    mutating func end(_ slot: Int, _ outcome: Outcome) -> CheckedContinuation<Outcome, Never>? {
        let (previous, next) = (slots[slot].previous, slots[slot].next)
        if previous >= 0 { slots[previous].next = next } else { oldest = next }
        if next >= 0 { slots[next].previous = previous } else { newest = previous }
        guard case .waiting(let continuation) = slots[slot].state else {
            slots[slot].state = .ended(outcome)
            return nil
        }
        release(slot)
        return continuation
    }

    /// Whether the request could not go when it came.
    func hasWaited(_ slot: Int) -> Bool { slots[slot].hasWaited }

    /// How the request ended, if it has before its task began to wait; the slot is free then.
    mutating func takeOutcome(_ ticket: Ticket) -> Outcome? {
        guard case .ended(let outcome) = slots[ticket.slot].state else {
            slots[ticket.slot].hasWaited = true
            return nil
        }
        release(ticket.slot)
        return outcome
    }

    /// The request's task begins to wait, unless `takeOutcome` has something.
    mutating func wait(_ ticket: Ticket, _ continuation: CheckedContinuation<Outcome, Never>) {
        slots[ticket.slot].state = .waiting(continuation)
    }

    private mutating func release(_ slot: Int) {
        slots[slot].state = .free
        free.append(slot)
    }
}
