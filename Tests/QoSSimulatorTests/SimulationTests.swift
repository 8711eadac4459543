import BlockStorage
import Testing
import VolumeQoS

@testable import QoSSimulator

@Suite("Simulations")
struct SimulationTests {
    @Test("A node that is always busy does its operations to the last one, of any size")
    func capacity() throws {
        for (iops, size) in [(1000, 4096), (7777, 4096), (50_000, 65_536), (333, 1 << 20)] as [(UInt64, UInt64)] {
            var test = scenario(iops: iops, seconds: 20, policies: [try QoSPolicy(), try QoSPolicy()])
            for index in test.volumes.indices { test.volumes[index].workloads[0].sizes = [.init(byteCount: size)] }
            let result = try run(test)
            let cost = Double(CostCurve.element.cost(of: size)) / 100
            let expected = Double(iops) * 20 / cost
            #expect(abs(Double(result.requests) - expected) <= 70, "\(result.requests) of \(expected)")
            #expect(result.utilisation > 99)
        }
    }

    @Test("A request takes its share of the node and the latency, and no more where nobody else is there")
    func latency() throws {
        var test = scenario(iops: 1000, policies: [try QoSPolicy()], .closed(depth: 1, think: 0))
        test.cluster.nodes[0].readLatency = 4_000_000...4_000_000
        let result = try run(test)
        #expect(result.requests == 10 * 200 - 1 || result.requests == 10 * 200)
        #expect(result.volumes[0].latency.maximum == 5_000_000 && result.volumes[0].latency.mean == 5_000_000)
    }

    @Test("Slots bound how much is under way: by Little's law, slots over latency")
    func slots() throws {
        var test = scenario(iops: 1_000_000, policies: [try QoSPolicy()], .closed(depth: 64, think: 0))
        test.cluster.nodes[0].slots = 8
        test.cluster.nodes[0].readLatency = 1_000_000...1_000_000
        let result = try run(test)
        #expect(abs(result.volumes[0].iops - 8 / 0.001_001) < 10)
    }

