import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Testing

@testable import ElementSimulator

@Suite("A simulated array")
struct ArrayTests {
    private func result(_ answer: ElementArray.Answer) throws -> JSONValue {
        guard case .result(let result) = answer else { throw TestCluster.Missing() }
        return result
    }

    @Test("Faults take the calls that they are for: some pass, some fail, some are done and not answered")
    func faults() async throws {
        let array = try await ElementArray.open(
            faults: FaultPlan([
                .init(method: "AddAccount", effect: .fail("xDBOperationTimeout"), after: 1, count: 2)
            ]))
        func add(_ name: String) async -> ElementArray.Answer {
            await array.call("AddAccount", ["username": .string(name)])
        }
        _ = try result(await add("a"))
        for _ in 0..<2 {
            guard case .error(let error) = await add("b") else { throw TestCluster.Missing() }
            #expect(error.name == "xDBOperationTimeout")
        }
        _ = try result(await add("b"))
        _ = try result(
            await array.call("SimulatorAddFault", ["method": "AddAccount", "drop": true, "count": 1]))
        #expect(await add("c") == .dropped)
        #expect(await add("c") == .error(.duplicateUsername("c")))
        _ = try result(await array.call("SimulatorAddFault", ["method": "*", "fail": "xNotPrimary"]))
        #expect(
            try result(await array.call("SimulatorListFaults"))["faults"]
                == [["method": "*", "fail": "xNotPrimary", "after": 0]])
        guard case .error(let error) = await array.call("ListAccounts") else { throw TestCluster.Missing() }
        #expect(error.name == "xNotPrimary")
        _ = try result(await array.call("SimulatorRemoveFaults"))
        let accounts = try result(await array.call("ListAccounts"))["accounts"]
        #expect(accounts?.numbers("accountID").count == 3)
    }

    @Test(
        "A fault is written METHOD:EFFECT and how often",
        arguments: [
            ("CreateVolume:fail=xSliceNotRegistered,after=2,count=1", "xSliceNotRegistered"), ("*:delay=0.5", "0.5"),
            ("CloneVolume:drop,count=3", "true"), ("CloneVolume:job=xVolumeFull", "xVolumeFull"),
            ("CloneVolume:error=xVolumeFull", "xVolumeFull"), ("A:error", nil), ("A:error=x,job=x", nil),
            ("CloneVolume:endless", "true"), ("CreateVolume", nil), ("CreateVolume:", nil), ("A:drop,drop", nil),
            ("A:fail", nil), ("A:fail=x,drop", nil), ("A:delay=-1", nil), ("A:drop,count=0", nil), ("A:count=1", nil),
            ("A:drop,after=-1", nil), ("A:drop,,", nil), (":drop", nil),
        ] as [(String, String?)])
    func faultTexts(text: String, effect: String?) throws {
        let fault = FaultPlan.Fault(text)
        #expect((fault == nil) == (effect == nil))
        guard let fault, let effect else { return }
        #expect(String(decoding: fault.json.bytes, as: UTF8.self).contains(effect))
    }

    @Test("What was answered is there after a restart, and a second process is kept out")
    func restart() async throws {
        let directory = try TemporaryDirectory()
        var volumes: JSONValue?
        var accounts: JSONValue?
        do {
            let array = try await ElementArray.open(directory: directory.path)
            let account = try result(await array.call("AddAccount", ["username": "tenant"]))
            _ = try result(
                await array.call(
                    "CreateVolume",
                    ["name": "v", "accountID": try #require(account["accountID"]), "totalSize": 1_000_000_000]))
            volumes = try result(await array.call("ListVolumes"))
            accounts = try result(await array.call("ListAccounts"))
            await #expect(throws: StorageError.self) { try await ElementArray.open(directory: directory.path) }
        }
        let array = try await ElementArray.open(directory: directory.path)
        #expect(try result(await array.call("ListVolumes")) == volumes)
        #expect(try result(await array.call("ListAccounts")) == accounts)
        let attributes = try FileManager.default.attributesOfItem(atPath: directory.path.appending("state.json").string)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
    }

    @Test("A state that no simulator has written is refused", arguments: ["", "{}", "[", "{\"version\":1}", "null"])
    func corruptState(text: String) async throws {
        let directory = try TemporaryDirectory()
        try text.write(toFile: directory.path.appending("state.json").string, atomically: true, encoding: .utf8)
        await #expect { try await ElementArray.open(directory: directory.path) } throws: {
            ($0 as? StorageError)?.code == .corrupt
        }
    }

    @Test("Bytes that cannot be provided fail the call, and nothing is remembered of it")
    func failingBackend() async throws {
        let backend = RecordingBackend()
        let array = try await ElementArray.open(backend: backend)
        let account = try result(await array.call("AddAccount", ["username": "tenant"]))
        let parameters: [String: JSONValue] = [
            "name": "v", "accountID": try #require(account["accountID"]), "totalSize": 1_000_000_000,
        ]
        backend.fails.withLock { $0 = true }
        guard case .error(let error) = await array.call("CreateVolume", parameters) else { throw TestCluster.Missing() }
        #expect(error.name == "xNotReadyForIO")
        #expect(try result(await array.call("GetVolumeCount"))["count"] == 0)
        backend.fails.withLock { $0 = false }
        _ = try result(await array.call("CreateVolume", parameters))
        #expect(backend.exported.withLock { $0 }.count == 1)
    }

    @Test("What a volume's bytes take is told as it is when it is asked for")
    func nonZeroBlocks() async throws {
        let backend = RecordingBackend()
        let array = try await ElementArray.open(backend: backend)
        let account = try result(await array.call("AddAccount", ["username": "tenant"]))
        let made = try result(
            await array.call(
                "CreateVolume",
                ["name": "v", "accountID": try #require(account["accountID"]), "totalSize": 1_000_000_000]))
        let id = try TestCluster.number(made["volumeID"])
        for blocks in [0, 5, 2] {
            var counters = VolumeCounters()
            counters.usedBytes = blocks * 4096
            backend.counted.withLock { [counters] in $0 = [id: counters] }
            let all = try result(await array.call("ListVolumeStats", ["volumeIDs": [.integer(id)]]))["volumeStats"]
            #expect(all?.numbers("nonZeroBlocks") == [blocks])
            let one = try result(await array.call("GetVolumeStats", ["volumeID": .integer(id)]))["volumeStats"]
            #expect(one?["nonZeroBlocks"] == .integer(blocks))
        }
    }
}
