import IORuntime

/// The data of an option, taken from the front. Nothing that it holds is trusted.
struct NBDOptionData: ~Copyable, ~Escapable {
    private let bytes: RawSpan
    private var position = 0

    @_lifetime(copy bytes)
    init(_ bytes: RawSpan) {
        self.bytes = bytes
    }

    var remaining: Int { bytes.byteCount - position }
    var isAtEnd: Bool { remaining == 0 }

    /// The next big-endian integer; nil where the data ends before it does.
    @_lifetime(self: copy self)
    mutating func take<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type) -> Value? {
        guard remaining >= MemoryLayout<Value>.size else { return nil }
        defer { position += MemoryLayout<Value>.size }
        return bytes.loadBigEndian(type, at: position)
    }

    /// A string with its length before it; nil where the data ends before it does, or where it is no valid string.
    @_lifetime(self: copy self)
    mutating func takeName() -> String? {
        guard let byteCount = take(UInt32.self) else { return nil }
        return takeString(byteCount: Int(byteCount))
    }

    /// The next `byteCount` bytes as a string: UTF-8 without NUL, no longer than the protocol allows.
    @_lifetime(self: copy self)
    mutating func takeString(byteCount: Int) -> String? {
        guard byteCount <= NBD.longestString, byteCount <= remaining else { return nil }
        var utf8: [UInt8] = []
        utf8.reserveCapacity(byteCount)
        for index in position..<position + byteCount { utf8.append(bytes.loadBigEndian(UInt8.self, at: index)) }
        position += byteCount
        return utf8.contains(0) ? nil : String(validating: utf8, as: UTF8.self)
    }
}
