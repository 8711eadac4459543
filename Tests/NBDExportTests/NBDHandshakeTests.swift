import BlockStorage
import IORuntime
import Testing

@testable import NBDExport

@Suite("The NBD handshake")
struct NBDHandshakeTests {
    /// What came of feeding a handshake.
    private struct Outcome {
        var replies: [UInt8] = []
        var consumed = 0
        var session: NBDSession?
        var hasEnded = false

        var options: [NBDWire.OptionReply]? { NBDWire.optionReplies(replies) }
        /// Types of the replies, in order.
        var types: [NBDOptionReply]? { options?.compactMap { NBDOptionReply(rawValue: $0.type) } }
    }

    /// Feeds `input` in pieces of at most `pieceSize` bytes, as a socket would deliver them.
    private func feed(
        _ handshake: NBDHandshake, _ input: [UInt8], pieceSize: Int = .max
    ) -> Outcome {
        var handshake = handshake
        var outcome = Outcome()
        var available = 0
        while true {
            let pending = Array(input[outcome.consumed..<available])
            let (byteCount, progress) = handshake.receive(pending.rawBytes, reply: &outcome.replies)
            outcome.consumed += byteCount
            switch progress {
            case .needsMore:
                if available == input.count { return outcome }
                available = pieceSize > input.count - available ? input.count : available + pieceSize
            case .negotiating: continue
            case .transmission(let session):
                outcome.session = session
                return outcome
            case .ended:
                outcome.hasEnded = true
                return outcome
            }
        }
    }

    private func exports(_ names: [String] = ["web", "database"]) throws -> [NBDServer.Export] {
        try names.map { try .init(name: $0, description: "the \($0) disk", volume: MemoryVolume(size: 1 << 20)) }
    }

    private func negotiate(_ options: [UInt8], exports: [NBDServer.Export]? = nil) throws -> Outcome {
        feed(NBDHandshake(exports: try exports ?? self.exports()), NBDWire.clientFlags + options)
    }

    @Test("greets with fixed newstyle and no-zeroes")
    func greeting() {
        #expect(NBDHandshake.greeting == Array("NBDMAGICIHAVEOPT".utf8) + [0, 3])
    }

