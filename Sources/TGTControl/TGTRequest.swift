/// A request of tgtd's management protocol, as `tgtadm.h` lays it out: a structure of the host's own byte order, and
/// perhaps a text that ends in a zero byte. The answer is an error's number, its length, and perhaps a text.
struct TGTRequest: Sendable {
    /// What the request is about: `MODE_…`.
    enum Mode: UInt32, Sendable {
        case system = 0
        case target = 1
        case device = 2
        case portal = 3
        case connection = 6
        case account = 7
    }

    /// What is done to it: `OP_…`.
    enum Operation: UInt32, Sendable {
        case new = 0
        case delete = 1
        case show = 2
        case bind = 3
        case unbind = 4
        case update = 5
        case statistics = 6
    }

    var mode: Mode
    var operation: Operation
    /// Of all targets: -1.
    var target: Int32 = 0
    var session: UInt64 = 0
    var unit: UInt64 = 0
    var connection: UInt32 = 0
    /// `ACCOUNT_TYPE_…`.
    var direction: UInt32 = 0
    var isForced = false

    init(_ mode: Mode, _ operation: Operation, target: Int32 = 0, unit: UInt64 = 0) {
        (self.mode, self.operation, self.target, self.unit) = (mode, operation, target, unit)
    }

    /// Of the structure.
    static let headerByteCount = 120
    /// Of the text with the zero byte: tgtd takes no more.
    static let largestTextByteCount = 8192
    /// Of the structure before an answer's text.
    static let answerHeaderByteCount = 8
    /// The longest answer that is read: what some ten thousand targets take.
    static let largestAnswerByteCount = 32 << 20

    /// All of the request.
    func bytes(text: String) -> [UInt8] {
        let body = text.isEmpty ? [] : Array(text.utf8) + [0]
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerByteCount + body.count)
        bytes.append(mode.rawValue)
        bytes.append(operation.rawValue)
        let driver = Array("iscsi".utf8)
        bytes += driver
        bytes += [UInt8](repeating: 0, count: 64 - driver.count)
        bytes.append(UInt32(clamping: Self.headerByteCount + body.count))
        bytes.append(UInt32(bitPattern: target))
        bytes.append(session)
        bytes.append(unit)
        bytes.append(connection)
        // The host's number, which only other drivers have, and the kind of device, a disk.
        bytes.append(UInt32(0))
        bytes.append(UInt32(0))
        bytes.append(direction)
        bytes.append(UInt32(0))
        bytes.append(UInt32(isForced ? 1 : 0))
        return bytes + body
    }
}

extension [UInt8] {
    /// In the host's own order.
    fileprivate mutating func append(_ value: some FixedWidthInteger) {
        let size = value.bitWidth / 8
        for index in 0..<size {
            #if _endian(little)
                let shift = 8 * index
            #else
                let shift = 8 * (size - 1 - index)
            #endif
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// The number at `offset`, in the host's own order; nil past the end.
    func number(at offset: Int) -> UInt32? {
        guard offset >= 0, offset + 4 <= count else { return nil }
        var value: UInt32 = 0
        for index in 0..<4 {
            #if _endian(little)
                value |= UInt32(self[offset + index]) << (8 * index)
            #else
                value = value << 8 | UInt32(self[offset + index])
            #endif
        }
        return value
    }
}
