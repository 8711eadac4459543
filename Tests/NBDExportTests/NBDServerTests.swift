import BlockStorage
import Glibc
import IORuntime
import SystemPackage
import Testing

@testable import NBDExport

@Suite("An NBD server", .timeLimit(.minutes(30)))
struct NBDServerTests {
    private let volume = ProbeVolume(size: 1 << 20)

    private func server(
        _ change: (inout NBDServer.Configuration) -> Void = { _ in }
    ) throws -> NBDServer {
        var configuration = NBDServer.Configuration()
        change(&configuration)
        return NBDServer(
            exports: [try .init(name: "disk", volume: volume)], configuration: configuration, logger: .silent)
    }

    /// Runs `body` with a path for a socket in a directory of its own.
    private func withSocketPath(_ body: (String) async throws -> Void) async throws {
        let directory = "/tmp/sluice-nbd-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try #require(mkdir(directory, 0o700) == 0)
        let path = directory + "/socket"
        defer {
            unlink(path)
            rmdir(directory)
        }
        try await body(path)
    }

    private func connect(_ address: Socket.Address) async throws -> NBDTestClient {
        NBDTestClient(socket: try await Socket.connect(to: address))
    }

    @Test("listens on a Unix socket that only its owner may open, and removes it when it stops")
    func unixSocket() async throws {
        try await withSocketPath { path in
            let server = try server()
            try await server.listen(on: .unix(path: path))
            let status = try FileStatus(at: FilePath(path))
            #expect(status.mode & 0o777 == 0o600)
            var client = try await connect(.unix(path: path))
            try await client.open("disk", structured: true)
            #expect(try await client.error(.flush) == nil)
            try await server.stop()
            #expect(throws: SystemError.self) { try FileStatus(at: FilePath(path)) }
            #expect(try await client.receiveToEnd().isEmpty)
        }
    }

