import BlockStorage
import Testing

@testable import ElementSimulator

@Suite("Access groups of a simulated cluster")
struct AccessGroupTests {
    @Test("Members are added once, up to the limits, and leave with what they are")
    func members() throws {
        var test = TestCluster()
        let account = try test.addAccount()
        let volume = JSONValue.integer(try test.createVolume(of: account))
        let made = try test.call(
            "CreateVolumeAccessGroup", ["name": "hosts", "initiators": ["iqn.2026-01.example:A"], "volumes": [volume]])
        let group = try #require(made["volumeAccessGroupID"])
        #expect(made["volumeAccessGroup"]?["initiators"] == ["iqn.2026-01.example:a"])
        let members: [String: JSONValue] = ["volumeAccessGroupID": group]
        func with(_ name: String, _ value: JSONValue) -> [String: JSONValue] { members.merging([name: value]) { $1 } }
        #expect(
            test.error("AddVolumesToVolumeAccessGroup", with("volumes", [volume])) == "xAlreadyInVolumeAccessGroup")
        #expect(
            test.error("AddInitiatorsToVolumeAccessGroup", with("initiators", ["iqn.2026-01.example:a"]))
                == "xAlreadyInVolumeAccessGroup")
        #expect(
            test.error("RemoveVolumesFromVolumeAccessGroup", with("volumes", [99])) == "xNotInVolumeAccessGroup")
        for number in 1..<64 {
            _ = try test.call(
                "AddInitiatorsToVolumeAccessGroup", with("initiators", [.string("iqn.2026-01.example:\(number)")]))
        }
        #expect(
            test.error("AddInitiatorsToVolumeAccessGroup", with("initiators", ["iqn.2026-01.example:one-more"]))
                == "xExceededLimit")
        #expect(
            test.error("CreateVolumeAccessGroup", ["name": "g", "initiators": ["iqn.2026-01.example:a"]])
                == "xExceededLimit")
        for number in 2...4 {
            _ = try test.call("CreateVolumeAccessGroup", ["name": .string("g\(number)"), "volumes": [volume]])
        }
        #expect(test.error("CreateVolumeAccessGroup", ["name": "g5", "volumes": [volume]]) == "xExceededLimit")

        _ = try test.call("DeleteVolume", ["volumeID": volume])
        let deleted = try test.call("ListVolumeAccessGroups", ["volumeAccessGroups": [group, 999]])
        #expect(deleted["volumeAccessGroupsNotFound"] == [999])
        guard case .array(let groups)? = deleted["volumeAccessGroups"] else { throw TestCluster.Missing() }
        #expect(groups.first?["deletedVolumes"] == [volume])
        #expect(groups.first?["volumes"] == [])
        _ = try test.call("RestoreDeletedVolume", ["volumeID": volume])
        #expect(test.cluster.exports.first?.access != nil)
        _ = try test.call("DeleteVolumeAccessGroup", members)
        #expect(try test.call("ListInitiators")["initiators"] == [])
        #expect(test.cluster.state.fault == nil)
    }

    @Test("A volume in a group is for the group's initiators, another for those that know the account's secret")
    func access() throws {
        var test = TestCluster()
        let account = try test.call(
            "AddAccount", ["username": "tenant", "initiatorSecret": "initiator-12", "targetSecret": "target-secret"])
        let volume = try test.createVolume(of: TestCluster.number(account["accountID"]))
        #expect(account["account"]?["initiatorSecret"] == "initiator-12")
        #expect(
            test.cluster.exports.map(\.access) == [
                .account("tenant", initiator: .init("initiator-12"), target: .init("target-secret"))
            ])
        let group = try test.call(
            "CreateVolumeAccessGroup", ["name": "g", "initiators": ["iqn.2026-01.example:b", "iqn.2026-01.example:a"]])
        _ = try test.call(
            "AddVolumesToVolumeAccessGroup",
            ["volumeAccessGroupID": try #require(group["volumeAccessGroupID"]), "volumes": [.integer(volume)]])
        #expect(
            test.cluster.exports.map(\.access) == [.initiators(["iqn.2026-01.example:a", "iqn.2026-01.example:b"])])
        _ = try test.call("ModifyVolume", ["volumeID": .integer(volume), "access": "locked"])
        #expect(test.cluster.exports.isEmpty)
    }
}
