import BlockStorage

/// Decides which request of which volume goes next: every volume gets its minimum, what is left is shared in proportion
/// to the minimums, and none exceeds its maximum but by burst credit.
///
/// It knows no clock and no device: the caller says what time it is, tells it of every request, and asks for the next one
/// whenever the device can take one. Not thread-safe. Logarithmic in the volumes; nothing is allocated once the queues
/// have grown. Times are nanoseconds on any clock, costs hundredths of a 4 KiB operation, as `CostCurve` gives them.
///
/// Each volume has a reservation tag, which is when its next request is due by its minimum, and a proportion tag, which
/// counts what it got beyond (mClock, Gulati and others, OSDI 2010); a bucket for its maximum, its burst credit, and a
/// bucket for its burst rate. What is due goes first, then whoever is below its maximum, and by credit who may burst while
/// nobody else wants the device. A request is never split, and may leave a bucket in debt.
public struct QoSScheduler: Sendable {
    public struct Options: Sendable {
        public var mode = AccrualMode.conserving
        /// How many seconds of burst a volume can save.
        public var burstSeconds: Int64 = 60
        /// The cost of the largest request: a bucket is that much deeper.
        public var largestCost = CostCurve.element.cost(of: 1 << 20)
        /// The weight of volumes without a minimum, in operations a second.
        public var defaultWeight: UInt64 = 50
        /// How late the caller may ask without a volume losing what it could have had, in nanoseconds: the bucket of its
        /// maximum is that much deeper.
        public var lateness: UInt64 = 0
        /// A bucket for bytes is so much deeper.
        static let largestByteCount: Int64 = 1 << 20

        /// Conserving, 60 seconds, requests of up to 1 MiB by the Element curve.
        public init() {}
    }

    /// A request that may go.
    public struct Grant: Sendable, Equatable {
        public var volume: Int
        public var request: UInt64
        public var cost: Int64
        /// When it came.
        public var arrival: UInt64
        /// Whether it goes because the volume's minimum asks for it.
        public var isReservation: Bool
    }

    public enum Decision: Sendable, Equatable {
        case grant(Grant)
        /// Nothing may go before this time.
        case wait(until: UInt64)
        /// Nothing waits.
        case idle
    }

    public let options: Options
    private var members: [QoSMember] = []
    private var free: [Int] = []
    /// Volumes with requests and a minimum, by their reservation tags.
    private var reservations = VolumeHeap()
    /// Volumes with requests that their buckets allow, by their proportion tags.
    private var eligible = VolumeHeap()
    /// Volumes with requests that credit allows, by their burst tags.
    private var bursting = VolumeHeap()
    /// Volumes with requests beyond their maximum, by when they are within it, or may have credit.
    private var limited = VolumeHeap()
    /// Where proportion and burst tags stand: a volume that was idle begins here.
    private var virtualTime: UInt64 = 0
    private var burstTime: UInt64 = 0
    /// Where reservation tags stand: the time less `forgiven`, or behind that while minimums do not fit.
    private var reservationTime: UInt64 = 0
    /// Of the time in which the device was too slow for all minimums, what is not made up for, in nanoseconds: reservation
    /// tags are that much later than they say.
    private var forgiven: UInt64 = 0
    /// Of all volumes: how many have a minimum, and the sum of those, in cost units a second.
    private var minimumCount: Int64 = 0
    private var minimumSum: Int64 = 0
    /// The cost of the largest request so far.
    private var largestSeen: Int64 = CostCurve.unit

    public init(_ options: Options = Options()) { self.options = options }

    /// Adds a volume; `creditSeconds` of burst are its own from the start. Returns its index, which is used again after
    /// `remove`.
    public mutating func add(_ policy: QoSPolicy, creditSeconds: Int64 = 0, now: UInt64) -> Int {
        var member = QoSMember(policy, options, creditSeconds: creditSeconds, now: now)
        member.reservation.advance(to: now.subtractingSaturating(forgiven))
        count(member, 1)
        guard let index = free.popLast() else {
            members.append(member)
            reservations.reserve(members.count)
            eligible.reserve(members.count)
            bursting.reserve(members.count)
            limited.reserve(members.count)
            return members.count - 1
        }
        members[index] = member
        return index
    }

