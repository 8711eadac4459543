import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Testing

@testable import Sluice

@Suite struct ControlSocketTests {
    @Test("Every request and reply survives the way")
    func messages() throws {
        let requests: [VolumeRequest] = [
            .info, .map(offset: .max), .setQoS(nil), .setQoS(try QoSPolicy(minIOPS: 1, burstIOPS: 9)),
            .resize(size: 1 << 40, allowShrink: true), .listSnapshots, .createSnapshot("a\n\"b"), .deleteSnapshot("s"),
            .setProtected(true, snapshot: "s"),
        ]
        for request in requests {
            let message = ControlMessage.Request(volume: "p/v", request: request)
            let line = try ControlMessage.encode(message)
            #expect(line.last == 10 && line.count { $0 == 10 } == 1)
            #expect(try ControlMessage.decode(ControlMessage.Request.self, Array(line.dropLast())) == message)
        }
        let reply = VolumeReply.failure(.init(StorageError(.busy, "a", at: "b", why: "c")))
        #expect(try ControlMessage.decode(VolumeReply.self, Array(ControlMessage.encode(reply).dropLast())) == reply)
    }

    @Test("Lines come whole, however the bytes arrive, and a line that never ends is refused")
    func lines() async throws {
        var lines = LineBuffer()
        for byte in "one\n\ntwo\nthr".utf8 { try lines.append([byte]) }
        #expect(lines.next() == Array("one".utf8))
        #expect(lines.next() == [])
        #expect(lines.next() == Array("two".utf8))
        #expect(lines.next() == nil)
        let large = [UInt8](repeating: 65, count: ControlMessage.largestByteCount)
        await expect(.invalidArgument) { try lines.append(large) }
    }

    @Test("A request reaches the process that serves the volume, through a path of any length")
    func exchange() async throws {
        let served = try await Served(directoryName: String(repeating: "d", count: 150)) { request in
            switch request.request {
            case .listSnapshots: .snapshots([SnapshotDescription(name: "s", size: 5, createdAt: 7)])
            case .createSnapshot(let name): .failure(.init(StorageError(.alreadyExists, "snapshot", at: name)))
            default: .done
            }
        }
        #expect(
            try await served.export.send(.listSnapshots)
                == .snapshots([SnapshotDescription(name: "s", size: 5, createdAt: 7)]))
        guard case .failure(let failure) = try await served.export.send(.createSnapshot("x")) else {
            Issue.record("no failure")
            return
        }
        #expect(failure.error.code == .alreadyExists)
        await served.server.stop()
        await expect(.connectionLost) { try await served.export.send(.info) }
    }

    @Test("Many requests at once are all answered")
    func concurrency() async throws {
        let served = try await Served { _ in .done }
        try await withThrowingTaskGroup(of: VolumeReply.self) { group in
            for _ in 0..<20 { group.addTask { try await served.export.send(.info) } }
            for try await reply in group { #expect(reply == .done) }
        }
        await served.server.stop()
    }

    @Test("A client that sends garbage, or too much, gets an error or is cut off, and others are still served")
    func hostileClients() async throws {
        let served = try await Served { _ in .done }
        let socket = try await Socket.connect(to: .unix(path: served.socketPath))
        try await socket.send(Array("{\"volume\": 5}\n".utf8).rawBytes)
        var answer = [UInt8](repeating: 0, count: 4096)
        var bytes = answer.mutableRawBytes
        let count = try await socket.receive(into: &bytes)
        #expect(String(decoding: answer.prefix(count), as: UTF8.self).contains("invalidArgument"))
        let endless = [UInt8](repeating: 65, count: 1 << 20)
        do {
            for _ in 0..<64 { try await socket.send(endless.rawBytes) }
            Issue.record("an endless line was taken")
        } catch {}
        socket.close()
        #expect(try await served.export.send(.info) == .done)
        await served.server.stop()
    }

    /// A control server with an export that leads to it.
    private struct Served {
        let directory: TemporaryDirectory
        let server: ControlServer
        let export: RunningAttachment

        init(directoryName: String = "run", _ handler: @escaping ControlServer.Handler) async throws {
            directory = try TemporaryDirectory()
            let run = FilePath(directory.appending(directoryName))
            try StorageHome.makeDirectory(run)
            server = try await ControlServer.start("c.sock", in: run, handler)
            #expect(try mode(of: run.appending("c.sock").string) == 0o600)
            export = RunningAttachment(
                VolumeAddress(pool: "p", name: "v"), mode: .exclusive, listeners: ["unix:/s"], control: "c.sock",
                directory: run)
        }

        var socketPath: String { directory.appending("run/c.sock") }
    }
}

