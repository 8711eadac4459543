import Testing

@testable import ElementSimulator

@Suite("Volumes of a simulated cluster")
struct VolumeTests {
    @Test("A volume has the size asked for, rounded up to 1 MiB, the default policy, and a name on the network")
    func create() throws {
        var test = TestCluster()
        let account = try test.addAccount()
        let answer = try test.call(
            "CreateVolume", ["name": "UUID-1", "accountID": .integer(account), "totalSize": 1_000_000_001])
        let volume = try #require(answer["volume"])
        let id = try TestCluster.number(answer["volumeID"])
        #expect(volume["totalSize"] == 1_000_341_504)
        #expect(volume["iqn"] == .string("iqn.2010-01.com.solidfire:test.uuid-1.\(id)"))
        #expect(volume["status"] == "active")
        #expect(volume["access"] == "readWrite")
        #expect(volume["qos"]?["minIOPS"] == 50)
        #expect(volume["qos"]?["maxIOPS"] == 15000)
        #expect(volume["qos"]?["burstTime"] == 60)
        #expect(volume["qos"]?["curve"]?["262144"] == 3900)
        #expect(test.changes == [.create("volume-\(id)-1", size: 1_000_341_504)])
    }

    @Test(
        "What is missing, mistyped, out of range or unknown has an error of that name, and nothing changes",
        arguments: [
            ("CreateVolume", ["name": "v", "totalSize": 1_000_000_000], "xMissingParameter"),
            ("CreateVolume", ["name": "v", "accountID": "1", "totalSize": 1_000_000_000], "xInvalidParameterType"),
            ("CreateVolume", ["name": "v", "accountID": 99, "totalSize": 1_000_000_000], "xAccountIDDoesNotExist"),
            ("CreateVolume", ["name": "", "accountID": 1, "totalSize": 1_000_000_000], "xInvalidParameter"),
            ("CreateVolume", ["name": "a b", "accountID": 1, "totalSize": 1_000_000_000], "xInvalidParameter"),
            ("CreateVolume", ["name": "v", "accountID": 1, "totalSize": 999_999_999], "xInvalidParameter"),
            ("CreateVolume", ["name": "v", "accountID": 1, "totalSize": 8_000_000_491_521], "xInvalidParameter"),
            ("CreateVolume", ["name": "v", "accountID": 1, "totalSize": 1_000_000_000, "a": 1], "xInvalidParameter"),
            (
                "CreateVolume",
                ["name": "v", "accountID": 1, "totalSize": 1_000_000_000, "qos": ["minIOPS": 49]], "xInvalidParameter"
            ),
            (
                "CreateVolume",
                ["name": "v", "accountID": 1, "totalSize": 1_000_000_000, "qos": ["minIOPS": 900, "maxIOPS": 800]],
                "xInvalidParameter"
            ),
            (
                "CreateVolume",
                ["name": "v", "accountID": 1, "totalSize": 1_000_000_000, "access": "sometimes"],
                "xUnrecognizedEnumString"
            ),
            ("ModifyVolume", ["volumeID": 2, "totalSize": 1_000_000_000], "xVolumeShrinkProhibited"),
            ("ModifyVolume", ["volumeID": 2, "qosPolicyID": 77], "xQoSPolicyDoesNotExist"),
            ("ModifyVolume", ["volumeID": 77], "xVolumeIDDoesNotExist"),
            ("DeleteVolume", ["volumeID": 77], "xVolumeIDDoesNotExist"),
            ("PurgeDeletedVolume", ["volumeID": 2], "xInvalidParameter"),
            ("CreateSnapshot", ["volumeID": 77], "xVolumeIDDoesNotExist"),
            ("DeleteSnapshot", ["snapshotID": 77], "xSnapshotIDDoesNotExist"),
            ("RollbackToSnapshot", ["volumeID": 2, "snapshotID": 77], "xMissingParameter"),
            ("GetAsyncResult", ["asyncHandle": 77], "xDBNoSuchPath"),
            ("GetAccountByName", ["username": "nobody"], "xUnknownAccount"),
            ("AddAccount", ["username": "tenant"], "xDuplicateUsername"),
            ("AddAccount", ["username": "other", "initiatorSecret": "tooshort"], "xInvalidParameter"),
            ("RemoveAccount", ["accountID": 1], "xAccountHasVolumes"),
            ("ListVolumes", ["volumeIDs": [2], "limit": 1], "xInvalidParameter"),
            ("DeleteVolumeAccessGroup", ["volumeAccessGroupID": 77], "xVolumeAccessGroupIDDoesNotExist"),
            ("MakeCoffee", [:], "xUnknownAPIMethod"),
        ] as [(String, [String: JSONValue], String)])
    func errors(method: String, parameters: [String: JSONValue], name: String) throws {
        var test = TestCluster()
        let account = try test.addAccount()
        let volume = try test.createVolume(of: account, size: 2_000_000_000)
        #expect((account, volume) == (1, 2))
        let before = test.cluster.state
        #expect(test.error(method, parameters) == name)
        #expect(test.cluster.state == before)
        #expect(test.changes.isEmpty)
    }

