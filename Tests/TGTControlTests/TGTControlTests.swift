import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import TGTControl

@Suite struct TGTControlTests {
    private let daemon: TestDaemon
    private var control: TGTControl { daemon.control }

    init() async throws { daemon = try await TestDaemon.start() }

    @Test("A target with a unit, an account and rules is listed as it was made, and gone when it is deleted")
    func target() async throws {
        let file = try daemon.makeFile()
        try await control.check()
        try await control.createTarget(5, name: "iqn.2026-01.org.sluice:test.5")
        try await control.createUnit(1, target: 5, path: file)
        try await control.identify(1, target: 5, identity: "test-5", serialNumber: "5")
        try await control.createAccount("someone", secret: Secret("a-secret-of-16-s"))
        try await control.bindAccount("someone", target: 5)
        try await control.allow(.address("10.0.0.0/8"), target: 5)
        try await control.allow(.name("iqn.2026-01.org.sluice:host"), target: 5)
        let target = try #require(try await control.targets().first { $0.number == 5 })
        #expect(target.name == "iqn.2026-01.org.sluice:test.5")
        #expect(target.units.map(\.number) == [0, 1])
        #expect(target.units.last?.path == file)
        #expect(target.units.last?.identity == "test-5")
        #expect(target.accounts == ["someone"])
        #expect(Set(target.rules) == ["10.0.0.0/8", "iqn.2026-01.org.sluice:host"])
        #expect(try await control.connections(target: 5).isEmpty)
        #expect(try await control.accounts() == ["someone"])

        try await control.disallow(.address("10.0.0.0/8"), target: 5)
        try await control.unbindAccount("someone", target: 5)
        try await control.deleteUnit(1, target: 5)
        let rest = try #require(try await control.targets().first { $0.number == 5 })
        #expect(rest.units.map(\.number) == [0])
        #expect(rest.accounts.isEmpty)
        #expect(rest.rules == ["iqn.2026-01.org.sluice:host"])
        try await control.deleteTarget(5)
        try await control.deleteAccount("someone")
        #expect(try await control.targets().map(\.number) == [1])
        #expect(try await control.accounts().isEmpty)
    }

    @Test("tgtd lets go of every connection, also of those that are given up")
    func letsGo() async throws {
        let process = try #require(await control.process())
        let connections = {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count
        }
        try await control.check()
        let before = try connections()
        for _ in 0..<50 {
            #expect(await control.process() == process)
            let asking = Task { [control] in _ = try await control.targets() }
            asking.cancel()
            _ = await asking.result
        }
        // It does one thing after the other, and takes what is closed for done at the next look.
        for _ in 0..<1000 where try connections() > before { try await control.check() }
        #expect(try connections() <= before)
    }

    @Test("What tgtd refuses says why, by the code that it stands for")
    func refusals() async throws {
        try await control.createTarget(2, name: "iqn.2026-01.org.sluice:test.2")
        #expect(
            await code { try await control.createTarget(2, name: "iqn.2026-01.org.sluice:other") } == .alreadyExists)
        #expect(
            await code { try await control.createTarget(3, name: "iqn.2026-01.org.sluice:test.2") } == .alreadyExists)
        #expect(await code { try await control.deleteTarget(9) } == .notFound)
        #expect(await code { try await control.deleteUnit(1, target: 2) } == .notFound)
        #expect(await code { try await control.bindAccount("nobody", target: 2) } == .notFound)
        try await control.createAccount("twice", secret: Secret("a-secret-of-16-s"))
        #expect(
            await code { try await control.createAccount("twice", secret: Secret("another-secret-1")) }
                == .alreadyExists)
        let file = try daemon.makeFile()
        try await control.createUnit(1, target: 2, path: file)
        #expect(await code { try await control.createUnit(1, target: 2, path: file) } == .alreadyExists)
        #expect(await code { try await control.createUnit(2, target: 2, path: "/nonexistent") } == .invalidArgument)
    }

    @Test(
        "What would end a value early is refused, and a secret is in no error", arguments: ["a,b", "a b", "", "a\u{1}"])
    func values(_ value: String) async throws {
        let control = daemon.control
        #expect(await code { try await control.createTarget(2, name: value) } == .invalidArgument)
        let error = await failure { try await control.createAccount("user", secret: Secret("hidden\(value),")) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.description.contains("hidden") == false)
        #expect(await code { try await control.createTarget(0, name: "iqn.a:b") } == .invalidArgument)
    }

    @Test("A list of targets longer than any buffer of tgtd's is read whole")
    func manyTargets() async throws {
        for number: Int32 in 2...60 {
            try await control.createTarget(
                number, name: "iqn.2026-01.org.sluice:\(number)-" + String(repeating: "x", count: 150))
        }
        #expect(try await control.targets().count == 60)
    }
}

@Suite struct TGTControlOutageTests {
    @Test("Nobody listening is a lost connection")
    func nobody() async {
        let control = TGTControl(path: "/tmp/sluice-no-tgtd-\(UUID().uuidString)")
        #expect(await code { try await control.check() } == .connectionLost)
    }

    @Test("Who does not answer is late at the deadline")
    func silence() async throws {
        let path = "/tmp/sluice-tgtd-\(UUID().uuidString)"
        let listener = try await Socket.listen(.unix(path: path))
        let control = TGTControl(path: path, deadline: .milliseconds(200))
        #expect(await code { try await control.check() } == .timedOut)
        listener.close()
        unlink(path)
    }

    @Test(
        "An answer that is none is an error, and takes no more memory than has come",
        arguments: [
            ([1, 0, 0], StorageError.Code.connectionLost), ([0, 0, 0, 0, 7, 0, 0, 0], .inputOutput),
            ([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], .inputOutput), ([0, 0, 0, 0, 0, 0, 0, 1], .connectionLost),
            ([77, 0, 0, 0, 8, 0, 0, 0], .internalError), ([0, 0, 0, 0, 20, 0, 0, 0, 0x54], .connectionLost),
        ] as [([UInt8], StorageError.Code)])
    func nonsense(_ answer: [UInt8], _ expected: StorageError.Code) async throws {
        let path = "/tmp/sluice-tgtd-\(UUID().uuidString)"
        let listener = try await Socket.listen(.unix(path: path))
        let server = Task {
            let peer = try await listener.accept()
            var request = [UInt8](repeating: 0, count: 120)
            var span = request.mutableRawBytes
            try await peer.receiveAll(into: &span)
            try await peer.send(answer.rawBytes)
            peer.shutDown()
            peer.close()
        }
        let control = TGTControl(path: path, deadline: .seconds(60))
        #expect(await code { _ = try await control.targets() } == expected)
        try await server.value
        listener.close()
        unlink(path)
    }

    @Test("Lines that an initiator forges in its name name no target twice")
    func forgery() throws {
        let text = """
            Target 1: iqn.a:one
                I_T nexus information:
                    I_T nexus: 1
                        Initiator: evil
            Target 1: iqn.a:two alias: none
            """
        #expect(throws: StorageError.self) { try TGTTarget.list(text, at: "") }
        #expect(try TGTTarget.list("nonsense\n    LUN: 1\n\n:::\nTarget x: y\nTarget -1: z", at: "").isEmpty)
    }
}

/// The code of the error that `body` throws.
private func code(_ body: () async throws -> Void) async -> StorageError.Code? { await failure(body)?.code }

private func failure(_ body: () async throws -> Void) async -> StorageError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? StorageError
    }
}
