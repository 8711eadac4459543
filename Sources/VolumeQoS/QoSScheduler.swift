import BlockStorage

/// Decides which request of which volume goes next: every volume gets its minimum, what is left is shared in proportion
/// to the minimums, and none exceeds its maximum but by burst credit.
///
/// It knows no clock and no device: the caller says what time it is, tells it of every request, and asks for the next one
/// whenever the device can take one. Not thread-safe. Logarithmic in the volumes; nothing is allocated once the queues
/// have grown. Times are nanoseconds on any clock, costs hundredths of a 4 KiB operation, as `CostCurve` gives them.
///
/// Each volume has a reservation tag, which is when its next request is due by its minimum, and a proportion tag, which
/// counts what it got beyond (mClock, Gulati and others, OSDI 2010); a bucket for its maximum, as deep as its burst
/// credit; and a bucket for its burst rate. A request is never split, and may leave a bucket in debt.
public struct QoSScheduler: Sendable {
    public struct Options: Sendable {
        public var mode = AccrualMode.conserving
        /// How many seconds of burst a volume can save.
        public var burstSeconds: Int64 = 60
        /// The cost of the largest request: a bucket is that much deeper.
        public var largestCost = CostCurve.element.cost(of: 1 << 20)
        /// The weight of volumes without a minimum, in operations a second.
        public var defaultWeight: UInt64 = 50

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
    /// Volumes with requests that their buckets do not allow yet, by when they will.
    private var limited = VolumeHeap()
    /// Where proportion tags stand: a volume that was idle begins here.
    private var virtualTime: UInt64 = 0

    public init(_ options: Options = Options()) { self.options = options }

    /// Adds a volume; `creditSeconds` of burst are its own from the start. Returns its index, which is used again after
    /// `remove`.
    public mutating func add(_ policy: QoSPolicy, creditSeconds: Int64 = 0, now: UInt64) -> Int {
        let member = QoSMember(policy, options, creditSeconds: creditSeconds, now: now)
        guard let index = free.popLast() else {
            members.append(member)
            reservations.reserve(members.count)
            eligible.reserve(members.count)
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
        free.append(volume)
        return forgotten
    }

    /// Another policy, from now on, for waiting requests too. Credit beyond what it allows is lost, and none is won.
    public mutating func setPolicy(_ policy: QoSPolicy, of volume: Int, now: UInt64) {
        members[volume].change(policy, options, now: now)
        // Whoever was held back by a low maximum has no claim to all that others got meanwhile.
        members[volume].proportionTag = max(members[volume].proportionTag, virtualTime)
        if members[volume].queue.first != nil { place(volume, now) }
    }

    /// Requests of the volume that wait.
    public func backlog(of volume: Int) -> Int { members[volume].queue.count }

    /// Burst that the volume has saved, in hundredths of a 4 KiB operation.
    public mutating func credit(of volume: Int, now: UInt64) -> Int64 {
        members[volume].refill(now: now)
        return members[volume].savedBurst
    }

    /// A request has come.
    public mutating func enqueue(_ request: UInt64, cost: Int64, volume: Int, now: UInt64) {
        let wasIdle = members[volume].queue.first == nil
        members[volume].queue.append(.init(id: request, cost: max(1, cost), arrival: now))
        guard wasIdle else { return }
        members[volume].proportionTag = max(members[volume].proportionTag, virtualTime)
        headChanged(volume, now)
    }

    /// A request is wanted no more. False where it has gone already.
    public mutating func cancel(_ request: UInt64, volume: Int, now: UInt64) -> Bool {
        guard members[volume].queue.remove(request) else { return false }
        if members[volume].queue.first == nil { leave(volume) } else { headChanged(volume, now) }
        return true
    }

    /// The request that goes now, or how long there is none.
    public mutating func next(now: UInt64) -> Decision {
        while let (time, volume) = limited.first, time <= now {
            members[volume].refill(now: now)
            place(volume, now)
        }
        if let (time, volume) = reservations.first, time <= now { return grant(volume, isReservation: true, now) }
        if let (_, volume) = eligible.first { return grant(volume, isReservation: false, now) }
        let times = [reservations.first?.key, limited.first?.key].compactMap(\.self)
        return times.min().map { .wait(until: max($0, now + 1)) } ?? .idle
    }

    private mutating func grant(_ volume: Int, isReservation: Bool, _ now: UInt64) -> Decision {
        guard let request = members[volume].queue.popFirst() else {
            leave(volume)
            return next(now: now)
        }
        if !isReservation { virtualTime = max(virtualTime, members[volume].proportionTag) }
        members[volume].charge(request.cost, isReservation: isReservation, now: now)
        if members[volume].queue.first == nil { leave(volume) } else { headChanged(volume, now) }
        return .grant(
            Grant(
                volume: volume, request: request.id, cost: request.cost, arrival: request.arrival,
                isReservation: isReservation))
    }

    /// Another request is the volume's first.
    private mutating func headChanged(_ volume: Int, _ now: UInt64) {
        guard let head = members[volume].queue.first else { return }
        // Its arrival, and not when it became the first: else the minimum would drift.
        members[volume].advanceReservation(to: head.arrival)
        members[volume].refill(now: now)
        place(volume, now)
    }

    /// Puts a volume with requests where its tags and buckets say.
    private mutating func place(_ volume: Int, _ now: UInt64) {
        let member = members[volume]
        if member.minimum > 0 {
            reservations.set(volume, member.reservationTag)
        } else {
            reservations.remove(volume)
        }
        let ready = member.ready
        if ready <= now {
            limited.remove(volume)
            eligible.set(volume, member.proportionTag)
        } else {
            eligible.remove(volume)
            limited.set(volume, ready)
        }
    }

    private mutating func leave(_ volume: Int) {
        reservations.remove(volume)
        eligible.remove(volume)
        limited.remove(volume)
    }
}
