import BlockStorage
import Testing

@testable import VolumeQoS

private let second: UInt64 = 1_000_000_000

/// What other limiters got wrong, each by the thread in which it was found.
@Suite("What went wrong in other limiters")
struct OtherLimitersTests {
    /// What a volume of that policy has in a second when it always asks for more and the caller wakes when it is told to.
    private func operations(_ policy: QoSPolicy, cost: Int64 = 100, lateBy late: UInt64 = 0) -> Double {
        var options = QoSScheduler.Options()
        options.lateness = late
        var scheduler = QoSScheduler(options)
        let volume = scheduler.add(policy, now: 0)
        scheduler.enqueue(0, cost: cost, volume: volume, now: 0)
        var (now, total): (UInt64, Int64) = (0, 0)
        while now < 10 * second {
            switch scheduler.next(now: now) {
            case .grant(let grant):
                total += grant.cost
                scheduler.enqueue(0, cost: cost, volume: volume, now: now)
            case .wait(let time):
                #expect(time > now)
                now = time + late
            case .idle: return -1
            }
        }
        return Double(total) / 1000
    }

    @Test("dmclock pull request 4: equal volumes with long queues do not take turns of seconds")
    func oscillation() throws {
        var device = VirtualDevice(capacityIOPS: 2000)
        let volumes = try [1, 2].map { _ in device.scheduler.add(try QoSPolicy(minIOPS: 500), now: 0) }
        for volume in volumes { device.submit(volume, cost: 100, count: 10_000) }
        device.run(until: 4 * second) { _ in 100 }
        for start in stride(from: 0, to: 4 * second, by: Int(second / 10)) {
            let amounts = volumes.map { device.amount(of: $0, in: start..<(start + second / 10)) }
            #expect(abs(amounts[0] - amounts[1]) <= 400, "\(amounts) at \(start)")
        }
    }

    @Test("dmclock pull request 34: who sends its next request only after the last keeps its minimum")
    func deceptiveIdleness() throws {
        var device = VirtualDevice(capacityIOPS: 1000)
        let one = device.scheduler.add(try QoSPolicy(minIOPS: 300), now: 0)
        let greedy = device.scheduler.add(try QoSPolicy(minIOPS: 50), now: 0)
        device.submit(greedy, cost: 100, count: 256)
        var served = 0
        var nextArrival: UInt64 = 0
        while device.now < 2 * second {
            // Each request comes 0.1 ms after the one before has ended.
            if nextArrival <= device.now, device.scheduler.backlog(of: one) == 0 { device.submit(one, cost: 100) }
            guard case .grant(let grant) = device.scheduler.next(now: device.now) else { continue }
            device.now += second / 1000
            if grant.volume == one {
                served += 1
                nextArrival = device.now + 100_000
            } else {
                device.submit(greedy, cost: 100)
            }
        }
        #expect(served >= 590)
    }

    @Test("dmclock pull requests 58 and 80: requests of five operations at a minimum of 100 go 20 times a second")
    func costlyReservation() throws {
        var device = VirtualDevice(capacityIOPS: 1000)
        let volume = device.scheduler.add(try QoSPolicy(minIOPS: 100), now: 0)
        let greedy = device.scheduler.add(try QoSPolicy(minIOPS: 900), now: 0)
        device.submit(volume, cost: 500, count: 64)
        device.submit(greedy, cost: 100, count: 256)
        device.run(until: 10 * second) { $0 == volume ? 500 : 100 }
        #expect(device.amount(of: volume, in: 0..<(10 * second)) >= 10 * 100 * 100 - 1000)
    }

    @Test("dmclock issue 21: a limit across servers is kept within what is on its way")
    func distributed() throws {
        let policy = try QoSPolicy(maxIOPS: 1000)
        var schedulers = [QoSScheduler(), QoSScheduler()]
        for place in 0..<2 {
            _ = schedulers[place].add(policy, now: 0)
            schedulers[place].enqueue(0, cost: 100, volume: 0, now: 0)
        }
        var tracker = ServiceTracker(count: 2)
        var perSecond = [Int](repeating: 0, count: 5)
        for now in stride(from: 0, to: 5 * second, by: 1_000_000) {
            for place in 0..<2 {
                schedulers[place].serveElsewhere(tracker.report(to: place), of: 0, now: now)
                while case .grant(let grant) = schedulers[place].next(now: now) {
                    tracker.completed(grant, at: place)
                    schedulers[place].enqueue(0, cost: 100, volume: 0, now: now)
                    perSecond[Int(now / second)] += 1
                }
            }
        }
        // No cycles of too much and too little either.
        #expect(perSecond.allSatisfy { (995...1005).contains($0) }, "\(perSecond)")
    }

    @Test("Firecracker issue 2176: a limit of 3000 is 3000")
    func firecrackerRate() throws {
        #expect(abs(operations(try QoSPolicy(maxIOPS: 3000)) - 3000) <= 1)
    }