    @Test("GO opens an export and tells its size, flags, block sizes and, when asked, its names")
    func go() throws {
        let outcome = try negotiate(NBDWire.describe(.go, "database", [.name, .description, .blockSize]))
        let session = try #require(outcome.session)
        #expect(session.name == "database")
        #expect(!session.usesStructuredReplies)
        let flags: NBDTransmissionFlags = [
            .hasFlags, .sendFlush, .sendForceUnitAccess, .sendTrim, .sendWriteZeroes, .sendFastZero, .sendCache,
            .canMultiConnection,
        ]
        #expect(
            outcome.options == [
                .init(.go, .info, [0, 0] + NBDWire.bigEndian(UInt64(1 << 20)) + NBDWire.bigEndian(flags.rawValue)),
                .init(.go, .info, [0, 1] + Array("database".utf8)),
                .init(.go, .info, [0, 2] + Array("the database disk".utf8)),
                .init(
                    .go, .info,
                    [0, 3] + NBDWire.bigEndian(UInt32(1)) + NBDWire.bigEndian(UInt32(64 << 10))
                        + NBDWire.bigEndian(UInt32(32 << 20))),
                .init(.go, .acknowledge),
            ])
    }

    @Test("INFO says the same as GO and goes on negotiating")
    func info() throws {
        let outcome = try negotiate(NBDWire.describe(.info, "web") + NBDWire.describe(.go, "web"))
        #expect(outcome.types == [.info, .info, .acknowledge, .info, .info, .acknowledge])
        #expect(outcome.session != nil)
    }

    @Test("the empty name opens the first export, unless one has that name")
    func defaultExport() throws {
        #expect(try negotiate(NBDWire.describe(.go, "")).session?.name == "web")
        let outcome = try negotiate(NBDWire.describe(.go, ""), exports: exports(["web", ""]))
        #expect(outcome.session?.name == "")
    }

    @Test("an unknown export is an error that leaves the client free to try another")
    func unknownExport() throws {
        let outcome = try negotiate(NBDWire.describe(.go, "nobody") + NBDWire.describe(.go, "web"))
        #expect(outcome.types?.first == .unknownExport)
        #expect(outcome.session?.name == "web")
        #expect(try negotiate(NBDWire.option(.exportName, Array("nobody".utf8))).hasEnded)
    }

    @Test("EXPORT_NAME answers with size and flags, and 124 zeros unless the client declines them")
    func exportName() throws {
        let option = NBDWire.option(.exportName, Array("web".utf8))
        #expect(try negotiate(option).replies.count == 10)
        let old = feed(NBDHandshake(exports: try exports()), NBDWire.bigEndian(UInt32(1)) + option)
        #expect(old.replies.count == 134)
        #expect(old.session?.name == "web")
    }

    @Test("LIST names every export")
    func list() throws {
        let outcome = try negotiate(NBDWire.option(.list))
        #expect(
            outcome.options == [
                .init(.list, .server, NBDWire.name("web") + Array("the web disk".utf8)),
                .init(.list, .server, NBDWire.name("database") + Array("the database disk".utf8)),
                .init(.list, .acknowledge),
            ])
        #expect(try negotiate(NBDWire.option(.list, [0])).types == [.invalid])
    }

    @Test("ABORT is acknowledged and ends the handshake")
    func abort() throws {
        let outcome = try negotiate(NBDWire.option(.abort) + NBDWire.describe(.go, "web"))
        #expect(outcome.types == [.acknowledge])
        #expect(outcome.hasEnded && outcome.session == nil)
    }

    @Test("STARTTLS and unknown options are refused, with whatever data, and the stream stays in step")
    func refused() throws {
        let options =
            NBDWire.option(.startTLS) + NBDWire.option(4, [1, 2, 3]) + NBDWire.option(11)
            + NBDWire.option(0xffff_ffff, Array(repeating: 9, count: 5000)) + NBDWire.option(0)
        let outcome = try negotiate(options + NBDWire.describe(.go, "web"))
        #expect(
            outcome.options?.prefix(5).map(\.type) == Array(repeating: NBDOptionReply.unsupported.rawValue, count: 5))
        #expect(outcome.options?.prefix(5).map(\.option) == [5, 4, 11, 0xffff_ffff, 0])
        #expect(outcome.session?.name == "web")
    }

    @Test("structured replies and base:allocation are negotiated for the export they were selected for")
    func metaContexts() throws {
        let structured = NBDWire.option(.structuredReply)
        let select = NBDWire.metaContexts(.setMetaContext, "web", ["base:allocation", "qemu:dirty-bitmap:x"])
        let outcome = try negotiate(structured + select + NBDWire.describe(.go, "web"))
        #expect(
            outcome.options?.dropFirst().first
                == .init(
                    .setMetaContext, .metaContext, NBDWire.bigEndian(UInt32(1)) + Array("base:allocation".utf8)))
        #expect(outcome.session?.usesStructuredReplies == true)
        #expect(outcome.session?.hasAllocationContext == true)

        // For another export, through the default name, and replaced by a later selection.
        #expect(
            try negotiate(structured + select + NBDWire.describe(.go, "database")).session?.hasAllocationContext
                == false)
        #expect(try negotiate(structured + select + NBDWire.describe(.go, "")).session?.hasAllocationContext == true)
        for replacement in [
            NBDWire.metaContexts(.setMetaContext, "web", []), NBDWire.metaContexts(.setMetaContext, "web", ["base:"]),
            NBDWire.metaContexts(.setMetaContext, "nobody", ["base:allocation"]), NBDWire.option(.setMetaContext, [1]),
        ] {
            let outcome = try negotiate(structured + select + replacement + NBDWire.describe(.go, "web"))
            #expect(outcome.session?.hasAllocationContext == false)
        }
    }

    @Test(
        "LIST_META_CONTEXT lists base:allocation for no query, its namespace, and its name",
        arguments: [
            ([], true), (["base:"], true), (["base:allocation"], true), (["x-other:", "base:"], true),
            (["qemu:"], false),
        ])
    func listMetaContexts(queries: [String], isListed: Bool) throws {
        let outcome = try negotiate(
            NBDWire.option(.structuredReply) + NBDWire.metaContexts(.listMetaContext, "web", queries))
        #expect(
            outcome.types == (isListed ? [.acknowledge, .metaContext, .acknowledge] : [.acknowledge, .acknowledge]))
    }

    @Test("meta contexts need structured replies")
    func metaContextsNeedStructuredReplies() throws {
        let outcome = try negotiate(NBDWire.metaContexts(.setMetaContext, "web", ["base:allocation"]))
        #expect(outcome.types == [.invalid])
    }

    @Test("a volume of larger blocks is opened only by clients that ask for its block size")
    func blockSize() throws {
        let volume = BlockSizedVolume(blockSize: 4096)
        let exports = [try NBDServer.Export(name: "lun", volume: volume)]
        #expect(try negotiate(NBDWire.describe(.go, "lun"), exports: exports).types == [.blockSizeRequired])
        #expect(try negotiate(NBDWire.option(.exportName, Array("lun".utf8)), exports: exports).hasEnded)
        let outcome = try negotiate(NBDWire.describe(.go, "lun", [.blockSize]), exports: exports)
        #expect(outcome.session != nil)
        #expect(outcome.options?[1].data.prefix(6) == [0, 3, 0, 0, 16, 0])
    }

    @Test("an export that the protocol cannot carry is refused")
    func impossibleExport() throws {
        let volume = MemoryVolume(size: 1)
        for name in [String(repeating: "x", count: 4097), "a\0b"] {
            #expect(throws: StorageError.self) { try NBDServer.Export(name: name, volume: volume) }
            #expect(throws: StorageError.self) { try NBDServer.Export(name: "a", description: name, volume: volume) }
        }
        let large = BlockSizedVolume(blockSize: 128 << 10)
        #expect(throws: StorageError.self) { try NBDServer.Export(name: "a", volume: large) }
    }

    @Test("read-only exports say so and offer no writes")
    func readOnly() throws {
        let export = try NBDServer.Export(name: "snapshot", volume: MemoryVolume(size: 4096), isReadOnly: true)
        let flags = export.transmissionFlags(structuredReplies: true)
        #expect(flags.contains([.readOnly, .sendDontFragment]))
        #expect(flags.isDisjoint(with: [.sendTrim, .sendWriteZeroes, .sendFastZero]))
    }

    // MARK: - Hostile clients

    @Test("bad client flags and a bad option magic end the handshake without a reply")
    func badMagic() throws {
        let exports = try exports()
        #expect(feed(NBDHandshake(exports: exports), [0, 0, 0, 4]).hasEnded)
        #expect(feed(NBDHandshake(exports: exports), [0xff, 0xff, 0xff, 0xff]).hasEnded)
        var option = NBDWire.option(.list)
        option[0] ^= 1
        let outcome = try negotiate(option)
        #expect(outcome.hasEnded && outcome.replies.isEmpty)
    }

    @Test("an option that announces 4 GiB ends the handshake; one too long is skipped and answered")
    func oversizedOption() throws {
        for number in [NBDOption.list.rawValue, NBDOption.go.rawValue, 99] {
            let outcome = try negotiate(NBDWire.option(number, length: 0xffff_ffff))
            #expect(outcome.hasEnded && outcome.replies.isEmpty)
        }
        #expect(try negotiate(NBDWire.option(.exportName, Array(repeating: 65, count: 70_000))).hasEnded)
        let padding = [UInt8](repeating: 0, count: 70_000)
        let outcome = try negotiate(
            NBDWire.option(.go, padding) + NBDWire.option(77, padding) + NBDWire.describe(.go, "web"))
        #expect(outcome.types?.prefix(2) == [.tooBig, .unsupported])
        #expect(outcome.session?.name == "web")
    }

    @Test(
        "lengths inside an option that do not fit it are invalid",
        arguments: [
            NBDWire.bigEndian(UInt32.max), NBDWire.bigEndian(UInt32.max) + [0, 0], [], [0, 0, 0], NBDWire.name("web"),
            NBDWire.name("web") + [0], NBDWire.name("web") + [0, 1], NBDWire.name("web") + [0xff, 0xff],
            NBDWire.name("web") + [0, 0, 0], NBDWire.name(String(repeating: "w", count: 4097)) + [0, 0],
            NBDWire.bigEndian(UInt32(3)) + [0xc3, 0x28, 0x41] + [0, 0], NBDWire.name("w\0b") + [0, 0],
        ])
    func malformedDescribe(data: [UInt8]) throws {
        for option in [NBDOption.go, .info] {
            let outcome = try negotiate(NBDWire.option(option, data) + NBDWire.describe(.go, "web"))
            #expect(outcome.types?.first == .invalid)
            #expect(outcome.session?.name == "web")
        }
    }

    @Test(
        "malformed meta context options are invalid",
        arguments: [
            [], NBDWire.name("web"), NBDWire.name("web") + NBDWire.bigEndian(UInt32.max),
            NBDWire.name("web") + NBDWire.bigEndian(UInt32(1)) + NBDWire.bigEndian(UInt32.max),
            NBDWire.name("web") + NBDWire.bigEndian(UInt32(1)) + NBDWire.name("base:allocation") + [0],
            NBDWire.bigEndian(UInt32(0xffff_fff0)) + NBDWire.bigEndian(UInt32(1)),
        ])
    func malformedMetaContext(data: [UInt8]) throws {
        for option in [NBDOption.listMetaContext, .setMetaContext] {
            let outcome = try negotiate(
                NBDWire.option(.structuredReply) + NBDWire.option(option, data) + NBDWire.describe(.go, "web"))
            #expect(outcome.types?.dropFirst().first == .invalid)
            #expect(outcome.session?.hasAllocationContext == false)
        }
    }

    @Test("bytes that follow GO are left for the transmission phase")
    func leftover() throws {
        let go = NBDWire.describe(.go, "web")
        let outcome = try negotiate(go + NBDWire.request(.read, length: 512))
        #expect(outcome.consumed == 4 + go.count)
    }

    @Test("the outcome does not depend on how the bytes are cut", arguments: [1, 2, 3, 7, 19, 4096])
    func pieces(pieceSize: Int) throws {
        let input =
            NBDWire.clientFlags + NBDWire.option(.structuredReply) + NBDWire.option(200, [1, 2, 3])
            + NBDWire.option(.list) + NBDWire.option(201, Array(repeating: 0, count: 65_537))
            + NBDWire.metaContexts(.setMetaContext, "web", ["base:allocation"])
            + NBDWire.describe(.go, "web", [.name, .description, .blockSize])
        let whole = feed(NBDHandshake(exports: try exports()), input)
        let cut = feed(NBDHandshake(exports: try exports()), input, pieceSize: pieceSize)
        #expect(whole.session != nil)
        #expect(cut.replies == whole.replies)
        #expect(cut.session?.hasAllocationContext == true)
    }
}