    @Test("replaces a socket file that nobody listens on, and nothing else")
    func staleSocket() async throws {
        try await withSocketPath { path in
            // What a killed server leaves behind.
            try await Socket.listen(.unix(path: path)).close()
            let first = try server()
            try await first.listen(on: .unix(path: path))
            await #expect { try await server().listen(on: .unix(path: path)) } throws: {
                ($0 as? StorageError)?.code == .busy
            }
            var client = try await connect(.unix(path: path))
            try await client.open()
            try await first.stop()

            let descriptor = try FileDescriptor.open(
                path, .writeOnly, options: .create, permissions: .ownerReadWrite)
            try descriptor.close()
            await #expect { try await server().listen(on: .unix(path: path)) } throws: {
                ($0 as? StorageError)?.code == .busy
            }
            #expect(try FileStatus(at: FilePath(path)).isRegularFile)
        }
    }

    @Test("leaves the socket of a listener that is too busy to answer")
    func busyListener() async throws {
        try await withSocketPath { path in
            let listener = try await Socket.listen(.unix(path: path), backlog: 0)
            let waiting = try await Socket.connect(to: .unix(path: path))
            await #expect { try await server().listen(on: .unix(path: path)) } throws: {
                ($0 as? StorageError)?.code == .busy
            }
            waiting.close()
            listener.close()
        }
    }

    @Test("two servers that find the same stale socket do not both take it", arguments: 0..<10)
    func staleSocketRace(round: Int) async throws {
        try await withSocketPath { path in
            try await Socket.listen(.unix(path: path)).close()
            let servers = [try server(), try server(), try server()]
            let taken = await withTaskGroup { group in
                for server in servers {
                    group.addTask { (try? await server.listen(on: .unix(path: path))) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(taken == 1)
            var client = try await connect(.unix(path: path))
            try await client.open()
            for server in servers { try await server.stop() }
        }
    }

    @Test("listens by TCP on loopback, and beyond it only when that is allowed")
    func tcp() async throws {
        let server = try server()
        let address = try await server.listen(on: .tcp(host: "127.0.0.1", port: 0))
        guard case .tcp(_, let port) = address else { return }
        #expect(port != 0)
        var client = try await connect(address)
        try await client.open(structured: true)
        try await client.write([1, 2, 3], at: 0)
        #expect(try await client.read(at: 0, 3) == [1, 2, 3])
        for host in ["0.0.0.0", "::", "192.0.2.1", "127.0.0.1.example.com", "127.0.0.256", "host.example"] {
            await #expect("\(host)") { try await server.listen(on: .tcp(host: host, port: 0)) } throws: {
                ($0 as? StorageError)?.code == .permissionDenied
            }
        }
        _ = try await server.listen(on: .tcp(host: "0.0.0.0", port: 0), allowsInsecureRemote: true)
        try await server.stop()
    }

    @Test("a client that says nothing is disconnected at the handshake deadline, one that negotiated is not")
    func handshakeDeadline() async throws {
        let server = try server { $0.handshakeDeadline = .seconds(10) }
        var patient = try NBDTestClient(server)
        try await patient.open()
        let silent = try NBDTestClient(server)
        #expect(try await silent.receiveToEnd() == NBDHandshake.greeting)
        #expect(try await patient.error(.flush) == nil)
    }

    @Test("one client too many is disconnected, and has a place when another leaves")
    func connectionLimit() async throws {
        let server = try server { $0.largestConnectionCount = 2 }
        var clients = [try NBDTestClient(server), try NBDTestClient(server)]
        for index in clients.indices { try await clients[index].open() }
        let refused = try NBDTestClient(server)
        #expect(try await refused.receiveToEnd().isEmpty)
        try await clients[0].send(NBDWire.request(.disconnect))
        _ = try await clients[0].receiveToEnd()
        while server.statistics.connections > 1 { await Task.yield() }
        var next = try NBDTestClient(server)
        try await next.open()
        #expect(server.statistics.totalConnections == 3)
    }

    @Test("stopping answers what is in flight, reads no more, flushes, and lets run return")
    func gracefulStop() async throws {
        let server = try server()
        var client = try NBDTestClient(server)
        try await client.open(structured: true)
        volume.hold()
        try await client.send(NBDWire.request(.write, cookie: 1, length: 1, data: [7]))
        await volume.waitUntilHeld(1)
        let running = Task { await server.run() }
        let stopping = Task { try await server.stop() }
        // The write is still held back, so the server cannot have stopped; in the end it takes no more requests.
        while (try? await client.send(NBDWire.request(.flush, cookie: 2))) != nil { await Task.yield() }
        volume.release()
        var cookies: [UInt64] = []
        while let reply = try? await client.reply() { cookies.append(reply.cookie) }
        #expect(cookies.contains(1))
        try await stopping.value
        await running.value
        #expect(volume.calls.last == .flush)
        #expect(volume.memory.contents[0] == 7)

        let late = try NBDTestClient(server)
        #expect(try await late.receiveToEnd().isEmpty)
        await #expect(throws: StorageError.self) { try await server.listen(on: .tcp(host: "127.0.0.1", port: 0)) }
    }

    @Test("a client that reads no replies cannot hold up a stop for longer than the drain deadline")
    func drainDeadline() async throws {
        try await volume.memory.resize(to: 16 << 20)
        let server = try server { $0.drainDeadline = .milliseconds(200) }
        var client = try NBDTestClient(server)
        try await client.open()
        let data = [UInt8](repeating: 1, count: 8 << 20)
        try await client.write(data, at: 0)
        try await client.send(NBDWire.request(.read, cookie: 1, length: 8 << 20))
        _ = try await client.receive(16)
        try await server.stop()
        #expect(server.statistics.connections == 0)
    }

    @Test("stopping reports a flush that failed")
    func failedFlush() async throws {
        let server = try server()
        volume.fail(with: StorageError(.inputOutput, "flush"))
        await #expect(throws: StorageError.self) { try await server.stop() }
    }

    @Test("cancelling run stops the server")
    func cancelledRun() async throws {
        let server = try server()
        var client = try NBDTestClient(server)
        try await client.open()
        let running = Task { await server.run() }
        running.cancel()
        await running.value
        #expect(try await client.receiveToEnd().isEmpty)
    }

    @Test("counts connections, requests, errors and bytes, of clients that left as well")
    func statistics() async throws {
        let server = try server()
        var first = try NBDTestClient(server)
        try await first.open()
        try await first.write(Array(repeating: 1, count: 1000), at: 0)
        _ = try await first.read(at: 0, 500)
        _ = try await first.error(.read, offset: 1 << 20, length: 1)
        try await first.send(NBDWire.request(.disconnect))
        _ = try await first.receiveToEnd()
        var second = try NBDTestClient(server)
        try await second.open()
        _ = try await second.error(.flush)
        while server.statistics.connections > 1 || server.statistics.requests < 5 { await Task.yield() }
        let statistics = server.statistics
        #expect(statistics.totalConnections == 2)
        #expect(statistics.requests == 5)
        #expect(statistics.errors == 1)
        #expect(statistics.bytesWritten == 1000)
        #expect(statistics.bytesRead == 500)
        #expect(statistics.bytesSent == 500 + 16 * 4)
    }

    @Test("many clients of one volume see each other's writes")
    func sharedVolume() async throws {
        let server = try server()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<8 as Range<UInt64> {
                group.addTask {
                    var client = try NBDTestClient(server)
                    try await client.open(structured: true)
                    for round in 0..<50 {
                        try await client.write([UInt8(index), UInt8(round)], at: index * 4096)
                        #expect(try await client.read(at: index * 4096, 2) == [UInt8(index), UInt8(round)])
                    }
                }
            }
            try await group.waitForAll()
        }
        var reader = try NBDTestClient(server)
        try await reader.open()
        for index in 0..<8 as Range<UInt64> {
            #expect(try await reader.read(at: index * 4096, 2) == [UInt8(index), 49])
        }
    }
}
