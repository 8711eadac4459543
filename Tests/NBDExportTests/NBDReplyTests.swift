import BlockStorage
import IORuntime
import Testing

@testable import NBDExport

@Suite("NBD replies")
struct NBDReplyTests {
    /// The bytes that `store` leaves.
    private func bytes(_ limit: Int, _ store: (inout MutableRawSpan) -> Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: limit)
        var memory = bytes.mutableRawBytes
        let count = store(&memory)
        return Array(bytes.prefix(count))
    }

    @Test("a simple reply is its magic, error and cookie")
    func simple() {
        let reply = bytes(16) { memory in
            NBDReply.storeSimple(cookie: 0x0102_0304_0506_0708, error: .noSpace, into: &memory)
            return 16
        }
        #expect(reply == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 1, 2, 3, 4, 5, 6, 7, 8])
    }

    @Test(
        "an error chunk carries a message of at most 256 bytes, cut between characters",
        arguments: [
            "", "no room", String(repeating: "é", count: 200), String(repeating: "👨‍👩‍👧", count: 40),
            String(repeating: "x", count: 100_000),
        ])
    func errorMessage(message: String) throws {
        let reply = bytes(NBDReply.longestShortReply) { memory in
            NBDReply.storeError(cookie: 1, error: .inputOutput, message: message, into: &memory)
        }
        let length = Int(reply.rawBytes.loadBigEndian(UInt32.self, at: 16))
        let messageLength = Int(reply.rawBytes.loadBigEndian(UInt16.self, at: 24))
        #expect(reply.count == NBDReply.chunkHeaderByteCount + length)
        #expect(length == 6 + messageLength && messageLength <= 256)
        let sent = try #require(String(validating: reply.dropFirst(26), as: UTF8.self))
        #expect(message.hasPrefix(sent))
        #expect(sent == message || messageLength > 200)
    }

    private func descriptors(_ status: NBDBlockStatus) -> [[UInt32]] {
        let reply = bytes(NBDBlockStatus.longestReply) { status.store(cookie: 1, into: &$0) }
        return stride(from: 24, to: reply.count, by: 8).map {
            [reply.rawBytes.loadBigEndian(UInt32.self, at: $0), reply.rawBytes.loadBigEndian(UInt32.self, at: $0 + 4)]
        }
    }

    /// Adds each list in turn; returns what `add` said.
    private func add(_ lists: [[Extent]], to status: inout NBDBlockStatus) -> [Bool] {
        var wantsMore: [Bool] = []
        for list in lists { wantsMore.append(status.add(list)) }
        return wantsMore
    }

    @Test("block status merges neighbours of one kind, also across what was looked up apart")
    func merging() {
        var status = NBDBlockStatus(requested: 100..<1000, requestOne: false)
        let wantsMore = add(
            [
                [Extent(100..<200, .data), Extent(200..<300, .data), Extent(300..<400, .hole)],
                [Extent(400..<500, .hole), Extent(500..<600, .zero)], [Extent(600..<5000, .zero)],
            ], to: &status)
        #expect(wantsMore == [true, true, false])
        #expect(descriptors(status) == [[200, 0], [200, 3], [500, 2]])
    }

    @Test("block status stays within the request, and within one descriptor where that was asked for")
    func bounds() {
        var one = NBDBlockStatus(requested: 100..<1000, requestOne: true)
        let lists = [[Extent(0..<150, .data)], [Extent(150..<200, .data), Extent(200..<1000, .hole)]]
        #expect(add(lists, to: &one) == [true, false])
        #expect(descriptors(one) == [[100, 0]])

        var whole = NBDBlockStatus(requested: 0..<UInt64(UInt32.max), requestOne: false)
        #expect(add([[Extent(0..<UInt64.max, .hole)]], to: &whole) == [false])
        #expect(descriptors(whole) == [[.max, 3]])
    }

    @Test("block status ends after its largest number of descriptors")
    func limit() {
        var status = NBDBlockStatus(requested: 0..<1 << 30, requestOne: false)
        let extents = (0..<5000 as Range<UInt64>).map {
            Extent($0 * 512..<($0 + 1) * 512, $0 % 2 == 0 ? .data : .hole)
        }
        #expect(add([extents], to: &status) == [false])
        #expect(descriptors(status).count == NBDBlockStatus.largestCount)
        #expect(status.end == UInt64(NBDBlockStatus.largestCount) * 512)
    }
}