    @Test("Lists are filtered by number, account, name and status, and paged")
    func lists() throws {
        var test = TestCluster()
        let (first, second) = (try test.addAccount("a"), try test.addAccount("b"))
        let volumes = try [
            test.createVolume("one", of: first), test.createVolume("two", of: second),
            test.createVolume("one", of: second),
        ]
        _ = try test.call("DeleteVolume", ["volumeID": .integer(volumes[1])])
        func list(_ method: String, _ parameters: [String: JSONValue] = [:]) throws -> [Int] {
            var copy = test
            return try copy.call(method, parameters)["volumes"]?.numbers("volumeID") ?? []
        }
        #expect(try list("ListVolumes") == volumes)
        #expect(try list("ListVolumes", ["accounts": [.integer(second)]]) == [volumes[1], volumes[2]])
        #expect(try list("ListVolumes", ["volumeName": "one"]) == [volumes[0], volumes[2]])
        #expect(try list("ListVolumes", ["volumeStatus": "deleted"]) == [volumes[1]])
        #expect(try list("ListVolumes", ["startVolumeID": .integer(volumes[0] + 1), "limit": 1]) == [volumes[1]])
        #expect(try list("ListVolumes", ["volumeIDs": [.integer(volumes[2]), 999]]) == [volumes[2]])
        #expect(try list("ListActiveVolumes") == [volumes[0], volumes[2]])
        #expect(try list("ListDeletedVolumes") == [volumes[1]])
        #expect(try list("ListVolumesForAccount", ["accountID": .integer(second)]) == [volumes[1], volumes[2]])
        #expect(try test.call("GetVolumeCount")["count"] == 3)
    }

    @Test("A volume that is deleted can be restored until it is purged, which time does too")
    func deletion() throws {
        var test = TestCluster { $0.purgeSeconds = 100 }
        let account = try test.addAccount()
        let volume = JSONValue.integer(try test.createVolume(of: account))
        _ = try test.call("DeleteVolume", ["volumeID": volume])
        #expect(test.error("ModifyVolume", ["volumeID": volume]) == "xVolumeIDDoesNotExist")
        #expect(test.cluster.exports.isEmpty)
        test.wait(seconds: 99)
        _ = try test.call("RestoreDeletedVolume", ["volumeID": volume])
        #expect(test.cluster.exports.count == 1)
        test.wait(seconds: 1000)
        #expect(test.error("ModifyVolume", ["volumeID": volume]) == "")
        _ = try test.call("DeleteVolume", ["volumeID": volume])
        test.wait(seconds: 100)
        #expect(test.error("RestoreDeletedVolume", ["volumeID": volume]) == "xVolumeIDDoesNotExist")
        #expect(test.cluster.state.dataIDs.isEmpty)
        _ = try test.call("RemoveAccount", ["accountID": .integer(account)])
    }

    @Test("A volume grows, and a policy that changes changes all its volumes, until it is taken away")
    func change() throws {
        var test = TestCluster()
        let id = try test.createVolume(of: test.addAccount())
        let volume = JSONValue.integer(id)
        _ = try test.call(
            "ModifyVolume", ["volumeID": volume, "totalSize": 2_000_000_000, "attributes": ["a": [1, nil]]])
        #expect(test.changes == [.extend("volume-\(id)-1", size: 2_000_683_008)])
        _ = try test.call("ModifyVolume", ["volumeID": volume, "totalSize": 2_000_683_008])
        #expect(test.changes.isEmpty)
        #expect(try test.volume(id)["attributes"] == ["a": [1, nil]])
        let policy = try test.call("CreateQoSPolicy", ["name": "gold", "qos": ["minIOPS": 500, "burstIOPS": 20000]])
        let number = try #require(policy["qosPolicy"]?["qosPolicyID"])
        _ = try test.call("ModifyVolume", ["volumeID": volume, "qosPolicyID": number])
        _ = try test.call("ModifyQoSPolicy", ["qosPolicyID": number, "qos": ["minIOPS": 600]])
        #expect(try test.volume(id)["qos"]?["minIOPS"] == 600)
        #expect(try test.volume(id)["qos"]?["burstIOPS"] == 20000)
        #expect(try test.volume(id)["qosPolicyID"] == number)
        _ = try test.call("DeleteQoSPolicy", ["qosPolicyID": number])
        #expect(try test.volume(id)["qosPolicyID"] == JSONValue.null)
        #expect(try test.volume(id)["qos"]?["minIOPS"] == 600)
    }

    @Test("Volumes beyond the cluster's space, and more of them than it allows, are refused")
    func limits() throws {
        var test = TestCluster {
            $0.capacityBytes = 1 << 30
            $0.overprovisioning = 2
        }
        let account = try test.addAccount()
        _ = try test.createVolume(of: account)
        let volume = try test.createVolume(of: account)
        #expect(
            test.error("CreateVolume", ["name": "v", "accountID": .integer(account), "totalSize": 1_000_000_000])
                == "xExceededLimit")
        #expect(
            test.error("ModifyVolume", ["volumeID": .integer(volume), "totalSize": 2_000_000_000]) == "xExceededLimit")
        #expect(try test.call("GetClusterCapacity")["clusterCapacity"]?["provisionedSpace"] == 2_000_683_008)
        for _ in 0..<32 { _ = try test.call("CreateSnapshot", ["volumeID": .integer(volume)]) }
        #expect(test.error("CreateSnapshot", ["volumeID": .integer(volume)]) == "xMaxSnapshotsPerVolumeExceeded")
    }
}