    /// Removes a volume. Its requests are forgotten; their numbers are returned.
    public mutating func remove(_ volume: Int) -> [UInt64] {
        var forgotten: [UInt64] = []
        while let request = members[volume].queue.popFirst() { forgotten.append(request.id) }
        leave(volume)
        count(members[volume], -1)
        free.append(volume)
        return forgotten
    }

    /// Adds a volume's minimum to the sum, or takes it away.
    private mutating func count(_ member: QoSMember, _ sign: Int64) {
        guard member.minimum > 0 else { return }
        minimumCount += sign
        minimumSum += sign * member.minimum
    }

    /// Another policy, from now on, for waiting requests too. Credit beyond what it allows is lost, and none is won.
    public mutating func setPolicy(_ policy: QoSPolicy, of volume: Int, now: UInt64) {
        let old = members[volume].weight
        count(members[volume], -1)
        members[volume].change(policy, options, now: now, reservationTime: now.subtractingSaturating(forgiven))
        count(members[volume], 1)
        // Whoever was held back by a low maximum has no claim to all that others got meanwhile.
        members[volume].proportion.advance(to: virtualTime)
        members[volume].proportion.rescale(from: old, to: members[volume].weight, at: virtualTime)
        members[volume].burst.advance(to: burstTime)
        members[volume].burst.rescale(from: old, to: members[volume].weight, at: burstTime)
        if members[volume].queue.count > 0 { headChanged(volume, now) }
    }

    /// Requests of the volume that wait.
    public func backlog(of volume: Int) -> Int { members[volume].queue.count }

    /// Whether the volume's requests go as soon as there is room.
    public func isUnlimited(_ volume: Int) -> Bool { members[volume].isUnlimited }

    /// Burst that the volume has saved, in hundredths of a 4 KiB operation.
    public mutating func credit(of volume: Int, now: UInt64) -> Int64 {
        members[volume].refill(now: now)
        return members[volume].savedBurst
    }

    /// The same in seconds at the burst rate, rounded down; 0 for a volume that cannot burst.
    public func creditSeconds(of volume: Int) -> Int64 { members[volume].savedSeconds }

    /// Gives a volume the burst that it had saved, in hundredths of a 4 KiB operation, as far as its policy allows it.
    public mutating func restoreCredit(_ credit: Int64, of volume: Int, now: UInt64) {
        members[volume].refill(now: now)
        members[volume].restoreBurst(credit)
        if members[volume].queue.count > 0 { place(volume, now) }
    }

    /// A request has come. `byteCount` counts where bytes are limited.
    public mutating func enqueue(_ request: UInt64, cost: Int64, byteCount: Int64 = 0, volume: Int, now: UInt64) {
        let wasIdle = members[volume].queue.count == 0
        largestSeen = max(largestSeen, min(cost, options.largestCost))
        members[volume].queue.append(
            .init(id: request, cost: max(1, cost), byteCount: max(0, byteCount), arrival: now))
        guard wasIdle else { return }
        members[volume].proportion.advance(to: virtualTime)
        members[volume].burst.advance(to: burstTime)
        let time = now.subtractingSaturating(forgiven)
        if reservations.first?.key ?? .max > time { reservationTime = max(reservationTime, time) }
        headChanged(volume, now)
    }

    /// A request is wanted no more. False where it has gone already.
    public mutating func cancel(_ request: UInt64, volume: Int, now: UInt64) -> Bool {
        guard members[volume].queue.remove(request) else { return false }
        if members[volume].queue.count == 0 { leave(volume) } else { headChanged(volume, now) }
        return true
    }

    /// Other schedulers have served the volume, since the last time that this was said: its limits, its minimum and its
    /// share are those of all together. See `ServiceElsewhere`.
    public mutating func serveElsewhere(_ service: ServiceElsewhere, of volume: Int, now: UInt64) {
        members[volume].refill(now: now)
        members[volume].chargeElsewhere(service)
        if members[volume].queue.count > 0 { place(volume, now) }
    }

