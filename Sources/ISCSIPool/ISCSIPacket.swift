#if ISCSI
    import BlockStorage
    import IORuntime

    /// The header of a packet that a target sends (RFC 7143, 11).
    struct ISCSIPacket {
        enum Kind: UInt8 {
            case ping = 0x20, response = 0x21, taskManagement = 0x22, login = 0x23, text = 0x24, data = 0x25
            case logout = 0x26, requestForData = 0x31, message = 0x32
        }

        static let headerByteCount = 48
        static let noTag = UInt32.max

        /// Nil for what no initiator that asks for nothing else gets.
        let kind: Kind?
        let flags: UInt8
        /// Of a command: whether the target took it, and how it ended. Of task management the first is the answer.
        let response: UInt8
        let status: UInt8
        let hasAdditionalHeader: Bool
        /// Of what follows the header, without its padding.
        let dataByteCount: Int
        /// The unit that a ping or a request for data is about, which its answer names again.
        let unit: UInt64
        /// Of the request that it answers.
        let tag: UInt32
        /// By which the target knows what it wants an answer to.
        let targetTag: UInt32
        /// The number of this answer, where it is one.
        let statusNumber: UInt32
        /// Requests with numbers up to this one are taken.
        let lastTakenNumber: UInt32
        /// Of a login: its status. Of a message: what has happened, in the upper byte.
        let code: UInt16
        /// Of data or of a request for data: where in the command's bytes it begins.
        let offset: Int
        /// Of a request for data: how much is asked for. Of a command that has ended: how much was not transferred.
        let count: Int

        /// The bytes must be a header at least.
        init(_ bytes: RawSpan) {
            let first = bytes.loadBigEndian(UInt32.self, at: 0)
            kind = Kind(rawValue: UInt8(first >> 24) & 0x3f)
            flags = UInt8(first >> 16 & 0xff)
            response = UInt8(first >> 8 & 0xff)
            status = UInt8(first & 0xff)
            let lengths = bytes.loadBigEndian(UInt32.self, at: 4)
            hasAdditionalHeader = lengths >> 24 != 0
            dataByteCount = Int(lengths & 0xff_ffff)
            unit = bytes.loadBigEndian(UInt64.self, at: 8)
            tag = bytes.loadBigEndian(UInt32.self, at: 16)
            targetTag = bytes.loadBigEndian(UInt32.self, at: 20)
            statusNumber = bytes.loadBigEndian(UInt32.self, at: 24)
            lastTakenNumber = bytes.loadBigEndian(UInt32.self, at: 32)
            code = bytes.loadBigEndian(UInt16.self, at: 36)
            offset = Int(bytes.loadBigEndian(UInt32.self, at: 40))
            count = Int(bytes.loadBigEndian(UInt32.self, at: 44))
        }

        /// With its padding.
        var paddedDataByteCount: Int { (dataByteCount + 3) & ~3 }
        /// Of data: whether the command ends with it.
        var hasStatus: Bool { flags & 0x81 == 0x81 }
        /// Of a login: whether it ends its stage, that stage, and the one that follows.
        var isTransit: Bool { flags & 0x80 != 0 }
        var stage: UInt8 { flags >> 2 & 3 }
        var nextStage: UInt8 { flags & 3 }
        /// Of a login or a text: whether more of it follows in another packet.
        var isContinued: Bool { flags & 0x40 != 0 }
        /// Of a command that has ended: bytes that were not transferred.
        var missingByteCount: Int { flags & 0x02 != 0 ? count : 0 }
        /// Whether the packet has a number of its own in the order of answers.
        var isAnswer: Bool {
            switch kind {
            case .data: hasStatus
            case .ping: tag != Self.noTag
            case .requestForData: false
            default: true
            }
        }
    }

    /// The header of a packet for the target.
    struct ISCSIRequest {
        enum Kind: UInt8 {
            case ping = 0x00, command = 0x01, taskManagement = 0x02, login = 0x03, text = 0x04, data = 0x05
            case logout = 0x06
        }

        private(set) var bytes = InlineArray<48, UInt8>(repeating: 0)

        /// One that `isImmediate` has its place before all commands that wait at the target.
        init(_ kind: Kind, flags: UInt8, isImmediate: Bool = false, dataByteCount: Int = 0) {
            bytes[0] = kind.rawValue | (isImmediate ? 0x40 : 0)
            bytes[1] = flags
            put(UInt32(dataByteCount) & 0xff_ffff, at: 4)
        }

        /// Stores a number, big-endian.
        mutating func put<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
            var span = bytes.mutableSpan
            var raw = unsafe span.mutableBytes
            raw.storeBigEndian(value, at: offset)
        }

        /// The unit, as REPORT LUNS writes it.
        mutating func put(unit: UInt16) { put(unit, at: 8) }

        /// The unit that a target's packet names.
        mutating func put(unitOf packet: ISCSIPacket) { put(packet.unit, at: 8) }

        mutating func put(block: InlineArray<16, UInt8>) {
            unsafe put(block.span.bytes.loadBigEndian(UInt64.self, at: 0), at: 32)
            unsafe put(block.span.bytes.loadBigEndian(UInt64.self, at: 8), at: 40)
        }
    }

    /// The text of a login or of a list of targets: keys and values.
    struct ISCSIKeys {
        let pairs: [(key: Substring, value: Substring)]

        /// Throws `connectionLost` for what is no such text.
        init(_ data: [UInt8]) throws(StorageError) {
            var pairs: [(key: Substring, value: Substring)] = []
            for bytes in data.split(separator: 0) {
                let parts = String(decoding: bytes, as: UTF8.self).split(
                    separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2 else {
                    throw StorageError(
                        .connectionLost, "log in", why: "the target's answer is no text of keys and values")
                }
                pairs.append((parts[0], parts[1]))
            }
            self.pairs = pairs
        }

        /// The value of the first `key=value`.
        subscript(key: String) -> String? { pairs.first { $0.key == key }.map { String($0.value) } }

        /// Keys and values as they are sent.
        static func text(_ pairs: KeyValuePairs<String, String>) -> [UInt8] {
            pairs.flatMap { (key, value) -> [UInt8] in Array("\(key)=\(value)".utf8) + [0] }
        }
    }
#endif