@Suite struct RunningAttachmentTests {
    @Test("A published export is listed while its process lives, and swept when that has died")
    func lifeCycle() async throws {
        let directory = try TemporaryDirectory()
        let run = FilePath(directory.path)
        let export = RunningAttachment(
            VolumeAddress(pool: "p", name: "v", snapshot: "s"), mode: .readOnly,
            listeners: ["tcp:[::1]:10809", "unix:/run/v.sock"], control: "id.sock", directory: run)
        let file = try await export.reserve()
        try await export.publish(in: file)
        let listed = try await RunningAttachment.all(in: run)
        #expect(listed == [export])
        #expect(listed.first?.socketPath == "/run/v.sock")
        #expect(try mode(of: directory.appending("id.json")) == 0o600)
        // What dies leaves its files without a lock.
        try Data().write(to: URL(filePath: directory.appending("id.sock")))
        try await file.close()
        #expect(try await RunningAttachment.all(in: run).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test("What died before it had published is swept, and what lives is left alone")
    func unfinished() async throws {
        let directory = try TemporaryDirectory()
        let run = FilePath(directory.path)
        for name in ["dead.sock", ".dead.json", "orphan.sock"] {
            try Data().write(to: URL(filePath: directory.appending(name)))
        }
        let alive = RunningAttachment(
            VolumeAddress(pool: "p", name: "v"), mode: .exclusive, control: "alive.sock", directory: run)
        let file = try await alive.reserve()
        try Data().write(to: URL(filePath: directory.appending("alive.sock")))
        #expect(await RunningAttachment.removeLeftovers(in: run) == 2)
        let left = try FileManager.default.contentsOfDirectory(atPath: directory.path)
        #expect(left.sorted() == [".alive.json", "alive.sock"])
        #expect(try await RunningAttachment.all(in: run).isEmpty)
        try await alive.publish(in: file)
        #expect(try await RunningAttachment.all(in: run) == [alive])
        alive.withdraw()
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
        try await file.close()
    }

    @Test("The socket of a dead export's clients goes, unless another listens there by now")
    func clientSockets() async throws {
        let directory = try TemporaryDirectory()
        let run = FilePath(directory.appending("run"))
        try StorageHome.makeDirectory(run)
        let paths = ["stale", "taken"].map { directory.appending($0) }
        let export = RunningAttachment(
            VolumeAddress(pool: "p", name: "v"), mode: .exclusive, listeners: paths.map { "unix:\($0)" },
            directory: run)
        let file = try await export.reserve()
        try await export.publish(in: file)
        try await file.close()
        try await Socket.listen(.unix(path: paths[0])).close()
        let listener = try await Socket.listen(.unix(path: paths[1]))
        #expect(try await RunningAttachment.all(in: run).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == ["run", "taken"])
        listener.close()
    }

    @Test("Files that are no descriptions are no exports")
    func garbage() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("x.json")
        try Data("{\"control\": \"../../etc\"}".utf8).write(to: URL(filePath: path))
        let file = try await File.open(FilePath(path), [.write])
        #expect(try await file.lock(.exclusive, 0..<1))
        #expect(try await RunningAttachment.all(in: FilePath(directory.path)).isEmpty)
        #expect(try await RunningAttachment.all(in: FilePath(directory.appending("none"))).isEmpty)
        try await file.close()
    }
}