    /// The request that goes now, or how long there is none.
    public mutating func next(now: UInt64) -> Decision {
        while let (time, volume) = limited.first, time <= now {
            members[volume].refill(now: now)
            // Its tags may be behind by a request, and not by all that others had while it could have none.
            let patience = members[volume].patience
            members[volume].proportion.advance(to: virtualTime.subtractingSaturating(patience))
            members[volume].burst.advance(to: burstTime.subtractingSaturating(patience))
            place(volume, now)
        }
        if let (time, volume) = reservations.first, time <= now.subtractingSaturating(forgiven) {
            forgive(lateness: now - forgiven - time)
            reservationTime = max(reservationTime, time)
            return grant(volume, .reservation, now)
        }
        reservationTime = max(reservationTime, now.subtractingSaturating(forgiven))
        if let (_, volume) = eligible.first { return grant(volume, .proportion, now) }
        if let (_, volume) = bursting.first { return grant(volume, .burst, now) }
        let due = reservations.first.map { $0.key.addingSaturating(forgiven) }
        let time = min(due ?? .max, limited.first?.key ?? .max)
        return reservations.isEmpty && limited.isEmpty ? .idle : .wait(until: max(time, now.addingSaturating(1)))
    }

    /// What is due is late by so much. Where every minimum fits, none is late by more than all volumes' largest requests
    /// take at the sum of minimums; what is beyond was missed because the device was too slow, and to make up for it would
    /// leave nothing to those without a minimum.
    private mutating func forgive(lateness: UInt64) {
        let requests = Int128(largestSeen) * Int128(minimumCount + 2)
        let most = TokenBucket.quotient(requests * TokenBucket.scale, max(1, minimumSum)).quotient
        if lateness > most { forgiven += lateness - most }
    }

    /// Proportion and burst tags only ever grow: long before they cannot, all are made smaller by the same.
    private mutating func rebase() {
        let base: UInt64 = 1 << 61
        if virtualTime > 1 << 62 {
            virtualTime -= base
            for index in members.indices { members[index].proportion.recede(by: base) }
            eligible.recede(by: base)
        }
        if burstTime > 1 << 62 {
            burstTime -= base
            for index in members.indices { members[index].burst.recede(by: base) }
            bursting.recede(by: base)
        }
    }

    private mutating func grant(_ volume: Int, _ phase: QoSMember.Phase, _ now: UInt64) -> Decision {
        guard let request = members[volume].queue.popFirst() else {
            leave(volume)
            return next(now: now)
        }
        switch phase {
        case .reservation: break
        case .proportion: virtualTime = max(virtualTime, members[volume].proportion.value)
        case .burst: burstTime = max(burstTime, members[volume].burst.value)
        }
        if max(virtualTime, burstTime) > 1 << 62 { rebase() }
        members[volume].refill(now: now)
        members[volume].charge(request.cost, byteCount: request.byteCount, phase)
        if members[volume].queue.count == 0 { leave(volume) } else { headChanged(volume, now) }
        return .grant(
            Grant(
                volume: volume, request: request.id, cost: request.cost, arrival: request.arrival,
                isReservation: phase == .reservation))
    }

    /// Another request is the volume's first.
    private mutating func headChanged(_ volume: Int, _ now: UInt64) {
        guard let head = members[volume].queue.first else { return }
        // Its arrival, and not when it became the first: else the minimum would drift. But where the device is too slow
        // for all minimums, not behind those that wait for theirs: else who sends few requests at once would starve.
        members[volume].reservation.advance(to: min(head.arrival.subtractingSaturating(forgiven), reservationTime))
        members[volume].refill(now: now)
        place(volume, now)
    }

    /// Puts a volume with requests where its tags and buckets say, as of its last refill.
    private mutating func place(_ volume: Int, _ now: UInt64) {
        if members[volume].minimum > 0 {
            let allowed = members[volume].reservationReady(largestCost: options.largestCost)
            // What the volume's own limits hold up is not owed to it.
            if allowed > now { members[volume].reservation.advance(to: allowed.subtractingSaturating(forgiven)) }
            reservations.set(volume, members[volume].reservation.value)
        } else {
            reservations.remove(volume)
        }
        let ready = members[volume].ready
        if ready <= now {
            limited.remove(volume)
            bursting.remove(volume)
            eligible.set(volume, members[volume].proportion.value)
            return
        }
        eligible.remove(volume)
        let burstReady = members[volume].burstReady ?? .max
        if burstReady <= now {
            bursting.set(volume, members[volume].burst.value)
            limited.set(volume, ready)
        } else {
            bursting.remove(volume)
            limited.set(volume, min(ready, burstReady))
        }
    }

    private mutating func leave(_ volume: Int) {
        reservations.remove(volume)
        eligible.remove(volume)
        bursting.remove(volume)
        limited.remove(volume)
    }
}

extension UInt64 {
    fileprivate func subtractingSaturating(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}