    @Test("Firecracker issue 6212: a wait of less than a millisecond is one, and ends")
    func firecrackerStall() throws {
        for rate: UInt64 in [999, 1001, 33_333, 999_983, 3_000_001] {
            var scheduler = QoSScheduler()
            let volume = scheduler.add(try QoSPolicy(maxIOPS: rate), now: 0)
            for number: UInt64 in 0..<3 { scheduler.enqueue(number, cost: 100, volume: volume, now: 0) }
            guard case .grant = scheduler.next(now: 0), case .wait(let time) = scheduler.next(now: 0) else {
                Issue.record("no wait at \(rate)")
                continue
            }
            #expect(time > 0 && time <= second / rate + 1)
            guard case .grant = scheduler.next(now: time) else {
                Issue.record("nothing goes at \(rate) when the wait is over")
                continue
            }
        }
    }

    @Test("cloud-hypervisor pull request 7946: waits of 100 ms do not halve a rate of ten a second")
    func coolDown() throws {
        #expect(abs(operations(try QoSPolicy(maxIOPS: 10)) - 10) <= 0.2)
        // Nor do timers that are late, as far as that is allowed for.
        #expect(abs(operations(try QoSPolicy(maxIOPS: 10), lateBy: 50_000_000) - 10) <= 0.2)
        #expect(abs(operations(try QoSPolicy(maxIOPS: 20_000), lateBy: 10_000_000) - 20_000) <= 200)
    }

    @Test("SPDK's bdev_set_qos_limit: 33,001 is not rounded to 34,000")
    func rounding() throws {
        for rate: UInt64 in [1, 7, 999, 33_001] {
            #expect(abs(operations(try QoSPolicy(maxIOPS: rate)) - Double(rate)) <= 0.2)
        }
    }

    @Test("SPDK issue 3768: the second change of a limit works as the first did")
    func secondChange() throws {
        var device = VirtualDevice()
        let volume = device.scheduler.add(try QoSPolicy(maxIOPS: 100), now: 0)
        device.submit(volume, cost: 100, count: 8)
        for rate: UInt64 in [1000, 200, 5000, 50] {
            device.scheduler.setPolicy(try QoSPolicy(maxIOPS: rate), of: volume, now: device.now)
            let start = device.now
            device.run(until: start + second) { _ in 100 }
            let amount = device.amount(of: volume, in: start..<(start + second))
            #expect(abs(amount - Int64(rate) * 100) <= 200, "\(amount) at \(rate)")
        }
    }

    @Test("SPDK issue 2691: large requests are no way around a limit")
    func largeRequests() throws {
        let cost = CostCurve.element.cost(of: 1 << 20)
        #expect(abs(operations(try QoSPolicy(maxIOPS: 1000), cost: cost) - 1000) <= 15)
    }

    @Test("QEMU's throttle groups: volumes share by what their requests cost, and not request by request")
    func costFairness() throws {
        var device = VirtualDevice(capacityIOPS: 2000)
        let volumes = try [1, 2].map { _ in device.scheduler.add(try QoSPolicy(minIOPS: 100), now: 0) }
        let costs: [Int64] = [100, 1000]
        for volume in volumes { device.submit(volume, cost: costs[volume], count: 64) }
        device.run(until: 4 * second) { costs[$0] }
        let amounts = volumes.map { device.amount(of: $0, in: 0..<(4 * second)) }
        #expect(abs(amounts[0] - amounts[1]) <= 2000, "\(amounts)")
    }

    @Test("QEMU's iotest 093: a member of a group leaves with requests that wait, and the others go on")
    func removal() throws {
        var device = VirtualDevice(capacityIOPS: 1000)
        let leaving = device.scheduler.add(try QoSPolicy(minIOPS: 900), now: 0)
        let staying = device.scheduler.add(try QoSPolicy(minIOPS: 100, maxIOPS: 500), now: 0)
        device.submit(leaving, cost: 100, count: 64)
        device.submit(staying, cost: 100, count: 64)
        device.run(until: second) { _ in 100 }
        #expect(device.scheduler.remove(leaving).count == 64)
        let start = device.now
        device.run(until: start + second) { _ in 100 }
        // Its maximum, and what it has saved of that: one large request.
        #expect((49_800...65_200).contains(device.amount(of: staying, in: start..<(start + second))))
        // Its place is another's, who inherits nothing.
        let fresh = device.scheduler.add(try QoSPolicy(maxIOPS: 10), now: device.now)
        #expect(fresh == leaving && device.scheduler.backlog(of: fresh) == 0)
        #expect(device.scheduler.credit(of: fresh, now: device.now) == 0)
    }

    @Test("blk-throttle d1ae8ff: a limit that was raised still is one")
    func raised() throws {
        var device = VirtualDevice()
        let volume = device.scheduler.add(try QoSPolicy(maxIOPS: 1), now: 0)
        device.submit(volume, cost: 100, count: 20_000)
        device.run(until: second / 2) { _ in nil }
        device.scheduler.setPolicy(try QoSPolicy(maxIOPS: 2000), of: volume, now: device.now)
        let start = device.now
        device.run(until: start + second) { _ in nil }
        #expect(abs(device.amount(of: volume, in: start..<(start + second)) - 200_000) <= 200)
    }
}
