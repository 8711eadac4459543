/// What each of several volumes gets of a capacity in one tick: the model that the scheduler is held against.
///
/// First every volume's minimum, then up to the maximums, then bursts; each from what is left, in proportion to the
/// minimums. All amounts are in 4 KiB operations, all rates in operations a second.
public struct FluidAllocator: Sendable {
    public struct Volume: Sendable, Equatable {
        public var minimum: Double
        public var maximum: Double
        public var burst: Double
        /// Earned and not spent.
        public var credit: Double

        public init(minimum: Double, maximum: Double, burst: Double, credit: Double = 0) {
            (self.minimum, self.maximum, self.burst, self.credit) = (minimum, maximum, burst, credit)
        }

        /// The most credit that the volume can have.
        public func largestCredit(seconds: Double) -> Double { seconds * (burst - maximum) }
    }

    public var volumes: [Volume]
    public var mode: AccrualMode
    /// How many seconds of burst a volume can save.
    public var burstSeconds: Double

    public init(volumes: [Volume], mode: AccrualMode = .element, burstSeconds: Double = 60) {
        (self.volumes, self.mode, self.burstSeconds) = (volumes, mode, burstSeconds)
    }

    /// Weighted max-min: each gets its cap, or a share of `room` in proportion to its weight, whichever is less.
    public static func fill(_ room: Double, caps: [Double], weights: [Double]) -> [Double] {
        var grants = [Double](repeating: 0, count: caps.count)
        var room = room
        let order = caps.indices.filter { caps[$0] > 0 }.sorted { caps[$0] / weights[$0] < caps[$1] / weights[$1] }
        var weight = order.reduce(0) { $0 + weights[$1] }
        for (position, index) in order.enumerated() {
            guard room > 0, weight > 0 else { break }
            if caps[index] <= room / weight * weights[index] {
                grants[index] = caps[index]
                room -= caps[index]
                weight -= weights[index]
            } else {
                let share = room / weight
                for other in order[position...] { grants[other] = share * weights[other] }
                break
            }
        }
        return grants
    }

    /// Grants operations for a tick of `duration` seconds, and books the credit. `backlog` is what each volume asks for.
    public mutating func tick(duration: Double, capacity: Double, backlog: [Double]) -> [Double] {
        let floors = volumes.indices.map { min(backlog[$0], volumes[$0].minimum * duration) }
        let sustained = volumes.indices.map { min(backlog[$0], volumes[$0].maximum * duration) }
        let bursts = volumes.indices.map { index in
            let volume = volumes[index]
            let extra = min(volume.credit, (volume.burst - volume.maximum) * duration)
            return min(backlog[index], volume.maximum * duration + extra)
        }
        let weights = volumes.map(\.minimum)
        var room = capacity * duration
        var grants = Self.fill(room, caps: floors, weights: weights)
        for (lower, upper) in [(floors, sustained), (sustained, bursts)] {
            room = max(0, capacity * duration - grants.reduce(0, +))
            let more = Self.fill(room, caps: zip(upper, lower).map { max(0, $0 - $1) }, weights: weights)
            for index in grants.indices { grants[index] += more[index] }
        }
        for index in volumes.indices { book(grants[index], to: index, duration) }
        return grants
    }

    private mutating func book(_ grant: Double, to index: Int, _ duration: Double) {
        var volume = volumes[index]
        let rate = grant / duration
        let spare = volume.burst - volume.maximum
        if rate < volume.maximum {
            volume.credit += duration * (mode == .element ? spare : min(volume.maximum - rate, spare))
        } else {
            volume.credit -= (rate - volume.maximum) * duration
        }
        volume.credit = min(max(volume.credit, 0), volume.largestCredit(seconds: burstSeconds))
        volumes[index] = volume
    }
}
