import BlockStorage
import Testing

@testable import VolumeQoS

/// A device of a given capacity that serves what a scheduler grants, in virtual time.
struct VirtualDevice {
    var scheduler: QoSScheduler
    /// In cost units a second; nil for one that is never busy.
    var capacity: Int64?
    var now: UInt64 = 0
    var served: [(time: UInt64, volume: Int, cost: Int64)] = []
    private var nextRequest: UInt64 = 0

    init(_ options: QoSScheduler.Options = .init(), capacityIOPS: Int64? = nil) {
        scheduler = QoSScheduler(options)
        capacity = capacityIOPS.map { $0 * CostCurve.unit }
    }

    mutating func submit(_ volume: Int, cost: Int64, count: Int = 1) {
        for _ in 0..<count {
            scheduler.enqueue(nextRequest, cost: cost, volume: volume, now: now)
            nextRequest += 1
        }
    }

    /// Serves until `end`; every request that goes is followed by another of `cost(volume)`.
    mutating func run(until end: UInt64, cost: (Int) -> Int64?) {
        while now < end {
            switch scheduler.next(now: now) {
            case .grant(let grant):
                served.append((now, grant.volume, grant.cost))
                if let next = cost(grant.volume) { submit(grant.volume, cost: next) }
                if let capacity {
                    now += UInt64((Int128(grant.cost) * 1_000_000_000 + Int128(capacity) - 1) / Int128(capacity))
                }
            case .wait(let time): now = time
            case .idle: return
            }
        }
    }

    /// In hundredths of an operation.
    func amount(of volume: Int, in window: Range<UInt64>) -> Int64 {
        served.reduce(0) { $0 + ($1.volume == volume && window.contains($1.time) ? $1.cost : 0) }
    }
}

private let second: UInt64 = 1_000_000_000

@Suite("The scheduler")
struct QoSSchedulerTests {
    @Test(
        "A maximum holds to one request over ten seconds, at any rate, size and depth", arguments: AccrualMode.allCases)
    func maximum(_ mode: AccrualMode) throws {
        for rate: UInt64 in [100, 1000, 10_000, 100_000] {
            for size: UInt64 in rate == 100_000 ? [1 << 20] : [4096, 65536, 1 << 20] {
                for depth in rate == 10_000 ? [32] : [1, 32, 256] {
                    var options = QoSScheduler.Options()
                    options.mode = mode
                    var device = VirtualDevice(options)
                    let volume = device.scheduler.add(try QoSPolicy(maxIOPS: rate), now: 0)
                    let cost = CostCurve.element.cost(of: size)
                    device.submit(volume, cost: cost, count: depth)
                    device.run(until: 10 * second) { _ in cost }
                    let amount = device.amount(of: volume, in: 0..<(10 * second))
                    let expected = Int64(rate) * 10 * CostCurve.unit
                    #expect(abs(amount - expected) <= max(cost, expected / 100), "\(rate) \(size) \(depth): \(amount)")
                }
            }
        }
    }

    @Test(
        "Three volumes have their minimums in every second while a fourth asks for the whole device, which is never idle"
    )
    func minimums() throws {
        for sizes: [UInt64] in [[4096], [4096, 16 << 10, 64 << 10, 256 << 10]] {
            let costs = sizes.map { CostCurve.element.cost(of: $0) }
            let largest = costs.max() ?? 100
            var random = SeededGenerator(seed: 3)
            var device = VirtualDevice(capacityIOPS: 5000)
            let minimums: [UInt64] = [250, 500, 1000, 1500]
            for (index, minimum) in minimums.enumerated() {
                let volume = device.scheduler.add(try QoSPolicy(minIOPS: minimum), now: 0)
                device.submit(volume, cost: costs[0], count: index == 0 ? 256 : 32)
            }
            device.run(until: 5 * second) { _ in costs.randomElement(using: &random) }
            for start in stride(from: 0, to: 5 * second, by: Int(second)) {
                let amounts = minimums.indices.map { device.amount(of: $0, in: start..<(start + second)) }
                #expect(abs(amounts.reduce(0, +) - 500_000) <= largest)
                for (amount, minimum) in zip(amounts, minimums).dropFirst() {
                    let wanted = Int64(minimum) * 100
                    let bound = largest * (2 + 4 * wanted / 500_000 + 1)
                    #expect(amount >= (sizes.count == 1 ? wanted * 98 / 100 : wanted - bound))
                }
            }
        }
    }

