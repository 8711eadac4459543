import BlockStorage
import Testing

@testable import VolumeQoS

/// Volumes in closed loops on a device that serves one request after the other, in virtual time.
struct SchedulerCase {
    struct Volume {
        var policy: QoSPolicy
        var depth: Int
        /// Of its requests, one of them at random.
        var costs: [Int64]
        var creditSeconds: Int64
    }

    struct Served: Equatable {
        var time: UInt64
        var volume: Int
        var cost: Int64
        var isReservation: Bool
    }

    var volumes: [Volume]
    var mode: AccrualMode
    /// In cost units a second.
    var capacity: Int64
    var duration: UInt64
    var seed: UInt64

    static let second: UInt64 = 1_000_000_000
    private static let sizes = CostCurve.element

    /// `load` is the sum of minimums by the capacity.
    init(_ random: inout SeededGenerator, load: ClosedRange<Double>, depths: [Int]) {
        let iops = Int64.random(in: 300...900, using: &random)
        capacity = iops * CostCurve.unit
        mode = Bool.random(using: &random) ? .conserving : .element
        duration = UInt64.random(in: 2...4, using: &random) * Self.second
        seed = random.next()
        let count = Int.random(in: 1...6, using: &random)
        let shares = (0..<count).map { _ in Double.random(in: 0.1...1, using: &random) }
        let total = Double(iops) * Double.random(in: load, using: &random)
        volumes = shares.map { share in
            let minimum = max(1, UInt64(total * share / shares.reduce(0, +)))
            let maximum = UInt64(Double(minimum) * Double.random(in: 1...6, using: &random))
            let burst = UInt64(Double(maximum) * Double.random(in: 1...3, using: &random))
            let hasMaximum = Bool.random(using: &random)
            var policy = QoSPolicy.unlimited
            policy.minIOPS = minimum
            policy.maxIOPS = hasMaximum ? maximum : nil
            policy.burstIOPS = hasMaximum && Bool.random(using: &random) ? burst : nil
            let largest = UInt64.random(in: 0...4, using: &random)
            let sizes = Bool.random(using: &random) ? [largest] : Array(0...largest)
            return Volume(
                policy: policy, depth: depths.randomElement(using: &random) ?? 1,
                costs: sizes.map { Self.sizes.cost(of: 4096 << $0) },
                creditSeconds: Bool.random(using: &random) ? 0 : Int64.random(in: 1...60, using: &random))
        }
    }

    var largestCost: Int64 { volumes.flatMap(\.costs).max() ?? 100 }

    /// Element counts credit by windows of half a second: whether one was below the maximum can be decided by a request.
    var windowCredit: Double {
        guard mode == .element else { return 0 }
        return volumes.reduce(0) { sum, volume in
            guard let maximum = volume.policy.maxIOPS, let burst = volume.policy.burstIOPS else { return sum }
            return sum + Double(burst - maximum) * 50
        }
    }

    /// What goes when; with the credit that each volume has left.
    func run() -> [Served] {
        var options = QoSScheduler.Options()
        options.mode = mode
        options.largestCost = largestCost
        var scheduler = QoSScheduler(options)
        var random = SeededGenerator(seed: seed)
        var number: UInt64 = 0
        var served: [Served] = []
        func submit(_ volume: Int, _ now: UInt64) {
            let cost = volumes[volume].costs.randomElement(using: &random) ?? 100
            scheduler.enqueue(number, cost: cost, volume: volume, now: now)
            number += 1
        }
        for volume in volumes {
            let index = scheduler.add(volume.policy, creditSeconds: volume.creditSeconds, now: 0)
            for _ in 0..<volume.depth { submit(index, 0) }
        }
        var now: UInt64 = 0
        while now < duration {
            switch scheduler.next(now: now) {
            case .grant(let grant):
                served.append(
                    Served(time: now, volume: grant.volume, cost: grant.cost, isReservation: grant.isReservation))
                now += UInt64((Int128(grant.cost) * 1_000_000_000 + Int128(capacity) - 1) / Int128(capacity))
                submit(grant.volume, now)
            case .wait(let time):
                precondition(time > now)
                now = time
            case .idle: return served
            }
        }
        return served
    }

    /// What the fluid allocator grants to each volume in the same time, in cost units.
    func fluid() -> [Double] {
        let volumes = volumes.map { volume -> FluidAllocator.Volume in
            let unlimited = 1e9
            let maximum = volume.policy.maxIOPS.map { Double($0) } ?? unlimited
            let burst = volume.policy.burstIOPS.map { Double($0) } ?? maximum
            return .init(
                minimum: Double(volume.policy.minIOPS ?? 50), maximum: maximum, burst: burst,
                credit: (burst - maximum) * Double(volume.creditSeconds))
        }
        var allocator = FluidAllocator(volumes: volumes, mode: mode)
        var sums = [Double](repeating: 0, count: volumes.count)
        let tick = mode == .element ? 0.5 : 0.01
        for _ in 0..<Int(Double(duration) / 1e9 / tick) {
            let grants = allocator.tick(
                duration: tick, capacity: Double(capacity) / 100,
                backlog: volumes.map { _ in 1e9 })
            for index in sums.indices { sums[index] += grants[index] * 100 }
        }
        return sums
    }
}

extension [SchedulerCase.Served] {
    /// By how much, at most, any window of the volume has more than `rate` cost units a second.
    func excess(of volume: Int, over rate: Double) -> Double {
        var sum = 0.0
        var lowest = Double.infinity
        var excess = 0.0
        for entry in self where entry.volume == volume {
            let allowed = rate * Double(entry.time) / 1e9
            lowest = Swift.min(lowest, sum - allowed)
            sum += Double(entry.cost)
            excess = Swift.max(excess, sum - allowed - lowest)
        }
        return excess
    }

    /// By how much, at most, any window of the volume that ends before `end` has less.
    func shortfall(of volume: Int, below rate: Double, until end: UInt64) -> Double {
        var sum = 0.0
        var highest = 0.0
        var shortfall = 0.0
        for entry in self where entry.volume == volume {
            let wanted = rate * Double(entry.time) / 1e9
            shortfall = Swift.max(shortfall, highest - (sum - wanted))
            sum += Double(entry.cost)
            highest = Swift.max(highest, sum - wanted)
        }
        return Swift.max(shortfall, highest - (sum - rate * Double(end) / 1e9))
    }

    func amount(of volume: Int) -> Double {
        reduce(0) { $0 + ($1.volume == volume ? Double($1.cost) : 0) }
    }
}
