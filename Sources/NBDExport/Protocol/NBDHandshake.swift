import BlockStorage
import IORuntime

/// The fixed newstyle handshake of one connection, from the server's side: bytes in, bytes out, no I/O.
///
/// The first thing to send is `greeting`. Then `receive` is given what the client sent, as much as is there, until it
/// says that the client may begin with its requests or that the connection must end.
struct NBDHandshake {
    /// How to go on after a message.
    enum Progress {
        /// The beginning of a message is there: call again when there is more.
        case needsMore
        /// A message, or a part that is skipped, was taken: call again with the rest.
        case negotiating
        /// The client has chosen its export; what follows in the input are requests.
        case transmission(NBDSession)
        /// Nothing more is to be read: send the reply and close.
        case ended
    }

    private enum State {
        case clientFlags
        case option
        /// Option data that is too long to look at, and the answer that follows it.
        case skipping(option: UInt32, byteCount: Int)
        case ended
    }

    /// What the server says first.
    static var greeting: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(NBD.magic)
        bytes.appendBigEndian(NBD.optionMagic)
        bytes.appendBigEndian(UInt16(NBDHandshakeFlags.known.rawValue))
        return bytes
    }

    /// The most input that has to be there for a message to be taken, in bytes.
    static let longestMessage = optionHeaderByteCount + NBD.longestOption

    private static let optionHeaderByteCount = 16

    let exports: [NBDServer.Export]
    private var state = State.clientFlags
    private var sendsZeroes = true
    private var usesStructuredReplies = false
    /// The export for which `base:allocation` was selected, by name.
    private var allocationExport: String?

    /// The first of `exports` is also the default one, unless another has the empty name.
    init(exports: [NBDServer.Export]) {
        self.exports = exports
    }

    /// Takes at most one message from the beginning of `input`. Says how many bytes it took, appends what the client
    /// is to be sent to `reply`, and says how to go on.
    mutating func receive(_ input: RawSpan, reply: inout [UInt8]) -> (byteCount: Int, progress: Progress) {
        switch state {
        case .clientFlags: return receiveClientFlags(input)
        case .option: return receiveOption(input, &reply)
        case .skipping(let option, let byteCount):
            let taken = min(byteCount, input.byteCount)
            if taken < byteCount {
                state = .skipping(option: option, byteCount: byteCount - taken)
                return (taken, taken == 0 ? .needsMore : .negotiating)
            }
            state = .option
            let limit = "option data is limited to \(NBD.longestOption) bytes"
            if NBDOption(rawValue: option) == nil {
                reply.appendOptionReply(to: option, .unsupported, "unknown option")
            } else {
                reply.appendOptionReply(to: option, .tooBig, limit)
            }
            return (taken, .negotiating)
        case .ended: return (0, .ended)
        }
    }

    private mutating func receiveClientFlags(_ input: RawSpan) -> (byteCount: Int, progress: Progress) {
        guard input.byteCount >= 4 else { return (0, .needsMore) }
        let flags = NBDHandshakeFlags(rawValue: input.loadBigEndian(UInt32.self, at: 0))
        guard NBDHandshakeFlags.known.isSuperset(of: flags) else { return end(4) }
        sendsZeroes = !flags.contains(.noZeroes)
        state = .option
        return (4, .negotiating)
    }

    private mutating func receiveOption(_ input: RawSpan, _ reply: inout [UInt8]) -> (
        byteCount: Int, progress: Progress
    ) {
        let headerByteCount = Self.optionHeaderByteCount
        guard input.byteCount >= headerByteCount else { return (0, .needsMore) }
        guard input.loadBigEndian(UInt64.self, at: 0) == NBD.optionMagic else { return end(headerByteCount) }
        let number = input.loadBigEndian(UInt32.self, at: 8)
        let dataByteCount = Int(input.loadBigEndian(UInt32.self, at: 12))
        if dataByteCount > NBD.longestOption {
            // A name that long is not ours, and this option has no error reply.
            if number == NBDOption.exportName.rawValue || dataByteCount > NBD.longestSkippedOption {
                return end(headerByteCount)
            }
            state = .skipping(option: number, byteCount: dataByteCount)
            return (headerByteCount, .negotiating)
        }
        let messageByteCount = headerByteCount + dataByteCount
        guard input.byteCount >= messageByteCount else { return (0, .needsMore) }
        guard let option = NBDOption(rawValue: number) else {
            reply.appendOptionReply(to: number, .unsupported, "unknown option")
            return (messageByteCount, .negotiating)
        }
        let data = NBDOptionData(input.extracting(headerByteCount..<messageByteCount))
        return (messageByteCount, perform(option, data, &reply))
    }

    private mutating func end(_ byteCount: Int) -> (byteCount: Int, progress: Progress) {
        state = .ended
        return (byteCount, .ended)
    }
}

// MARK: - Options

extension NBDHandshake {
    private mutating func perform(
        _ option: NBDOption, _ data: consuming NBDOptionData, _ reply: inout [UInt8]
    ) -> Progress {
        switch option {
        case .exportName: return chooseExport(data, &reply)
        case .abort:
            reply.appendOptionReply(to: option, .acknowledge)
            state = .ended
            return .ended
        case .list: list(data, &reply)
        case .startTLS:
            if data.isAtEnd {
                reply.appendOptionReply(to: option, .unsupported, "this server has no TLS")
            } else {
                reply.appendOptionReply(to: option, .invalid, "STARTTLS carries no data")
            }
        case .info, .go: return describe(option, data, &reply)
        case .structuredReply:
            if data.isAtEnd {
                usesStructuredReplies = true
                reply.appendOptionReply(to: option, .acknowledge)
            } else {
                reply.appendOptionReply(to: option, .invalid, "STRUCTURED_REPLY carries no data")
            }
        case .listMetaContext, .setMetaContext: selectMetaContexts(option, data, &reply)
        }
        return .negotiating
    }

