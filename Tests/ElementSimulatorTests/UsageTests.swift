import Testing

@testable import ElementSimulator

@Suite("Statistics of a simulated cluster")
struct UsageTests {
    private func statistics(_ test: inout TestCluster, _ volume: Int, _ name: String) throws -> Int {
        let answer = try test.call("GetVolumeStats", ["volumeID": .integer(volume)])
        return try TestCluster.number(answer["volumeStats"]?[name])
    }

    @Test("An idle volume saves what its burst is above its maximum, for a minute, and no more")
    func idle() throws {
        var test = TestCluster()
        let volume = try test.createVolume(of: test.addAccount())
        _ = try test.call(
            "ModifyVolume",
            ["volumeID": .integer(volume), "qos": ["minIOPS": 100, "maxIOPS": 1000, "burstIOPS": 3000]])
        #expect(try statistics(&test, volume, "burstIOPSCredit") == 0)
        test.wait(seconds: 30)
        #expect(try statistics(&test, volume, "burstIOPSCredit") == 30 * 2000)
        test.wait(seconds: 300)
        #expect(try statistics(&test, volume, "burstIOPSCredit") == 60 * 2000)
        _ = try test.call("ModifyVolume", ["volumeID": .integer(volume), "qos": ["burstIOPS": 1500]])
        #expect(try statistics(&test, volume, "burstIOPSCredit") == 60 * 500)
    }

    @Test("A load bursts as long as it has saved for, and goes on at its maximum")
    func load() throws {
        var test = TestCluster()
        let volume = try test.createVolume(of: test.addAccount())
        _ = try test.call(
            "ModifyVolume",
            ["volumeID": .integer(volume), "qos": ["minIOPS": 100, "maxIOPS": 1000, "burstIOPS": 3000]])
        test.wait(seconds: 120)
        _ = try test.call("SimulatorSetVolumeLoad", ["volumeID": .integer(volume), "iops": 10_000])
        test.wait(seconds: 30)
        #expect(try statistics(&test, volume, "actualIOPS") == 3000)
        #expect(try statistics(&test, volume, "burstIOPSCredit") == 30 * 2000)
        test.wait(seconds: 40)
        #expect(try statistics(&test, volume, "actualIOPS") == 1000)
        #expect(try statistics(&test, volume, "burstIOPSCredit") < 2000)
        _ = try test.call("SimulatorSetVolumeLoad", ["volumeID": .integer(volume), "iops": 10_000, "ioSize": 8192])
        test.wait(seconds: 2)
        #expect(try statistics(&test, volume, "actualIOPS") == 624)
        #expect(try statistics(&test, volume, "averageIOPSize") == 8192)
    }

    @Test("What a target counts is a load; a target that begins anew takes nothing away")
    func counters() {
        var usage = VolumeUsage()
        let qos = QoSRecord(minIOPS: 100, maxIOPS: 1000, burstIOPS: 2000)
        let test = TestCluster()
        var state = test.cluster.state
        let record = VolumeRecord(
            volumeID: 1, name: "v", uuid: state.uuid, consistencyGroupUUID: state.uuid, accountID: 1, status: .active,
            access: .readWrite, enable512e: true, qos: qos, totalSize: 1 << 30, attributes: [:], createTime: 0)
        state.volumes[1] = record
        var now: UInt64 = 1_000_000_000
        usage.follow(state.volumes, now: now)
        var counters = VolumeCounters()
        usage.record([1: counters], now: now + 1)
        for _ in 0..<20 {
            now += 500_000_000
            counters.readOperations += 1000
            counters.readBytes += 4_096_000
            usage.record([1: counters], now: now)
        }
        // Twice its maximum: nothing is saved.
        #expect(usage.credit(of: 1, now: now) <= 50_000)
        #expect(usage.activity(of: 1).iops == 2000)
        counters = VolumeCounters()
        counters.writeOperations = 5
        now += 500_000_000
        usage.record([1: counters], now: now)
        #expect(usage.activity(of: 1).writeOperations == 5)
        #expect(usage.activity(of: 1).readOperations == 20_000)
    }
}
