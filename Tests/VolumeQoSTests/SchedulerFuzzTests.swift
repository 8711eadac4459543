import BlockStorage
import Testing

@testable import VolumeQoS

@Suite("What the scheduler promises, over random cases")
struct SchedulerFuzzTests {
    private func forEachCase(
        _ seed: UInt64, count: Int = 1000, load: ClosedRange<Double>, depths: [Int] = [1, 2, 8, 64],
        _ check: (SchedulerCase, [SchedulerCase.Served]) -> String?
    ) {
        RandomCases.run(seed, count: count) { random in
            let tested = SchedulerCase(&random, load: load, depths: depths)
            return check(tested, tested.run()).map { "\($0) in \(tested)" }
        }
    }

    @Test("No window passes the burst rate, nor the maximum and the credit, even where minimums do not fit")
    func limits() {
        forEachCase(21, load: 0.2...2) { tested, served in
            for (index, volume) in tested.volumes.enumerated() {
                guard let maximum = volume.policy.maxIOPS.map({ Double($0) * 100 }) else { continue }
                let burst = volume.policy.burstIOPS.map { Double($0) * 100 } ?? maximum
                let requests = 3 * Double(tested.largestCost)
                if served.excess(of: index, over: burst) > burst * 0.01 + requests {
                    return "\(index) passes the burst by \(served.excess(of: index, over: burst))"
                }
                if tested.mode == .conserving,
                    served.excess(of: index, over: maximum) > 60 * (burst - maximum) + requests
                {
                    return "\(index) passes the maximum"
                }
            }
            return nil
        }
    }

    @Test(
        "Every volume has its minimum in every window where all fit, less a few requests, and the device is never idle")
    func minimums() {
        forEachCase(22, load: 0.1...1) { tested, served in
            let largest = Double(tested.largestCost)
            // Who is always backlogged.
            for (index, volume) in tested.volumes.enumerated() {
                guard volume.depth > 8 else { continue }
                let minimum = Double(volume.policy.minIOPS ?? 0) * 100
                let bound = largest * (2 + Double(tested.volumes.count) * minimum / Double(tested.capacity))
                let shortfall = served.shortfall(of: index, below: minimum, until: tested.duration)
                if shortfall > bound { return "\(index) lacks \(shortfall) of \(minimum), bound \(bound)" }
            }
            return nil
        }
    }

    @Test("The long run is what the fluid allocator grants, whether minimums fit or not")
    func fluid() {
        forEachCase(23, load: 0.2...2, depths: [64]) { tested, served in
            let expected = tested.fluid()
            // A volume whose maximum is near its share loses tokens while a large request is served, 5 % at worst:
            // others have what one has too little.
            let bound =
                Double(2 * tested.volumes.count + 2) * Double(tested.largestCost) + tested.windowCredit
                + 0.05 * (expected.max() ?? 0)
            for index in tested.volumes.indices {
                let amount = served.amount(of: index)
                if abs(amount - expected[index]) > bound {
                    return "\(index) has \(amount) instead of \(expected[index]), bound \(bound)"
                }
            }
            return nil
        }
    }

    @Test("With Element's accrual bursts take no more than half of all time and what was saved")
    func elementCredit() {
        forEachCase(24, load: 0.2...1.5) { tested, served in
            guard tested.mode == .element else { return nil }
            for (index, volume) in tested.volumes.enumerated() {
                guard let maximum = volume.policy.maxIOPS.map({ Double($0) * 100 }),
                    let burst = volume.policy.burstIOPS.map({ Double($0) * 100 })
                else { continue }
                var sum = 0.0
                for entry in served where entry.volume == index {
                    sum += Double(entry.cost)
                    let time = Double(entry.time) / 1e9
                    let bursts = min(time, (Double(volume.creditSeconds) + time) / 2)
                    let bound = maximum * time + (burst - maximum) * bursts + 3 * Double(tested.largestCost)
                    if sum > bound + burst * 0.01 { return "\(index) has \(sum) of \(bound) after \(time) s" }
                }
            }
            return nil
        }
    }

    @Test("The same case goes the same way each time, and whichever volume comes first")
    func determinism() {
        forEachCase(25, count: 300, load: 0.2...2, depths: [64]) { tested, served in
            if tested.run() != served { return "another run differs" }
            var reversed = tested
            reversed.volumes.reverse()
            let others = reversed.run()
            let bound = Double(2 * tested.volumes.count + 4) * Double(tested.largestCost) + tested.windowCredit
            for index in tested.volumes.indices {
                let (one, other) = (
                    served.amount(of: index), others.amount(of: tested.volumes.count - 1 - index)
                )
                if abs(one - other) > bound { return "\(index) has \(one), and \(other) in another place" }
            }
            return nil
        }
    }

