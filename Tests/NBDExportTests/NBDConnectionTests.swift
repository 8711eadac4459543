import BlockStorage
import IORuntime
import Testing

@testable import NBDExport

@Suite("An NBD connection", .timeLimit(.minutes(30)))
struct NBDConnectionTests {
    private let volume = ProbeVolume(size: 4 << 20)

    private func server(
        readOnly: Bool = false, _ change: (inout NBDServer.Configuration) -> Void = { _ in }
    ) throws -> NBDServer {
        var configuration = NBDServer.Configuration()
        change(&configuration)
        return NBDServer(
            exports: [try .init(name: "disk", volume: volume, isReadOnly: readOnly)], configuration: configuration,
            logger: .silent)
    }

    private func client(_ server: NBDServer, structured: Bool = true) async throws -> NBDTestClient {
        var client = try NBDTestClient(server)
        try await client.open(structured: structured)
        return client
    }

    @Test("reads what was written, with simple and with structured replies", arguments: [false, true])
    func readAndWrite(structured: Bool) async throws {
        let client = try await client(server(), structured: structured)
        // Short, copied; long, sent in place; longer than the receive buffer.
        for (offset, count) in [(0, 512), (1, 27_000), (65_536, 100_001), (1 << 20, 1 << 20)] {
            let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ count) }
            try await client.write(data, at: UInt64(offset))
            #expect(try await client.read(at: UInt64(offset), count) == data)
        }
        #expect(try await client.error(.flush) == nil)
        #expect(try await client.error(.trim, offset: 0, length: 65_536) == nil)
        #expect(try await client.read(at: 0, 512) == Array(repeating: 0, count: 512))
        #expect(try await client.error(.writeZeroes, offset: 65_536, length: 65_536) == nil)
        #expect(try await client.read(at: 65_536, 65_536) == Array(repeating: 0, count: 65_536))
        #expect(try await client.error(.cache, offset: 0, length: 2 << 20) == nil)
    }

    @Test("a structured read of zeros is a hole, of anything else one piece of data")
    func holes() async throws {
        let client = try await client(server())
        try await client.write([1], at: 8191)
        let hole = try await client.call(.read, flags: .dontFragment, offset: 0, length: 8191)
        #expect(hole.chunk == .offsetHole)
        #expect(hole.payload == NBDWire.bigEndian(UInt64(0)) + NBDWire.bigEndian(UInt32(8191)))
        let data = try await client.call(.read, offset: 4096, length: 8192)
        #expect(data.chunk == .offsetData)
        #expect(data.payload == NBDWire.bigEndian(UInt64(4096)) + (0..<8192).map { $0 == 4095 ? 1 : 0 })
        let large = try await client.call(.read, offset: 65_536, length: 1 << 20)
        #expect(large.chunk == .offsetHole)
    }

    @Test("flags reach the volume: FUA, NO_HOLE, FAST_ZERO, and a flush after TRIM with FUA")
    func flags() async throws {
        let client = try await client(server())
        try await client.write([1, 2], at: 10, flags: .forceUnitAccess)
        #expect(try await client.error(.trim, flags: .forceUnitAccess, offset: 0, length: 10) == nil)
        #expect(
            try await client.error(
                .writeZeroes, flags: [.forceUnitAccess, .noHole, .fastZero], offset: 0, length: 20) == nil)
        #expect(try await client.error(.read, flags: .forceUnitAccess, offset: 0, length: 1) == nil)
        #expect(
            volume.calls == [
                .write(10..<12, .forceUnitAccess), .discard(0..<10), .flush,
                .zero(0..<20, [.forceUnitAccess, .keepAllocated, .fastOnly]), .read(0..<1),
            ])
    }

    @Test("requests of length zero succeed and reach nothing", arguments: [false, true])
    func emptyRequests(structured: Bool) async throws {
        let client = try await client(server(), structured: structured)
        for command in [NBDCommand.read, .write, .trim, .writeZeroes, .cache] {
            #expect(try await client.error(command, offset: 4 << 20, length: 0) == nil)
        }
        #expect(volume.calls.isEmpty)
    }

    @Test("block status maps data and holes, merged, within the request")
    func blockStatus() async throws {
        let client = try await client(server())
        // In two writes, so that the volume may report two extents.
        try await client.write(Array(repeating: 1, count: 65_536), at: 65_536)
        try await client.write(Array(repeating: 1, count: 65_536), at: 131_072)
        let reply = try await client.call(.blockStatus, offset: 512, length: (4 << 20) - 512)
        let words: [UInt32] = [1, 65_536 - 512, 3, 131_072, 0, (4 << 20) - 196_608, 3]
        #expect(reply.chunk == .blockStatus)
        #expect(reply.payload == words.flatMap { NBDWire.bigEndian($0) })
        let one = try await client.call(.blockStatus, flags: .requestOne, offset: 65_536, length: 1 << 20)
        #expect(one.payload == [UInt32(1), 131_072, 0].flatMap { NBDWire.bigEndian($0) })
        #expect(try await client.error(.blockStatus, offset: 0, length: 0) == .invalid)
    }

    @Test(
        "what cannot be done is refused with the protocol's error, and the stream stays in step",
        arguments: [false, true])
    func refusals(structured: Bool) async throws {
        let client = try await client(server(), structured: structured)
        let size = UInt64(4 << 20)
        #expect(try await client.error(.read, offset: size, length: 1) == .invalid)
        #expect(try await client.error(.read, offset: .max, length: .max) == .invalid)
        #expect(try await client.error(.write, offset: size - 1, length: 2, data: [1, 2]) == .noSpace)
        #expect(try await client.error(.write, offset: .max, length: 3, data: [1, 2, 3]) == .noSpace)
        #expect(try await client.error(.trim, offset: size, length: 512) == .noSpace)
        #expect(try await client.error(.writeZeroes, offset: 512, length: .max) == .noSpace)
        #expect(try await client.error(.cache, offset: size, length: 512) == .invalid)
        #expect(try await client.error(.flush, offset: 1) == .invalid)
        #expect(try await client.error(.write, flags: .requestOne, length: 2, data: [1, 2]) == .invalid)
        #expect(try await client.error(.read, flags: .fastZero, length: 2) == .invalid)
        if !structured {
            #expect(try await client.error(.read, flags: .dontFragment, length: 2) == .invalid)
            #expect(try await client.error(.blockStatus, length: 512) == .invalid)
        }
        try await client.send(NBDWire.request(type: 8, flags: 0, cookie: 3, offset: 0, length: 77))
        #expect(try await client.reply().error == NBDErrorNumber.invalid.rawValue)
        try await client.send(NBDWire.request(type: 0xffff, flags: 0xffff, cookie: 3, offset: 0, length: 0))
        #expect(try await client.reply().error == NBDErrorNumber.invalid.rawValue)
        #expect(volume.calls.isEmpty)
        #expect(try await client.error(.flush) == nil)
    }

    @Test("payloads above 32 MiB are refused without memory for them, and skipped")
    func oversizedPayload() async throws {
        try await volume.resize(to: 64 << 20)
        let client = try await client(server())
        let length = UInt32(32 << 20) + 1
        #expect(try await client.error(.read, length: length) == .invalid)
        #expect(try await client.error(.read, flags: .dontFragment, length: length) == .overflow)
        #expect(
            try await client.error(.write, length: length, data: Array(repeating: 1, count: Int(length))) == .invalid)
        #expect(volume.calls.isEmpty)
        #expect(try await client.call(.read, length: 32 << 20).chunk == .offsetHole)
    }

    @Test("a read-only export refuses writes with EPERM")
    func readOnly() async throws {
        let client = try await client(server(readOnly: true))
        #expect(try await client.error(.write, length: 3, data: [1, 2, 3]) == .notPermitted)
        #expect(try await client.error(.trim, length: 512) == .notPermitted)
        #expect(try await client.error(.writeZeroes, length: 512) == .notPermitted)
        #expect(try await client.error(.flush) == nil)
        #expect(try await client.read(at: 0, 3) == [0, 0, 0])
    }

    @Test(
        "the volume's errors become the protocol's numbers, with a message that holds no path",
        arguments: [
            (StorageError.Code.noSpace, NBDErrorNumber.noSpace), (.quotaExceeded, .noSpace), (.readOnly, .notPermitted),
            (.permissionDenied, .notPermitted), (.notSupported, .notSupported), (.invalidArgument, .invalid),
            (.outOfRange, .noSpace), (.notAttached, .shutdown), (.fenced, .shutdown), (.inputOutput, .inputOutput),
            (.corrupt, .inputOutput), (.timedOut, .inputOutput), (.cancelled, .inputOutput),
        ])
    func volumeErrors(code: StorageError.Code, number: NBDErrorNumber) async throws {
        let client = try await client(server())
        volume.fail(with: StorageError(code, "write volume", at: "/pool/secret", why: "of /pool/secret"))
        let reply = try await client.call(.write, length: 1, data: [1])
        #expect(reply.error == number.rawValue)
        let message = String(decoding: reply.payload.dropFirst(6), as: UTF8.self)
        #expect(message == "write volume: \(code.rawValue)")
        #expect(try await client.error(.read, length: 1) == (code == .outOfRange ? .invalid : number))
        volume.fail(with: nil)
        #expect(try await client.error(.flush) == nil)
    }

    @Test("a volume that grew can be read where it grew")
    func grown() async throws {
        let client = try await client(server())
        #expect(try await client.error(.read, offset: 4 << 20, length: 512) == .invalid)
        try await volume.resize(to: 8 << 20)
        #expect(try await client.error(.read, offset: 4 << 20, length: 512) == nil)
    }

    @Test("requests larger than the volume takes are split")
    func splitting() async throws {
        let volume = BlockSizedVolume(blockSize: 512, largestTransfer: 64 << 10)
        let server = NBDServer(exports: [try .init(name: "lun", volume: volume)], logger: .silent)
        let client = try await client(server)
        let data = (0..<200 << 10).map { UInt8(truncatingIfNeeded: $0 / 512 + 1) }
        try await client.write(data, at: 512)
        #expect(try await client.read(at: 512, data.count) == data)
        #expect(try await client.error(.read, offset: 1, length: 512) == .invalid)
        #expect(try await client.error(.write, offset: 512, length: 5, data: [1, 2, 3, 4, 5]) == .invalid)
    }

    @Test(
        "pipelined requests, however the bytes are cut, do what a plain array does", arguments: 0..<8 as Range<UInt64>)
    func model(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let client = try await client(server { $0.largestRequestCount = 1 + Int(seed) * 5 }, structured: seed % 2 == 0)
        let size = 1 << 20
        var model = [UInt8](repeating: 0, count: size)
        for round in 0..<20 {
            // Requests in flight together touch separate parts, because they may be carried out in any order.
            var script: [UInt8] = []
            var expected: [UInt64: [UInt8]] = [:]
            let part = size / 16
            for slot in 0..<16 {
                let offset = slot * part + Int.random(in: 0..<part / 2, using: &random)
                let count = Int.random(in: 1...part / 2, using: &random)
                let cookie = UInt64(round * 16 + slot)
                switch Int.random(in: 0..<4, using: &random) {
                case 0, 1:
                    script += NBDWire.request(.read, cookie: cookie, offset: UInt64(offset), length: UInt32(count))
                    expected[cookie] = Array(model[offset..<offset + count])
                case 2:
                    let byte = UInt8.random(in: 0...255, using: &random)
                    script += NBDWire.request(
                        .write, cookie: cookie, offset: UInt64(offset), length: UInt32(count),
                        data: Array(repeating: byte, count: count))
                    model.replaceSubrange(offset..<offset + count, with: repeatElement(byte, count: count))
                    expected[cookie] = []
                default:
                    script += NBDWire.request(
                        .writeZeroes, cookie: cookie, offset: UInt64(offset), length: UInt32(count))
                    model.replaceSubrange(offset..<offset + count, with: repeatElement(0, count: count))
                    expected[cookie] = []
                }
            }
            let cut = Int.random(in: 0...script.count, using: &random)
            let (head, tail) = (Array(script.prefix(cut)), Array(script.dropFirst(cut)))
            async let sent: Void = {
                try await client.send(head); try await client.send(tail)
            }()
            while !expected.isEmpty {
                // A simple reply does not say how long it is, so its cookie is looked at first.
                let reply = try await nextReply(client, expected.mapValues(\.count))
                let found = expected.removeValue(forKey: reply.cookie)
                let want = try #require(found)
                #expect(reply.error == 0)
                switch reply.chunk {
                case nil: #expect(reply.payload == want)
                case .offsetData: #expect(Array(reply.payload.dropFirst(8)) == want)
                case .offsetHole: #expect(want.allSatisfy { $0 == 0 } && !want.isEmpty)
                default: #expect(want.isEmpty)
                }
            }
            try await sent
        }
        #expect(Array(volume.memory.contents.prefix(size)) == model)
    }

    private func nextReply(_ client: NBDTestClient, _ lengths: [UInt64: Int]) async throws -> NBDTestClient.Reply {
        if client.isStructured { return try await client.reply() }
        let header = try await client.receive(16)
        let cookie = header.rawBytes.loadBigEndian(UInt64.self, at: 8)
        return .init(
            cookie: cookie, error: header.rawBytes.loadBigEndian(UInt32.self, at: 4),
            payload: try await client.receive(lengths[cookie] ?? 0))
    }

    // MARK: - Clients that misbehave

    @Test("a request with a wrong magic ends this connection and no other")
    func badMagic() async throws {
        let server = try server()
        let (bad, good) = (try await client(server), try await client(server))
        try await bad.send(NBDWire.request(type: 0, flags: 0, cookie: 1, offset: 0, length: 1, magic: 0x2560_9514))
        #expect(try await bad.receiveToEnd().isEmpty)
        #expect(try await good.error(.flush) == nil)
    }

    @Test("a write whose payload stops short is never begun", arguments: [1, 30_000, 1 << 20])
    func truncatedWrite(length: Int) async throws {
        let client = try await client(server())
        try await client.send(
            NBDWire.request(.write, length: UInt32(length), data: Array(repeating: 1, count: length - 1)))
        client.socket.shutDownSending()
        #expect(try await client.receiveToEnd().isEmpty)
        #expect(volume.calls.isEmpty)
    }

    @Test("a client that vanishes with requests in flight harms neither the volume nor others")
    func vanished() async throws {
        let server = try server()
        let (lost, good) = (try await client(server), try await client(server))
        volume.hold()
        for cookie in 0..<8 as Range<UInt64> {
            try await lost.send(
                NBDWire.request(.write, cookie: cookie, offset: cookie * 4096, length: 2, data: [1, 2])
                    + NBDWire.request(.read, cookie: cookie + 8, offset: cookie * 4096, length: 100_000))
        }
        await volume.waitUntilHeld(16)
        lost.socket.shutDown()
        volume.release()
        #expect(try await good.error(.flush) == nil)
        #expect(try await good.read(at: 0, 2) == [1, 2])
        try await server.stop()
        #expect(server.statistics.connections == 0)
        #expect(server.statistics.requests == 18)
    }

    @Test("DISC is obeyed after the requests before it are answered")
    func disconnect() async throws {
        let client = try await client(server())
        volume.hold()
        try await client.send(
            NBDWire.request(.write, cookie: 1, length: 1, data: [9]) + NBDWire.request(.disconnect)
                + NBDWire.request(.flush, cookie: 2))
        await volume.waitUntilHeld(1)
        volume.release()
        #expect(try await client.reply() == .init(chunk: NBDChunk.none, cookie: 1))
        #expect(try await client.receiveToEnd().isEmpty)
        #expect(volume.calls == [.write(0..<1, [])])
    }

    @Test("no more requests are in flight than allowed; the rest waits and is served")
    func requestLimit() async throws {
        let client = try await client(server { $0.largestRequestCount = 4 })
        volume.hold()
        for cookie in 0..<20 as Range<UInt64> {
            try await client.send(NBDWire.request(.read, cookie: cookie, length: 512))
        }
        await volume.waitUntilHeld(4)
        #expect(volume.calls.count == 4)
        volume.release()
        var cookies: Set<UInt64> = []
        for _ in 0..<20 { cookies.insert(try await client.reply().cookie) }
        #expect(cookies == Set(0..<20))
    }

    @Test("large payloads share a bounded amount of memory")
    func memoryLimit() async throws {
        let client = try await client(server { $0.largestPayloadMemory = 2 << 20 })
        volume.hold()
        for cookie in 0..<6 as Range<UInt64> {
            try await client.send(NBDWire.request(.read, cookie: cookie, length: 1 << 20))
        }
        await volume.waitUntilHeld(2)
        #expect(volume.calls.count == 2)
        volume.release()
        for _ in 0..<6 { #expect(try await client.reply().chunk == .offsetHole) }
    }

    @Test("a client that reads no replies stops being read from")
    func unreadReplies() async throws {
        let server = try server()
        let client = try await client(server)
        try await client.write(Array(repeating: 1, count: 4096), at: 0)
        let flood = Task {
            for cookie in 0..<3000 as Range<UInt64> {
                try await client.send(NBDWire.request(.read, cookie: cookie, length: 4096))
            }
        }
        // It has stopped when another client's requests no longer see it advance.
        let other = try await self.client(server)
        var (requests, last) = (0 as UInt64, UInt64.max)
        while requests != last {
            last = requests
            for _ in 0..<50 { #expect(try await other.error(.flush) == nil) }
            requests = UInt64(volume.calls.count { if case .read = $0 { true } else { false } })
        }
        #expect(requests < 3000)
        client.socket.shutDown()
        _ = await flood.result
    }
}
