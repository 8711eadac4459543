import Testing

@testable import ElementSimulator

@Suite("Clones and snapshots of a simulated cluster")
struct CloneTests {
    @Test("A clone is being made until its time has come, and its result is told once unless it is kept")
    func clone() throws {
        var test = TestCluster { $0.cloneSeconds = 10 }
        let source = try test.createVolume(of: test.addAccount())
        let answer = try test.call(
            "CloneVolume", ["volumeID": .integer(source), "name": "clone", "newSize": 2_000_000_000])
        let handle = try #require(answer["asyncHandle"])
        let clone = try TestCluster.number(answer["volumeID"])
        #expect(
            test.changes == [.copy(from: "volume-\(source)-1", to: "volume-\(clone)-1", size: 2_000_683_008)])
        #expect(try test.volume(clone)["status"] == "creating")
        #expect(test.cluster.exports.map(\.volumeID) == [source])
        #expect(test.error("ModifyVolume", ["volumeID": .integer(clone)]) == "xSliceNotRegistered")
        test.wait(seconds: 9)
        #expect(try test.call("GetAsyncResult", ["asyncHandle": handle])["status"] == "running")
        test.wait(seconds: 1)
        let kept = try test.call("GetAsyncResult", ["asyncHandle": handle, "keepResult": true])
        #expect(kept["status"] == "complete")
        #expect(kept["result"]?["volumeID"] == .integer(clone))
        #expect(try test.call("ListAsyncResults")["asyncHandles"]?.numbers("asyncResultID").count == 1)
        #expect(try test.call("GetAsyncResult", ["asyncHandle": handle]) == kept)
        #expect(test.error("GetAsyncResult", ["asyncHandle": handle]) == "xDBNoSuchPath")
        #expect(try test.volume(clone)["status"] == "active")
        #expect(test.cluster.exports.map(\.volumeID) == [source, clone])
    }

    @Test("A clone that fails leaves no volume; one without end can be deleted, and a third at a time is refused")
    func failure() throws {
        var test = TestCluster { $0.cloneSeconds = 10 }
        let source = try test.createVolume(of: test.addAccount())
        let parameters: [String: JSONValue] = ["volumeID": .integer(source), "name": "clone"]
        let failing = try test.call(
            "CloneVolume", parameters, job: .init(error: ElementError("xVolumeFull", "full")))
        let endless = try test.call("CloneVolume", parameters, job: .init(isEndless: true))
        #expect(test.error("CloneVolume", parameters) == "xMaxClonesPerVolumeExceeded")
        test.wait(seconds: 1e6)
        let result = try test.call("GetAsyncResult", ["asyncHandle": try #require(failing["asyncHandle"])])
        #expect(result["status"] == "complete")
        #expect(result["error"]?["name"] == "xVolumeFull")
        #expect(result["result"] == nil)
        let failed = try TestCluster.number(failing["volumeID"])
        #expect(test.error("DeleteVolume", ["volumeID": .integer(failed)]) == "xVolumeIDDoesNotExist")
        let handle = try #require(endless["asyncHandle"])
        #expect(try test.call("GetAsyncResult", ["asyncHandle": handle])["status"] == "running")
        _ = try test.call("DeleteVolume", ["volumeID": try #require(endless["volumeID"])])
        #expect(try test.call("GetAsyncResult", ["asyncHandle": handle])["error"]?["name"] == "xVolumeIDDoesNotExist")
        #expect(test.cluster.state.fault == nil)
    }

    @Test("A clone that fails says so by its status, where its fault has one")
    func errorStatus() throws {
        var test = TestCluster { $0.cloneSeconds = 10 }
        let source = try test.createVolume(of: test.addAccount())
        let clone = try test.call(
            "CloneVolume", ["volumeID": .integer(source), "name": "clone"],
            job: .init(error: ElementError("xVolumeFull", "full"), hasErrorStatus: true))
        let handle = try #require(clone["asyncHandle"])
        #expect(try test.call("GetAsyncResult", ["asyncHandle": handle])["status"] == "running")
        test.wait(seconds: 10)
        let result = try test.call("GetAsyncResult", ["asyncHandle": handle])
        #expect(result["status"] == "error")
        #expect(result["result"] == ["name": "xVolumeFull", "message": "full"])
        #expect(result["error"] == nil)
        #expect(test.cluster.state.volumes.keys.sorted() == [source])
    }

    @Test("A clone that is cancelled leaves no volume")
    func cancel() throws {
        var test = TestCluster { $0.cloneSeconds = 10 }
        let source = try test.createVolume(of: test.addAccount())
        let clone = try test.call("CloneVolume", ["volumeID": .integer(source), "name": "clone"])
        let cloneID = try #require(clone["cloneID"])
        #expect(cloneID != clone["volumeID"])
        _ = try test.call("CancelClone", ["cloneID": cloneID])
        #expect(test.error("CancelClone", ["cloneID": cloneID]) == "xCloneIDDoesNotExist")
        let result = try test.call("GetAsyncResult", ["asyncHandle": try #require(clone["asyncHandle"])])
        #expect(result["error"]?["name"] == "xCloneCancelled")
        #expect(test.cluster.state.volumes.keys.sorted() == [source])
    }

    @Test("A snapshot keeps size and bytes; rolling back puts them in place again and can save what was there")
    func rollBack() throws {
        var test = TestCluster()
        let volume = try test.createVolume(of: test.addAccount())
        let number = JSONValue.integer(volume)
        let made = try test.call("CreateSnapshot", ["volumeID": number, "name": "before", "attributes": ["t": "1"]])
        let snapshot = try TestCluster.number(made["snapshotID"])
        #expect(made["snapshot"]?["attributes"] == ["t": "1"])
        #expect(test.changes == [.copy(from: "volume-\(volume)-1", to: "snapshot-\(snapshot)", size: 1_000_341_504)])
        _ = try test.call("ModifyVolume", ["volumeID": number, "totalSize": 2_000_000_000])
        let rolled = try test.call(
            "RollbackToSnapshot", ["volumeID": number, "snapshotID": .integer(snapshot), "saveCurrentState": true])
        let saved = try TestCluster.number(rolled["snapshotID"])
        #expect(
            test.changes == [
                .copy(from: "volume-\(volume)-1", to: "snapshot-\(saved)", size: 2_000_683_008),
                .copy(from: "snapshot-\(snapshot)", to: "volume-\(volume)-2", size: 1_000_341_504),
            ])
        #expect(try test.volume(volume)["totalSize"] == 1_000_341_504)
        #expect(
            try test.call("ListSnapshots", ["volumeID": number])["snapshots"]?.numbers("snapshotID") == [
                snapshot, saved,
            ])
        _ = try test.call("DeleteSnapshot", ["snapshotID": .integer(snapshot)])
        #expect(test.cluster.state.dataIDs == ["volume-\(volume)-2", "snapshot-\(saved)"])
    }

    @Test("A clone of a snapshot has the snapshot's bytes; a snapshot of another volume is none")
    func cloneOfSnapshot() throws {
        var test = TestCluster()
        let account = try test.addAccount()
        let (volume, other) = (try test.createVolume(of: account), try test.createVolume(of: account))
        let made = try test.call("CreateSnapshot", ["volumeID": .integer(volume), "retention": "00:01:00"])
        let snapshot = try TestCluster.number(made["snapshotID"])
        let clone = try test.call(
            "CloneVolume", ["volumeID": .integer(volume), "name": "c", "snapshotID": .integer(snapshot)])
        let number = try TestCluster.number(clone["volumeID"])
        #expect(
            test.changes == [.copy(from: "snapshot-\(snapshot)", to: "volume-\(number)-1", size: 1_000_341_504)])
        #expect(
            test.error("CloneVolume", ["volumeID": .integer(other), "name": "c", "snapshotID": .integer(snapshot)])
                == "xSnapshotIDDoesNotExist")
        test.wait(seconds: 60)
        #expect(try test.call("ListSnapshots")["snapshots"] == [])
    }
}