    /// The export that a client means. The empty name stands for the default one.
    private func export(named name: String) -> NBDServer.Export? {
        exports.first { $0.name == name } ?? (name.isEmpty ? exports.first : nil)
    }

    private mutating func chooseExport(_ data: consuming NBDOptionData, _ reply: inout [UInt8]) -> Progress {
        // This option knows no error reply, nor a way to tell the client about block sizes.
        let byteCount = data.remaining
        guard let name = data.takeString(byteCount: byteCount), let export = export(named: name),
            export.volume.geometry.blockSize == 1
        else {
            state = .ended
            return .ended
        }
        let session = begin(export)
        reply.appendBigEndian(session.geometry.size)
        reply.appendBigEndian(export.transmissionFlags(structuredReplies: usesStructuredReplies).rawValue)
        if sendsZeroes { reply.append(contentsOf: repeatElement(0, count: 124)) }
        return .transmission(session)
    }

    private func list(_ data: consuming NBDOptionData, _ reply: inout [UInt8]) {
        guard data.isAtEnd else {
            reply.appendOptionReply(to: .list, .invalid, "LIST carries no data")
            return
        }
        for export in exports {
            reply.appendOptionReply(to: .list, .server) { bytes in
                bytes.appendBigEndian(UInt32(export.name.utf8.count))
                bytes.append(contentsOf: export.name.utf8)
                bytes.append(contentsOf: export.description.utf8)
            }
        }
        reply.appendOptionReply(to: .list, .acknowledge)
    }

    /// INFO and GO, which differ only in what follows success.
    private mutating func describe(
        _ option: NBDOption, _ data: consuming NBDOptionData, _ reply: inout [UInt8]
    ) -> Progress {
        guard let name = data.takeName(), let requestCount = data.take(UInt16.self),
            data.remaining == 2 * Int(requestCount)
        else {
            reply.appendOptionReply(to: option, .invalid, "malformed option")
            return .negotiating
        }
        var requested: Set<UInt16> = []
        while let request = data.take(UInt16.self) { requested.insert(request) }
        guard let export = export(named: name) else {
            reply.appendOptionReply(to: option, .unknownExport, "no such export")
            return .negotiating
        }
        let geometry = export.volume.geometry
        guard geometry.blockSize == 1 || requested.contains(NBDInformation.blockSize.rawValue) else {
            reply.appendOptionReply(
                to: option, .blockSizeRequired, "requests must be aligned to \(geometry.blockSize) bytes")
            return .negotiating
        }
        reply.appendInformation(to: option, .export) { bytes in
            bytes.appendBigEndian(geometry.size)
            bytes.appendBigEndian(export.transmissionFlags(structuredReplies: usesStructuredReplies).rawValue)
        }
        if requested.contains(NBDInformation.name.rawValue) {
            reply.appendInformation(to: option, .name) { $0.append(contentsOf: export.name.utf8) }
        }
        if requested.contains(NBDInformation.description.rawValue), !export.description.isEmpty {
            reply.appendInformation(to: option, .description) { $0.append(contentsOf: export.description.utf8) }
        }
        reply.appendInformation(to: option, .blockSize) { bytes in
            let preferred = max(geometry.preferredTransfer, geometry.blockSize, 512)
            bytes.appendBigEndian(geometry.blockSize)
            bytes.appendBigEndian(min(preferred, NBD.largestPayload))
            bytes.appendBigEndian(NBD.largestPayload)
        }
        reply.appendOptionReply(to: option, .acknowledge)
        return option == .go ? .transmission(begin(export)) : .negotiating
    }

    private mutating func selectMetaContexts(
        _ option: NBDOption, _ data: consuming NBDOptionData, _ reply: inout [UInt8]
    ) {
        // Whatever comes of it, a new selection replaces the earlier one.
        if option == .setMetaContext { allocationExport = nil }
        guard usesStructuredReplies else {
            reply.appendOptionReply(to: option, .invalid, "negotiate structured replies first")
            return
        }
        guard let name = data.takeName(), let queryCount = data.take(UInt32.self) else {
            reply.appendOptionReply(to: option, .invalid, "malformed option")
            return
        }
        var isSelected = option == .listMetaContext && queryCount == 0
        for _ in 0..<queryCount {
            guard let query = data.takeName() else {
                reply.appendOptionReply(to: option, .invalid, "malformed query")
                return
            }
            // A namespace alone asks which contexts there are; it selects none.
            isSelected = isSelected || query == NBD.allocationContext || option == .listMetaContext && query == "base:"
        }
        guard data.isAtEnd else {
            reply.appendOptionReply(to: option, .invalid, "malformed option")
            return
        }
        guard let export = export(named: name) else {
            reply.appendOptionReply(to: option, .unknownExport, "no such export")
            return
        }
        if isSelected {
            if option == .setMetaContext { allocationExport = export.name }
            reply.appendOptionReply(to: option, .metaContext) { bytes in
                bytes.appendBigEndian(option == .setMetaContext ? NBD.allocationContextID : 0)
                bytes.append(contentsOf: NBD.allocationContext.utf8)
            }
        }
        reply.appendOptionReply(to: option, .acknowledge)
    }

    private mutating func begin(_ export: NBDServer.Export) -> NBDSession {
        state = .ended
        return NBDSession(
            export, usesStructuredReplies: usesStructuredReplies,
            hasAllocationContext: allocationExport == export.name)
    }
}

extension NBDHandshakeFlags {
    /// What this server offers, and so all that a client may set.
    fileprivate static let known: NBDHandshakeFlags = [.fixedNewstyle, .noZeroes]
}
