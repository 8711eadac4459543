import BlockStorage
import Testing

@testable import VolumeQoS

@Suite("What the scheduler promises, over random cases")
struct SchedulerInvariantTests {
    private func forEachCase(
        _ seed: UInt64, count: Int = 400, load: ClosedRange<Double>, depths: [Int] = [1, 2, 8, 64],
        _ check: (SchedulerCase, [SchedulerCase.Served]) -> String?
    ) {
        var random = SeededGenerator(seed: seed)
        var failures = 0
        for number in 0..<count {
            let tested = SchedulerCase(&random, load: load, depths: depths)
            if let failure = check(tested, tested.run()) {
                failures += 1
                if failures <= 5 { Issue.record("case \(number): \(failure) in \(tested)") }
            }
        }
        #expect(failures == 0)
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
            let bound = Double(tested.volumes.count + 2) * Double(tested.largestCost)
            for index in tested.volumes.indices {
                let amount = served.amount(of: index)
                if abs(amount - expected[index]) > bound {
                    return "\(index) has \(amount) instead of \(expected[index]), bound \(bound)"
                }
            }
            return nil
        }
    }
}
