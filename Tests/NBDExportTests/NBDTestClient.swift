import BlockStorage
import IORuntime
import Logging
import Testing

@testable import NBDExport

/// A client in the test's own process, which says exactly what it is told to.
struct NBDTestClient {
    /// A reply of the transmission phase.
    struct Reply: Equatable {
        /// Nil for a simple reply.
        var chunk: NBDChunk?
        var cookie: UInt64
        /// `NBDErrorNumber`, or 0.
        var error: UInt32 = 0
        var payload: [UInt8] = []
    }

    let socket: Socket
    var isStructured = false

    /// Connects to `server` over a pair of sockets.
    init(_ server: NBDServer) throws {
        let (ours, theirs) = try Socket.pair()
        socket = ours
        Task { await server.serve(theirs) }
    }

    init(socket: Socket) { self.socket = socket }

    func send(_ bytes: [UInt8]) async throws { try await socket.send(bytes.rawBytes) }

    func receive(_ count: Int) async throws -> [UInt8] {
        if count == 0 { return [] }
        var buffer = IOBuffer(byteCount: count)
        var memory = buffer.mutableBytes
        try await socket.receiveAll(into: &memory)
        return (0..<count).map { buffer.bytes.loadBigEndian(UInt8.self, at: $0) }
    }

    /// Everything until the server ends.
    func receiveToEnd() async throws -> [UInt8] {
        var all: [UInt8] = []
        var buffer = IOBuffer(byteCount: 64 << 10)
        while true {
            var memory = buffer.mutableBytes
            let count = try await socket.receive(into: &memory)
            if count == 0 { return all }
            for index in 0..<count { all.append(buffer.bytes.loadBigEndian(UInt8.self, at: index)) }
        }
    }

    /// Opens `export`, with structured replies and `base:allocation` if `structured`.
    mutating func open(_ export: String = "", structured: Bool = false) async throws {
        _ = try await receive(NBDHandshake.greeting.count)
        var hello = NBDWire.clientFlags
        if structured {
            hello += NBDWire.option(.structuredReply)
            hello += NBDWire.metaContexts(.setMetaContext, export, [NBD.allocationContext])
        }
        try await send(hello + NBDWire.describe(.go, export, [.blockSize]))
        isStructured = structured
        while true {
            let header = try await receive(20)
            let option = header.rawBytes.loadBigEndian(UInt32.self, at: 8)
            let type = header.rawBytes.loadBigEndian(UInt32.self, at: 12)
            _ = try await receive(Int(header.rawBytes.loadBigEndian(UInt32.self, at: 16)))
            try #require(type < 0x8000_0000, "option \(option) was refused with \(type)")
            if option == NBDOption.go.rawValue, type == NBDOptionReply.acknowledge.rawValue { return }
        }
    }

    /// The next reply; `dataByteCount` is what follows a simple reply without error.
    func reply(dataByteCount: Int = 0) async throws -> Reply {
        let start = try await receive(4)
        let magic = start.rawBytes.loadBigEndian(UInt32.self, at: 0)
        if magic == NBD.simpleReplyMagic {
            let rest = try await receive(12)
            let error = rest.rawBytes.loadBigEndian(UInt32.self, at: 0)
            return Reply(
                cookie: rest.rawBytes.loadBigEndian(UInt64.self, at: 4), error: error,
                payload: error == 0 ? try await receive(dataByteCount) : [])
        }
        try #require(magic == NBD.structuredReplyMagic)
        let header = try await receive(16)
        let payload = try await receive(Int(header.rawBytes.loadBigEndian(UInt32.self, at: 12)))
        let chunk = try #require(NBDChunk(rawValue: header.rawBytes.loadBigEndian(UInt16.self, at: 2)))
        #expect(header.rawBytes.loadBigEndian(UInt16.self, at: 0) == 1, "this server sends one chunk a reply")
        return Reply(
            chunk: chunk, cookie: header.rawBytes.loadBigEndian(UInt64.self, at: 4),
            error: chunk == .error ? payload.rawBytes.loadBigEndian(UInt32.self, at: 0) : 0, payload: payload)
    }

    /// Sends a request and waits for its reply.
    func call(
        _ command: NBDCommand, flags: NBDCommandFlags = [], cookie: UInt64 = 7, offset: UInt64 = 0,
        length: UInt32 = 0, data: [UInt8] = []
    ) async throws -> Reply {
        try await send(
            NBDWire.request(command, flags: flags, cookie: cookie, offset: offset, length: length, data: data))
        let reply = try await reply(dataByteCount: command == .read ? Int(length) : 0)
        #expect(reply.cookie == cookie)
        return reply
    }

    /// The error that answers a request, 0 for success.
    func error(
        _ command: NBDCommand, flags: NBDCommandFlags = [], offset: UInt64 = 0, length: UInt32 = 0, data: [UInt8] = []
    ) async throws -> NBDErrorNumber? {
        let error = try await call(command, flags: flags, offset: offset, length: length, data: data).error
        let number = NBDErrorNumber(rawValue: error)
        #expect(error == 0 || number != nil, "\(error) is no error of the protocol")
        return number
    }

    /// The bytes that a read returns.
    func read(at offset: UInt64, _ length: Int) async throws -> [UInt8] {
        let reply = try await call(.read, offset: offset, length: UInt32(length))
        try #require(reply.error == 0)
        switch reply.chunk {
        case nil: return reply.payload
        case .offsetData: return Array(reply.payload.dropFirst(8))
        case .offsetHole: return Array(repeating: 0, count: length)
        default: throw NBDErrorNumber.invalid
        }
    }

    func write(_ data: [UInt8], at offset: UInt64, flags: NBDCommandFlags = []) async throws {
        let reply = try await call(.write, flags: flags, offset: offset, length: UInt32(data.count), data: data)
        try #require(reply.error == 0)
    }
}

extension Logger {
    /// Says nothing.
    static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}