    @Test(
        "Whatever policies follow each other, none mints credit or passes its peak, and every request goes in the end")
    func changes() {
        RandomCases.run(26, count: 2000) { random in
            var options = QoSScheduler.Options()
            options.mode = Bool.random(using: &random) ? .conserving : .element
            var scheduler = QoSScheduler(options)
            var now: UInt64 = 0
            var peak = 0.0
            var served: [(time: UInt64, cost: Int64)] = []
            var queued = 0
            func policy() -> QoSPolicy {
                var policy = QoSPolicy.unlimited
                let maximum = UInt64.random(in: 1...2000, using: &random)
                policy.maxIOPS = maximum
                if Bool.random(using: &random) { policy.burstIOPS = maximum * UInt64.random(in: 1...4, using: &random) }
                if Bool.random(using: &random) { policy.minIOPS = UInt64.random(in: 1...maximum, using: &random) }
                if Int.random(in: 0..<4, using: &random) == 0 {
                    policy.maxBytesPerSecond = UInt64.random(in: 1000...10_000_000, using: &random)
                }
                return policy
            }
            let volume = scheduler.add(policy(), creditSeconds: 60, now: now)
            for _ in 0..<6 {
                let next = policy()
                let credit = scheduler.credit(of: volume, now: now)
                scheduler.setPolicy(next, of: volume, now: now)
                let (maximum, burst) = (next.maxIOPS ?? 0, next.burstIOPS ?? next.maxIOPS ?? 0)
                let after = scheduler.credit(of: volume, now: now)
                if after > credit { return "\(after - credit) credit of nothing" }
                if after > Int64(burst - maximum) * 6000 { return "credit beyond what the policy allows" }
                peak = Double(burst) * 100
                let (start, first) = (now, served.count)
                for _ in 0..<Int.random(in: 0...30, using: &random) {
                    let size = UInt64(4096) << UInt64.random(in: 0...8, using: &random)
                    scheduler.enqueue(
                        0, cost: CostCurve.element.cost(of: size), byteCount: Int64(size), volume: volume, now: now)
                    queued += 1
                }
                let end = now + UInt64.random(in: 0...3_000_000_000, using: &random)
                loop: while true {
                    switch scheduler.next(now: now) {
                    case .grant(let grant):
                        served.append((now, grant.cost))
                        queued -= 1
                    case .wait(let time):
                        if time <= now { return "an empty wait" }
                        if time > end { break loop }
                        now = time
                    case .idle: break loop
                    }
                }
                now = max(now, end)
                var sum = 0.0
                for (time, cost) in served[first...] {
                    sum += Double(cost)
                    // Saved up to the peak's depth before, and at most so much more.
                    if sum > peak * (Double(time - start) / 1e9 + 0.01) + 3 * 15_000 {
                        return "\(sum) after \(time - start) ns at a peak of \(peak)"
                    }
                }
            }
            // Everything that is left goes in time.
            var steps = 0
            while queued > 0 {
                switch scheduler.next(now: now) {
                case .grant: queued -= 1
                case .wait(let time): now = time
                case .idle: return "\(queued) requests forgotten"
                }
                steps += 1
                if steps > 10_000 { return "\(queued) requests never go" }
            }
            return nil
        }
    }

    @Test("A volume that several schedulers serve keeps its maximum, but for what is on its way")
    func elsewhere() {
        RandomCases.run(27, count: 500) { random in
            let places = Int.random(in: 2...4, using: &random)
            let maximum = UInt64.random(in: 200...3000, using: &random)
            var policy = QoSPolicy.unlimited
            policy.maxIOPS = maximum
            policy.minIOPS = maximum / 2
            var schedulers = (0..<places).map { _ in QoSScheduler() }
            for place in schedulers.indices { _ = schedulers[place].add(policy, now: 0) }
            var tracker = ServiceTracker(count: places)
            let cost = CostCurve.element.cost(of: 4096 << UInt64.random(in: 0...5, using: &random))
            let pause = UInt64.random(in: 1_000_000...50_000_000, using: &random)
            let duration: UInt64 = 2_000_000_000
            var total = 0.0
            for place in schedulers.indices {
                for _ in 0..<8 { schedulers[place].enqueue(0, cost: cost, volume: 0, now: 0) }
            }
            for now in stride(from: 0, to: duration, by: Int(pause)) {
                for place in schedulers.indices {
                    schedulers[place].serveElsewhere(tracker.report(to: place), of: 0, now: now)
                    while case .grant(let grant) = schedulers[place].next(now: now) {
                        tracker.completed(grant, at: place)
                        schedulers[place].enqueue(0, cost: cost, volume: 0, now: now)
                        total += Double(grant.cost)
                    }
                }
            }
            let (rate, seconds, request) = (Double(maximum) * 100, Double(duration) / 1e9, 15_000.0)
            let hidden = Double(places - 1) * (rate * (Double(pause) / 1e9 + 0.01) + 3 * request)
            let bound = rate * seconds + 3 * request * Double(places) + hidden
            return total <= bound ? nil : "\(total) of \(bound) in \(places) places, \(rate) a second"
        }
    }

    @Test("Shares of a capacity fit it, keep minimums that fit, and leave nothing")
    func shares() {
        RandomCases.run(28, count: 20_000) { random in
            let hosts = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                CapacityUse(
                    minimum: UInt64.random(in: 0...10_000, using: &random),
                    demand: UInt64.random(in: 0...50_000, using: &random))
            }
            let capacity = UInt64.random(in: 1...100_000, using: &random)
            let shares = CapacityShare.split(capacity, among: hosts)
            let sum = shares.reduce(0, +)
            if sum > capacity || sum + UInt64(hosts.count) < capacity { return "\(sum) of \(capacity): \(hosts)" }
            guard hosts.reduce(0, { $0 + $1.minimum }) <= capacity else { return nil }
            for (host, share) in zip(hosts, shares) where share + 1 < host.minimum {
                return "\(share) for a minimum of \(host.minimum): \(hosts), \(capacity)"
            }
            return nil
        }
    }
}
