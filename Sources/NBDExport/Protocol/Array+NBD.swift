/// Encoding of what is sent during the handshake.
extension [UInt8] {
    /// Appends `value`, most significant byte first.
    mutating func appendBigEndian<Value: FixedWidthInteger>(_ value: Value) {
        for shift in stride(from: Value.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// Appends a reply to an option, with what `body` appends as its data.
    mutating func appendOptionReply(
        to option: UInt32, _ type: NBDOptionReply, _ body: (inout [UInt8]) -> Void = { _ in }
    ) {
        var data: [UInt8] = []
        body(&data)
        appendBigEndian(NBD.optionReplyMagic)
        appendBigEndian(option)
        appendBigEndian(type.rawValue)
        appendBigEndian(UInt32(data.count))
        append(contentsOf: data)
    }

    /// Appends a reply to an option that this server knows.
    mutating func appendOptionReply(
        to option: NBDOption, _ type: NBDOptionReply, _ body: (inout [UInt8]) -> Void = { _ in }
    ) {
        appendOptionReply(to: option.rawValue, type, body)
    }

    /// Appends an error reply that says why.
    mutating func appendOptionReply(to option: UInt32, _ error: NBDOptionReply, _ message: String) {
        appendOptionReply(to: option, error) { $0.append(contentsOf: message.utf8) }
    }

    /// Appends an error reply that says why.
    mutating func appendOptionReply(to option: NBDOption, _ error: NBDOptionReply, _ message: String) {
        appendOptionReply(to: option.rawValue, error, message)
    }

    /// Appends one item of information about an export.
    mutating func appendInformation(to option: NBDOption, _ item: NBDInformation, _ body: (inout [UInt8]) -> Void) {
        appendOptionReply(to: option, .info) { bytes in
            bytes.appendBigEndian(item.rawValue)
            body(&bytes)
        }
    }
}
