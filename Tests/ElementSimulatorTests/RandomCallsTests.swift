import BlockStorage
import Foundation
import Testing

@testable import ElementSimulator

@Suite("Random calls of a simulated cluster")
struct RandomCallsTests {
    /// A call with parameters that often fit, sometimes not.
    private func call(_ generator: inout SeededGenerator, _ state: ClusterState) -> (String, [String: JSONValue]) {
        func id(_ ids: some Collection<Int>) -> JSONValue {
            let known = ids.sorted()
            guard let last = known.last, Int.random(in: 0..<8, using: &generator) > 0 else { return 9999 }
            return .integer(known.randomElement(using: &generator) ?? last)
        }
        let account = id(state.accounts.keys)
        let volume = id(state.volumes.keys)
        let snapshot = id(state.snapshots.keys)
        let group = id(state.groups.keys)
        let policy = id(state.policies.keys)
        let job = id(state.jobs.keys)
        let number = Int.random(in: 0..<6, using: &generator)
        let size = JSONValue.integer(Int.random(in: 900_000_000...3_000_000_000, using: &generator))
        let qos: JSONValue = [
            "minIOPS": .integer(Int.random(in: 40...1000, using: &generator)),
            "maxIOPS": .integer(Int.random(in: 500...2000, using: &generator)),
            "burstIOPS": .integer(Int.random(in: 1500...3000, using: &generator)),
        ]
        let initiators: JSONValue = [.string("iqn.2026-01.example:\(number)")]
        let calls: [(String, [String: JSONValue])] = [
            ("AddAccount", ["username": .string("account-\(number)")]),
            ("ModifyAccount", ["accountID": account, "status": number > 2 ? "active" : "locked"]),
            ("RemoveAccount", ["accountID": account]),
            ("CreateVolume", ["name": .string("v\(number)"), "accountID": account, "totalSize": size, "qos": qos]),
            ("CreateVolume", ["name": "w", "accountID": account, "totalSize": size, "qosPolicyID": policy]),
            ("ModifyVolume", ["volumeID": volume, "totalSize": size]),
            ("ModifyVolume", ["volumeID": volume, "qos": qos, "accountID": account]),
            ("ModifyVolumes", ["volumeIDs": [volume, id(state.volumes.keys)], "qosPolicyID": policy]),
            ("DeleteVolume", ["volumeID": volume]), ("DeleteVolumes", ["accountIDs": [account]]),
            ("RestoreDeletedVolume", ["volumeID": volume]), ("PurgeDeletedVolume", ["volumeID": volume]),
            ("PurgeDeletedVolumes", ["volumeAccessGroupIDs": [group]]),
            ("CloneVolume", ["volumeID": volume, "name": "clone", "newSize": size]),
            ("CloneVolume", ["volumeID": volume, "name": "clone", "snapshotID": snapshot]),
            ("GetAsyncResult", ["asyncHandle": job, "keepResult": number > 2 ? true : false]),
            ("CreateSnapshot", ["volumeID": volume, "retention": .string("00:00:0\(number)")]),
            ("CreateSnapshot", ["volumeID": volume]), ("DeleteSnapshot", ["snapshotID": snapshot]),
            (
                "RollbackToSnapshot",
                ["volumeID": volume, "snapshotID": snapshot, "saveCurrentState": number > 2 ? true : false]
            ),
            ("CreateVolumeAccessGroup", ["name": "g", "initiators": initiators, "volumes": [volume]]),
            ("AddInitiatorsToVolumeAccessGroup", ["volumeAccessGroupID": group, "initiators": initiators]),
            ("RemoveInitiatorsFromVolumeAccessGroup", ["volumeAccessGroupID": group, "initiators": initiators]),
            ("AddVolumesToVolumeAccessGroup", ["volumeAccessGroupID": group, "volumes": [volume]]),
            ("RemoveVolumesFromVolumeAccessGroup", ["volumeAccessGroupID": group, "volumes": [volume]]),
            ("ModifyVolumeAccessGroup", ["volumeAccessGroupID": group, "volumes": [volume], "initiators": initiators]),
            ("DeleteVolumeAccessGroup", ["volumeAccessGroupID": group]),
            ("DeleteInitiators", ["initiators": [id(state.initiators.keys)]]),
            ("CreateQoSPolicy", ["name": "p", "qos": qos]), ("ModifyQoSPolicy", ["qosPolicyID": policy, "qos": qos]),
            ("DeleteQoSPolicy", ["qosPolicyID": policy]),
        ]
        return calls[Int.random(in: 0..<calls.count, using: &generator)]
    }