    @Test("A request larger than any bucket goes, and no wait is empty")
    func progress() throws {
        var device = VirtualDevice()
        let volume = device.scheduler.add(try QoSPolicy(maxIOPS: 1), now: 0)
        device.submit(volume, cost: 1_000_000, count: 3)
        var waits = 0
        while device.served.count < 3 {
            switch device.scheduler.next(now: device.now) {
            case .grant(let grant): device.served.append((device.now, grant.volume, grant.cost))
            case .wait(let time):
                #expect(time > device.now)
                device.now = time
                waits += 1
            case .idle: Issue.record("forgotten")
            }
            guard waits < 10 else { break }
        }
        #expect(device.served.count == 3)
    }

    @Test("What minimums missed while the device stood still is not made up for at the cost of those without one")
    func stall() throws {
        var device = VirtualDevice(capacityIOPS: 1000)
        let promised = device.scheduler.add(try QoSPolicy(minIOPS: 500), now: 0)
        let other = device.scheduler.add(.unlimited, now: 0)
        for volume in [promised, other] { device.submit(volume, cost: 100, count: 10_000) }
        device.run(until: second) { _ in nil }
        // Nothing goes for ten seconds, in which 5000 operations were due.
        device.now += 10 * second
        let start = device.now
        device.run(until: start + 2 * second) { _ in nil }
        let amounts = [promised, other].map { device.amount(of: $0, in: start..<(start + 2 * second)) }
        // Half is the minimum, and of the rest a share of 500 to 50.
        #expect(abs(amounts[1] - 2 * 500 * 50 * 100 / 550) <= 1000, "\(amounts)")
    }

    @Test("Tags that run for years keep the shares, and the order of those behind")
    func longRun() throws {
        // Each request is a tag of twenty years.
        var device = VirtualDevice()
        let policies: [UInt64] = [1, 2]
        for minimum in policies { _ = device.scheduler.add(try QoSPolicy(minIOPS: minimum), now: 0) }
        let cost: Int64 = 1 << 36
        for volume in 0..<2 { device.submit(volume, cost: cost, count: 4) }
        var counts = [0, 0]
        for _ in 0..<3000 {
            guard case .grant(let grant) = device.scheduler.next(now: 0) else { break }
            counts[grant.volume] += 1
            device.submit(grant.volume, cost: cost)
        }
        #expect(abs(counts[0] - 1000) <= 2 && abs(counts[1] - 2000) <= 2, "\(counts)")
    }

    @Test("A new policy holds at once, for waiting requests too, and mints no credit")
    func change() throws {
        var device = VirtualDevice()
        let volume = device.scheduler.add(try QoSPolicy(maxIOPS: 10), now: 0)
        device.submit(volume, cost: 100, count: 100_000)
        device.run(until: second) { _ in nil }
        let changed = device.now
        device.scheduler.setPolicy(try QoSPolicy(maxIOPS: 5000, burstIOPS: 10_000), of: volume, now: changed)
        #expect(device.scheduler.credit(of: volume, now: changed) == 0)
        device.run(until: changed + 2 * second) { _ in nil }
        let amount = device.amount(of: volume, in: changed..<(changed + 2 * second))
        #expect(abs(amount - 1_000_000) <= 200)
        device.scheduler.setPolicy(try QoSPolicy(maxIOPS: 100), of: volume, now: device.now)
        let later = device.now
        device.run(until: later + second) { _ in nil }
        #expect(device.amount(of: volume, in: later..<(later + second)) <= 100 * 100 + 100)
    }

    @Test("Credit fills in a minute of idleness and is spent as bursts", arguments: AccrualMode.allCases)
    func burst(_ mode: AccrualMode) throws {
        var options = QoSScheduler.Options()
        options.mode = mode
        var device = VirtualDevice(options)
        let volume = device.scheduler.add(try QoSPolicy(maxIOPS: 1000, burstIOPS: 2000), now: 0)
        device.now = 60 * second
        let credit = device.scheduler.credit(of: volume, now: device.now)
        #expect(abs(credit - 1000 * 60 * 100) <= 1000 * 100)
        device.submit(volume, cost: 100, count: 32)
        let start = device.now
        device.run(until: start + 70 * second) { _ in 100 }
        let early = device.amount(of: volume, in: (start + second)..<(start + 50 * second))
        #expect(abs(early - 49 * 2000 * 100) <= 49 * 2000)
        let late = device.amount(of: volume, in: (start + 65 * second)..<(start + 70 * second))
        #expect(abs(late - 5 * 1000 * 100) <= 5 * 1000 + 2000)
    }
}
