import Glibc
import IORuntime
import SystemPackage
import Testing

@Suite("Socket")
struct SocketTests {
    @Test("bytes arrive whole and in order over Unix and TCP", arguments: TestEngine.allCases, [true, false])
    func transfers(engine: TestEngine, isUnix: Bool) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let listener = try await Socket.listen(
                isUnix ? .unix(path: directory("s").string) : .tcp(host: "127.0.0.1", port: 0))
            let address: Socket.Address =
                isUnix
                ? .unix(path: directory("s").string)
                : .tcp(host: "localhost", port: try #require(listener.localPort))
            let sent = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            async let server: [UInt8] = {
                let socket = try await listener.accept()
                var received: [UInt8] = []
                var buffer = IOBuffer(byteCount: 100_000)
                while true {
                    var bytes = buffer.mutableBytes
                    let count = try await socket.receive(into: &bytes)
                    if count == 0 { return received }
                    received += (0..<count).map { buffer.bytes.unsafeByte(at: $0) }
                }
            }()
            let client = try await Socket.connect(to: address)
            try await client.send(sent.span.bytes)
            client.shutDown()
            #expect(try await server == sent)
        }
    }

    @Test("a handler hears what comes, and of the end", arguments: [TestEngine.ring, .threadPool])
    func handler(engine: TestEngine) async throws {
        final class Handler: IOCompletionHandler {
            let continuation: UnsafeContinuation<Int, Never>
            init(_ continuation: UnsafeContinuation<Int, Never>) { self.continuation = continuation }
            func complete(_ result: Int) { continuation.resume(returning: result) }
        }
        try await engine.run {
            let (near, far) = try Socket.pair()
            let buffer = IOBuffer(byteCount: 8)
            try await far.send([1, 2, 3].rawBytes)
            let count = await withUnsafeContinuation { near.receive(into: buffer.memory, then: Handler($0)) }
            #expect(count == 3 && buffer.bytes.unsafeByte(at: 2) == 3)
            let shuttingDown = Task.detached { near.shutDown() }
            let end = await withUnsafeContinuation { near.receive(into: buffer.memory, then: Handler($0)) }
            #expect(end == 0)
            await shuttingDown.value
        }
    }

    @Test("a Unix socket can be opened by its owner alone from the start")
    func mode() async throws {
        let directory = try TemporaryDirectory()
        _ = try await Socket.listen(.unix(path: directory("s").string))
        #expect(try FileStatus(at: directory("s")).mode & 0o777 == 0o600)
    }

    @Test(
        "accept and receive end when their task is cancelled or the socket is shut down", arguments: TestEngine.allCases
    )
    func cancellation(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let listener = try await Socket.listen(.unix(path: directory("s").string))
            let accepting = Task { try await listener.accept() }
            accepting.cancel()
            await #expect(throws: SystemError(.canceled, "accept")) { _ = try await accepting.value }

            let (near, far) = try Socket.pair()
            let receiving = Task {
                var buffer = IOBuffer(byteCount: 8)
                var bytes = buffer.mutableBytes
                return try await near.receive(into: &bytes)
            }
            receiving.cancel()
            await #expect(throws: SystemError(.canceled, "recv")) { _ = try await receiving.value }

            let waiting = Task {
                var buffer = IOBuffer(byteCount: 8)
                var bytes = buffer.mutableBytes
                return try await near.receive(into: &bytes)
            }
            far.shutDown()
            #expect(try await waiting.value == 0)
        }
    }

    @Test("sending to a peer that is gone is an error, not a signal", arguments: TestEngine.allCases)
    func brokenPipe(engine: TestEngine) async throws {
        try await engine.run {
            let (near, far) = try Socket.pair()
            far.close()
            await #expect(throws: SystemError(.brokenPipe, "send")) { try await near.send([1].span.bytes) }
        }
    }

    @Test("receiveAll takes pieces until the buffer is full, and reports a peer that ends early")
    func receiveAll() async throws {
        let (near, far) = try Socket.pair()
        async let sending: Void = {
            for piece in 0..<10 { try await far.send([UInt8](repeating: UInt8(piece), count: 10).span.bytes) }
            far.shutDown()
        }()
        var buffer = IOBuffer(byteCount: 95)
        var bytes = buffer.mutableBytes
        try await near.receiveAll(into: &bytes)
        #expect(buffer.bytes.unsafeByte(at: 94) == 9)
        await #expect(throws: SystemError(.connectionReset, "recv")) {
            var rest = IOBuffer(byteCount: 95)
            var bytes = rest.mutableBytes
            try await near.receiveAll(into: &bytes)
        }
        try await sending
    }

    @Test("names too long for an address, and addresses nobody listens on, are errors")
    func errors() async throws {
        let directory = try TemporaryDirectory()
        await #expect(throws: SystemError(.fileNameTooLong, "bind")) {
            _ = try await Socket.listen(.unix(path: String(repeating: "x", count: 200)))
        }
        await #expect(throws: SystemError(.noSuchFileOrDirectory, "connect")) {
            _ = try await Socket.connect(to: .unix(path: directory("nobody").string))
        }
        _ = try await Socket.listen(.unix(path: directory("taken").string))
        await #expect(throws: SystemError(.addressInUse, "bind")) {
            _ = try await Socket.listen(.unix(path: directory("taken").string))
        }
    }
}

extension RawSpan {
    func unsafeByte(at index: Int) -> UInt8 {
        unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self)
    }
}