    @Test("A state in which anything was changed is refused, or works", arguments: 0..<4 as Range<UInt64>)
    func changedStates(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var test = TestCluster(seed: seed)
        for _ in 0..<150 {
            let (method, parameters) = call(&generator, test.cluster.state)
            _ = test.error(method, parameters)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let bytes = Array(try encoder.encode(StateFile.Contents(state: test.cluster.state, credits: [:])))
        let numbers = bytes.indices.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[$0]) }
        var refused = 0
        for _ in 0..<200 {
            var changed = bytes
            let index = numbers.randomElement(using: &generator) ?? 0
            switch Int.random(in: 0..<3, using: &generator) {
            case 0: changed[index] = UInt8.random(in: UInt8(ascii: "0")...UInt8(ascii: "9"), using: &generator)
            case 1:
                let texts = ["-", "9223372036854775807", "0", "1e9", "\"\"", "null"]
                changed.replaceSubrange(index...index, with: Array((texts.randomElement(using: &generator) ?? "").utf8))
            default:
                let index = Int.random(in: changed.indices, using: &generator)
                changed[index] = UInt8.random(in: .min ... .max, using: &generator)
            }
            guard let contents = try? JSONDecoder().decode(StateFile.Contents.self, from: Data(changed)),
                contents.state.fault == nil
            else {
                refused += 1
                continue
            }
            var other = TestCluster(seed: seed)
            other.cluster = ElementCluster(
                test.cluster.configuration, state: contents.state, credits: contents.credits, now: test.now)
            other.now = test.now
            for _ in 0..<10 {
                let (method, parameters) = call(&generator, other.cluster.state)
                _ = other.error(method, parameters)
            }
            for method in ["ListVolumes", "ListVolumeStats", "ListSnapshots", "GetClusterCapacity"] {
                _ = try other.call(method)
            }
            #expect(other.cluster.state.fault == nil)
        }
        #expect(refused > 20)
    }

    @Test(
        "Whatever is called, the state holds together, and is the same after it was saved",
        arguments: 0..<12 as Range<UInt64>)
    func invariants(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var test = TestCluster(seed: seed) {
            $0.purgeSeconds = 20
            $0.cloneSeconds = 3
        }
        /// The bytes that there are, by what holds them, as a backend would have them.
        var data: [String: Int] = [:]
        var successes = 0
        for step in 0..<400 {
            test.wait(seconds: Double.random(in: 0...2, using: &generator))
            let (method, parameters) = call(&generator, test.cluster.state)
            let before = test.cluster.state
            let name = test.error(method, parameters)
            if name.isEmpty { successes += 1 }
            for change in test.changes {
                switch change {
                case .create(let id, let size):
                    #expect(data[id] == nil)
                    data[id] = size
                case .extend(let id, let size):
                    #expect(data[id].map { $0 < size } == true)
                    data[id] = size
                case .copy(let source, let id, let size):
                    #expect(data[source] != nil, "\(method) copies bytes that are not there, step \(step)")
                    data[id] = size
                }
            }
            let state = test.cluster.state
            #expect(state.fault == nil, "after \(method) at step \(step)")
            #expect(state.nextID >= before.nextID)
            data = data.filter { state.dataIDs.contains($0.key) }
            #expect(Set(data.keys) == state.dataIDs, "after \(method) at step \(step)")
            for volume in state.volumes.values { #expect(data[volume.dataID] == volume.totalSize) }
            for snapshot in state.snapshots.values { #expect(data[snapshot.dataID] == snapshot.totalSize) }
            #expect(Set(test.cluster.exports.map(\.identity)).count == test.cluster.exports.count)
        }
        #expect(successes > 100)
        let contents = StateFile.Contents(
            state: test.cluster.state, credits: test.cluster.usage.credits(now: test.now))
        let read = try JSONDecoder().decode(StateFile.Contents.self, from: JSONEncoder().encode(contents))
        #expect(read == contents)
        var restarted = TestCluster(seed: seed)
        restarted.cluster = ElementCluster(
            test.cluster.configuration, state: read.state, credits: read.credits, now: test.now)
        restarted.now = test.now
        for method in [
            "ListVolumes", "ListAccounts", "ListSnapshots", "ListVolumeAccessGroups", "ListQoSPolicies",
            "ListAsyncResults", "ListInitiators", "GetClusterInfo",
        ] {
            #expect(try restarted.call(method) == test.call(method))
        }
        #expect(restarted.cluster.exports == test.cluster.exports)
        for volume in read.state.volumes.keys {
            #expect(
                restarted.cluster.usage.credit(of: volume, now: test.now)
                    == test.cluster.usage.credit(of: volume, now: test.now))
        }
    }
}
