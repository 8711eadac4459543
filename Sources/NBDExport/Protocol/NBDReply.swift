import IORuntime

/// Encodes replies of the transmission phase into memory that has room for them.
enum NBDReply {
    /// The length of a simple reply without data, in bytes.
    static let simpleByteCount = 16
    /// The length of the header of a structured reply chunk, in bytes.
    static let chunkHeaderByteCount = 20
    /// What precedes the data of a structured read: a chunk header and the offset, in bytes.
    static let dataHeaderByteCount = chunkHeaderByteCount + 8
    /// The length of a chunk that stands for zeros, in bytes.
    static let holeByteCount = chunkHeaderByteCount + 12
    /// The longest error message sent, in bytes.
    static let longestMessage = 256
    /// Room for any reply but data and block status, in bytes.
    static let longestShortReply = chunkHeaderByteCount + 6 + longestMessage

    /// A simple reply; where it answers a read, the data follows.
    static func storeSimple(
        cookie: UInt64, error: NBDErrorNumber?, into bytes: inout MutableRawSpan, at offset: Int = 0
    ) {
        bytes.storeBigEndian(NBD.simpleReplyMagic, at: offset)
        bytes.storeBigEndian(error?.rawValue ?? 0, at: offset + 4)
        bytes.storeBigEndian(cookie, at: offset + 8)
    }

    /// The header of the last chunk of a structured reply, which carries `length` bytes.
    static func storeLastChunk(
        _ type: NBDChunk, cookie: UInt64, length: Int, into bytes: inout MutableRawSpan, at offset: Int = 0
    ) {
        bytes.storeBigEndian(NBD.structuredReplyMagic, at: offset)
        bytes.storeBigEndian(UInt16(1), at: offset + 4)  // NBD_REPLY_FLAG_DONE
        bytes.storeBigEndian(type.rawValue, at: offset + 6)
        bytes.storeBigEndian(cookie, at: offset + 8)
        bytes.storeBigEndian(UInt32(truncatingIfNeeded: length), at: offset + 16)
    }

    /// What precedes `length` bytes of data in the structured reply to a read.
    static func storeDataHeader(
        cookie: UInt64, offset dataOffset: UInt64, length: Int, into bytes: inout MutableRawSpan, at offset: Int
    ) {
        storeLastChunk(.offsetData, cookie: cookie, length: 8 + length, into: &bytes, at: offset)
        bytes.storeBigEndian(dataOffset, at: offset + chunkHeaderByteCount)
    }

    /// The structured reply to a read of nothing but zeros.
    static func storeHole(
        cookie: UInt64, offset holeOffset: UInt64, length: UInt32, into bytes: inout MutableRawSpan
    ) {
        storeLastChunk(.offsetHole, cookie: cookie, length: 12, into: &bytes)
        bytes.storeBigEndian(holeOffset, at: chunkHeaderByteCount)
        bytes.storeBigEndian(length, at: chunkHeaderByteCount + 8)
    }

    /// A structured error with a message for people, shortened to `longestMessage`. Returns its length in bytes.
    static func storeError(
        cookie: UInt64, error: NBDErrorNumber, message: String, into bytes: inout MutableRawSpan
    ) -> Int {
        var message = message.prefix(longestMessage)
        while message.utf8.count > longestMessage { message.removeLast() }
        let messageByteCount = message.utf8.count
        storeLastChunk(.error, cookie: cookie, length: 6 + messageByteCount, into: &bytes)
        bytes.storeBigEndian(error.rawValue, at: chunkHeaderByteCount)
        bytes.storeBigEndian(UInt16(messageByteCount), at: chunkHeaderByteCount + 4)
        var position = chunkHeaderByteCount + 6
        for byte in message.utf8 {
            bytes.storeBytes(of: byte, toByteOffset: position, as: UInt8.self)
            position += 1
        }
        return position
    }
}
