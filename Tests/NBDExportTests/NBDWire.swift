import IORuntime

@testable import NBDExport

/// What a client says, encoded byte by byte so that a test can also say it wrongly.
enum NBDWire {
    /// The client flags that libnbd and QEMU send.
    static let clientFlags = bigEndian(UInt32(3))

    static func bigEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(value)
        return bytes
    }

    /// A string with its length before it.
    static func name(_ name: String) -> [UInt8] { bigEndian(UInt32(name.utf8.count)) + Array(name.utf8) }

    static func option(_ number: UInt32, _ data: [UInt8] = [], length: UInt32? = nil) -> [UInt8] {
        bigEndian(NBD.optionMagic) + bigEndian(number) + bigEndian(length ?? UInt32(data.count)) + data
    }

    static func option(_ option: NBDOption, _ data: [UInt8] = []) -> [UInt8] { self.option(option.rawValue, data) }

    /// INFO or GO.
    static func describe(_ option: NBDOption, _ export: String, _ items: [NBDInformation] = []) -> [UInt8] {
        self.option(
            option, name(export) + bigEndian(UInt16(items.count)) + items.flatMap { bigEndian($0.rawValue) })
    }

    /// LIST_META_CONTEXT or SET_META_CONTEXT.
    static func metaContexts(_ option: NBDOption, _ export: String, _ queries: [String]) -> [UInt8] {
        self.option(option, name(export) + bigEndian(UInt32(queries.count)) + queries.flatMap { name($0) })
    }

    static func request(
        _ command: NBDCommand, flags: NBDCommandFlags = [], cookie: UInt64 = 7, offset: UInt64 = 0,
        length: UInt32 = 0, data: [UInt8] = []
    ) -> [UInt8] {
        request(type: command.rawValue, flags: flags.rawValue, cookie: cookie, offset: offset, length: length) + data
    }

    static func request(
        type: UInt16, flags: UInt16, cookie: UInt64, offset: UInt64, length: UInt32, magic: UInt32 = NBD.requestMagic
    ) -> [UInt8] {
        bigEndian(magic) + bigEndian(flags) + bigEndian(type) + bigEndian(cookie) + bigEndian(offset)
            + bigEndian(length)
    }

    /// The reply to an option, decoded.
    struct OptionReply: Equatable {
        var option: UInt32
        var type: UInt32
        var data: [UInt8]

        init(_ option: NBDOption, _ type: NBDOptionReply, _ data: [UInt8] = []) {
            (self.option, self.type, self.data) = (option.rawValue, type.rawValue, data)
        }

        init(option: UInt32, type: UInt32, data: [UInt8]) {
            (self.option, self.type, self.data) = (option, type, data)
        }
    }

    /// All replies in `bytes`; nil where they are malformed.
    static func optionReplies(_ bytes: [UInt8]) -> [OptionReply]? {
        var replies: [OptionReply] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let header = Array(rest.prefix(20))
            guard header.count == 20, header.rawBytes.loadBigEndian(UInt64.self, at: 0) == NBD.optionReplyMagic
            else { return nil }
            let length = Int(header.rawBytes.loadBigEndian(UInt32.self, at: 16))
            guard rest.count >= 20 + length else { return nil }
            replies.append(
                OptionReply(
                    option: header.rawBytes.loadBigEndian(UInt32.self, at: 8),
                    type: header.rawBytes.loadBigEndian(UInt32.self, at: 12),
                    data: Array(rest.dropFirst(20).prefix(length))))
            rest = rest.dropFirst(20 + length)
        }
        return replies
    }
}
