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
        for rate: UInt64 in [100, 1000, 10_000] {
            for size: UInt64 in [4096, 65536, 1 << 20] {
                for depth in [1, 32, 256] {
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

    @Test("Every backlogged volume has its minimum over every second, whatever the others do")
    func minimums() throws {
        var random = SeededGenerator(seed: 11)
        for _ in 0..<40 {
            let capacity = Int64.random(in: 2000...50_000, using: &random)
            let count = Int.random(in: 2...6, using: &random)
            var device = VirtualDevice(capacityIOPS: capacity)
            let minimums = (0..<count).map { _ in
                UInt64.random(in: 50...UInt64(capacity) / UInt64(count), using: &random)
            }
            let volumes = try minimums.map { device.scheduler.add(try QoSPolicy(minIOPS: $0), now: 0) }
            let costs = volumes.map { _ in CostCurve.element.cost(of: 4096 << UInt64.random(in: 0...6, using: &random))
            }
            for volume in volumes { device.submit(volume, cost: costs[volume], count: 64) }
            device.run(until: 4 * second) { costs[$0] }
            let largest = costs.max() ?? 100
            for start in stride(from: 0, through: 3 * second, by: Int(second / 4)) {
                for volume in volumes {
                    let minimum = Int64(minimums[volume]) * CostCurve.unit
                    let bound = largest * (2 + Int64(count) * minimum / (capacity * CostCurve.unit) + 1)
                    #expect(device.amount(of: volume, in: start..<(start + second)) >= minimum - bound)
                }
            }
            // The device is always busy.
            let total = device.served.reduce(0) { $0 + $1.cost }
            #expect(total >= capacity * CostCurve.unit * 4 - largest)
        }
    }

    @Test("No window has more than the burst rate, and none more than the maximum and the saved credit")
    func windows() throws {
        var random = SeededGenerator(seed: 13)
        for _ in 0..<60 {
            var device = VirtualDevice()
            let maximum = UInt64.random(in: 100...2000, using: &random)
            let burst = maximum * UInt64.random(in: 1...4, using: &random)
            let seconds = Int64.random(in: 0...60, using: &random)
            let policy = try QoSPolicy(maxIOPS: maximum, burstIOPS: burst)
            let volume = device.scheduler.add(policy, creditSeconds: seconds, now: 0)
            var largest: Int64 = 100
            for _ in 0..<30 {
                let cost = CostCurve.element.cost(of: 4096 << UInt64.random(in: 0...6, using: &random))
                largest = max(largest, cost)
                device.submit(volume, cost: cost, count: Int.random(in: 1...200, using: &random))
                let pause = UInt64.random(in: 0...second, using: &random)
                let until = device.now + pause
                device.run(until: until) { _ in nil }
                device.now = max(device.now, until)
            }
            var sums: [(time: UInt64, sum: Int64)] = [(0, 0)]
            for entry in device.served { sums.append((entry.time, (sums.last?.sum ?? 0) + entry.cost)) }
            let margin = 3 * CostCurve.element.cost(of: 1 << 20)
            for first in stride(from: 0, to: sums.count - 1, by: 7) {
                for last in stride(from: first + 1, to: sums.count, by: 11) {
                    let window = Double(sums[last].time - sums[first + 1].time) / 1e9
                    let amount = Double(sums[last].sum - sums[first].sum)
                    let (top, sustained) = (Double(burst) * 100, Double(maximum) * 100)
                    #expect(amount <= top * (window + 0.01) + Double(margin))
                    #expect(amount <= sustained * window + (top - sustained) * 60 + Double(margin))
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