    @Test("Poisson arrivals and those that go up and down have their means")
    func rates() throws {
        var rate = Workload.Rate(iops: 2000)
        #expect(
            abs(try run(scenario(seconds: 50, policies: [try QoSPolicy()], .open(rate))).volumes[0].iops - 2000) < 30)
        (rate.swingPercent, rate.period) = (90, 10_000_000_000)
        var test = scenario(seconds: 50, policies: [try QoSPolicy()], .open(rate))
        var peak = Check(.iops)
        (peak.start, peak.end, peak.atLeast, peak.atMost) = (39_500_000_000, 40_500_000_000, 3500, 4000)
        var trough = Check(.iops)
        (trough.start, trough.end, trough.atLeast, trough.atMost) = (34_500_000_000, 35_500_000_000, 150, 400)
        test.checks = [peak, trough]
        let result = try run(test)
        #expect(abs(result.volumes[0].iops - 2000) < 40)
        #expect(result.allPassed, "\(result.checks)")
    }

    @Test("What greedy volumes get is what the fluid model gives them")
    func fluid() throws {
        var random = SeededGenerator(seed: 4)
        for _ in 0..<25 {
            let iops = UInt64.random(in: 2000...10_000, using: &random)
            let policies = try (0..<Int.random(in: 1...6, using: &random)).map { _ in
                let minimum = UInt64.random(in: 50...(iops / 3), using: &random)
                let maximum = UInt64.random(in: minimum...(minimum * 4), using: &random)
                return try QoSPolicy(minIOPS: minimum, maxIOPS: maximum, burstIOPS: maximum)
            }
            var test = scenario(iops: iops, seconds: 6, policies: policies, .closed(depth: 64, think: 0))
            test.cluster.nodes[0].readLatency = 0...0
            var check = Check(.iops)
            (check.start, check.atLeast) = (2_000_000_000, 0)
            test.checks = policies.indices.map { index in
                check.volume = "volume\(index)"
                return check
            }
            var fluid = FluidAllocator(
                volumes: policies.map { policy in
                    let limits = (policy.minIOPS ?? 0, policy.maxIOPS ?? 0)
                    return .init(minimum: Double(limits.0), maximum: Double(limits.1), burst: Double(limits.1))
                })
            let grants = fluid.tick(
                duration: 1, capacity: Double(iops), backlog: policies.map { _ in 1e9 })
            for (result, grant) in zip(try run(test).checks, grants) {
                let measured = try #require(result.measured).lowerBound
                #expect(abs(measured - grant) <= max(grant * 0.01, 4 + Double(policies.count)), "\(measured) \(grant)")
            }
        }
    }

    @Test("The same seed gives the same bytes, another seed others")
    func determinism() throws {
        func bytes(seed: UInt64) throws -> [String] {
            var test = scenario(
                policies: [try QoSPolicy(minIOPS: 100, maxIOPS: 3000, burstIOPS: 5000), try QoSPolicy()],
                .open(Workload.Rate(iops: 3000)))
            test.seed = seed
            test.volumes[1].workloads[0].sizes = [
                .init(byteCount: 4096, share: 50_000), .init(byteCount: 65_536, share: 50_000),
            ]
            test.volumes[1].workloads[0].readPercent = 30
            let report = ScenarioReport(name: "x", text: "", runs: [try run(test)], search: nil, searchChecks: [])
            return [try report.json(), report.csv(), report.html()]
        }
        #expect(try bytes(seed: 1) == bytes(seed: 1))
        #expect(try bytes(seed: 1)[0] != bytes(seed: 2)[0])
    }

    @Test("A volume's requests do not depend on what other volumes there are")
    func independence() throws {
        let policy = try QoSPolicy(maxIOPS: 1000)
        let source = Workload.Source.open(Workload.Rate(iops: 500))
        let alone = try run(scenario(iops: 1_000_000, policies: [policy], source))
        let beside = try run(scenario(iops: 1_000_000, policies: [policy, policy, policy], source))
        #expect(alone.volumes[0].requests == beside.volumes[0].requests)
    }

    @Test("Requests on a node that is lost are done by another, once that is noticed, and none is forgotten")
    func failover() throws {
        var test = scenario(policies: [try QoSPolicy()], .closed(depth: 16, think: 0))
        test.cluster.nodes[0].count = 2
        test.cluster.nodes[0].readLatency = 2_000_000...2_000_000
        test.cluster.failover = 700_000_000
        test.events = [
            ScheduledEvent(at: 5_000_000_000, .lose(node: "node-1")),
            ScheduledEvent(at: 8_000_000_000, .restore(node: "node-1")),
        ]
        var check = Check(.requests)
        (check.start, check.atLeast) = (9_000_000_000, 5000)
        test.checks = [check]
        let result = try run(test)
        let longest = result.volumes[0].latency.maximum
        #expect(longest > 690_000_000 && longest < 800_000_000, "\(longest)")
        #expect(result.checks[0].passed, "\(result.checks[0].measuredText)")
        // All are lost: nobody is served, and nothing hangs.
        test.events.append(ScheduledEvent(at: 8_500_000_000, .lose(node: "node-1")))
        test.events.append(ScheduledEvent(at: 8_500_000_000, .lose(node: "node-2")))
        #expect(try run(test).checks[0].measured?.upperBound == 0)
    }

    @Test("Recovery takes its share until the data is moved, and the rest of the nodes is for volumes")
    func recovery() throws {
        var test = scenario(iops: 10_000, seconds: 60, policies: [try QoSPolicy()])
        test.cluster.nodes[0].count = 4
        test.cluster.storedBytes = 4 << 30
        test.cluster.recoveryPercent = 50
        test.events = [ScheduledEvent(at: 10_000_000_000, .lose(node: "node-4"))]
        // 4096 requests of 256 KiB, each read and written, at half of 30,000 operations a second.
        let seconds = 4096.0 * 2 * 39 / 15_000
        var during = Check(.iops)
        (during.start, during.end, during.atLeast, during.atMost) = (11_000_000_000, 30_000_000_000, 14_990, 15_010)
        var after = Check(.iops)
        (after.start, after.atLeast, after.atMost) = (35_000_000_000, 29_990, 30_010)
        test.checks = [during, after]
        let result = try run(test)
        #expect(result.allPassed, "\(result.checks.map(\.measuredText))")
        #expect(abs(Double(result.timeRecovering) / 1e9 - seconds) < 0.01)
        #expect(result.bytesMoved == 1 << 30)
    }

    @Test("A policy changes while requests wait")
    func policyChange() throws {
        var test = scenario(policies: [try QoSPolicy(maxIOPS: 1000)])
        let policy = VolumePolicy(try QoSPolicy(maxIOPS: 3000))
        test.events = [ScheduledEvent(at: 5_000_000_000, .setPolicy(group: "volume0", policy))]
        #expect(abs(try run(test).volumes[0].iops - 2000) < 10)
    }

    @Test("QEMU's throttle lets a tenth of a second through, then its average; larger requests count in proportion")
    func qemuAverage() throws {
        var test = scenario(iops: 1_000_000, policies: [try QoSPolicy(maxIOPS: 1000)], .closed(depth: 256, think: 0))
        test.discipline = .fifo
        var limits = QEMULimits(average: 1000)
        test.volumes[0].policy.enforcement = .qemu(limits)
        #expect(abs(Int64(try run(test).requests) - 10_100) <= 2)
        limits.requestSize = 4096
        test.volumes[0].policy.enforcement = .qemu(limits)
        test.volumes[0].workloads[0].sizes = [.init(byteCount: 16_384)]
        #expect(abs(Int64(try run(test).requests) - 10_100 / 4) <= 2)
        // With a scheduler behind it, the waits in front of it count as well.
        test.discipline = .qos
        let waited = try run(test).volumes[0].latency
        #expect(waited.percentile(50) > 900_000_000)
    }

    @Test("QEMU's burst lasts as long as its buckets leak: length times burst over burst less average")
    func qemuBurst() throws {
        var test = scenario(iops: 1_000_000, seconds: 30, policies: [try QoSPolicy(maxIOPS: 500, burstIOPS: 2000)])
        test.volumes[0].policy.enforcement = .qemu(QEMULimits(average: 500, burst: 2000, burstSeconds: 9))
        var burst = Check(.iops)
        (burst.start, burst.end, burst.atLeast, burst.atMost) = (1_000_000_000, 11_900_000_000, 1990, 2010)
        var after = Check(.iops)
        (after.start, after.atLeast, after.atMost) = (12_500_000_000, 495, 505)
        test.checks = [burst, after]
        let result = try run(test)
        #expect(result.allPassed, "\(result.checks.map(\.measuredText))")
    }

    @Test("The room for more volumes is what their minimums leave")
    func search() throws {
        var test = scenario(iops: 10_000, seconds: 5, policies: [try QoSPolicy(minIOPS: 900, maxIOPS: 2000)])
        test.name = "run"
        let file = ScenarioFile(
            name: "x", text: "", runs: [test], search: CapacitySearch(group: "volume0", most: 100, run: "run"),
            searchChecks: [])
        let found = try #require(try file.run().search)
        // Eleven have 909 each, twelve 833.
        #expect(found.more == 10 && found.reason?.contains("misses its minimum") == true, "\(found)")
    }

    @Test("The results of a day are as large as those of an hour")
    func bounded() throws {
        func points(hours: UInt64) throws -> Int {
            var test = scenario(
                iops: 100, seconds: hours * 3600, policies: [try QoSPolicy()], .open(Workload.Rate(iops: 1)))
            test.volumes[0].workloads[0].activity = .init(active: 1_000_000_000, cycle: 100_000_000_000)
            let result = try run(test)
            return result.tracks[0].series.points.count + result.cluster.points.count
        }
        #expect(try points(hours: 24) <= 1200 && points(hours: 1) <= 1200)
    }
}
