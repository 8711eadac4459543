#if ISCSI
    import BlockStorage
    import IORuntime

    /// The header of a packet that a target sends (RFC 7143, 11.2).
    struct ISCSIPacket {
        enum Kind: UInt8 {
            case ping = 0x20, response = 0x21, taskManagement = 0x22, login = 0x23, text = 0x24, data = 0x25
            case requestForData = 0x31, message = 0x32
        }

        static let headerByteCount = 48
        static let noTag = UInt32.max

        /// Nil for what no initiator that asks for nothing else gets.
        let kind: Kind?
        let flags: UInt8
        let hasAdditionalHeader: Bool
        /// Of what follows the header, without its padding.
        let dataByteCount: Int
        /// Of the request that it answers.
        let tag: UInt32
        /// By which the target knows what it wants an answer to.
        let targetTag: UInt32
        /// Of data or of a request for data: where in the command's bytes it begins, and how much is asked for.
        let offset: Int
        let requestedByteCount: Int
        /// Of a login: the class of its status, 0 for success. Of a message: what has happened.
        let code: UInt8

        /// The bytes must be a header at least.
        init(_ bytes: RawSpan) {
            kind = Kind(rawValue: bytes.loadBigEndian(UInt8.self, at: 0) & 0x3f)
            flags = bytes.loadBigEndian(UInt8.self, at: 1)
            let lengths = bytes.loadBigEndian(UInt32.self, at: 4)
            hasAdditionalHeader = lengths >> 24 != 0
            dataByteCount = Int(lengths & 0xff_ffff)
            tag = bytes.loadBigEndian(UInt32.self, at: 16)
            targetTag = bytes.loadBigEndian(UInt32.self, at: 20)
            code = bytes.loadBigEndian(UInt8.self, at: 36)
            offset = Int(bytes.loadBigEndian(UInt32.self, at: 40))
            requestedByteCount = Int(bytes.loadBigEndian(UInt32.self, at: 44))
        }

        /// Of data: whether the command ends with it.
        var hasStatus: Bool { flags & 0x81 == 0x81 }
        /// Of a login: whether it ends its stage, and that stage.
        var isTransit: Bool { flags & 0x80 != 0 }
        var stage: UInt8 { flags >> 2 & 3 }
    }

    /// The data of a login's answer.
    struct ISCSIKeys {
        private let pairs: [String]

        init(_ data: RawSpan) {
            var pairs: [String] = []
            var pair: [UInt8] = []
            for offset in 0..<data.byteCount {
                let byte = data.loadBigEndian(UInt8.self, at: offset)
                if byte != 0 {
                    pair.append(byte)
                } else {
                    pairs.append(String(decoding: pair, as: UTF8.self))
                    pair = []
                }
            }
            self.pairs = pairs + [String(decoding: pair, as: UTF8.self)]
        }

        /// The value of the first `key=value`.
        subscript(key: String) -> String? {
            pairs.first { $0.hasPrefix("\(key)=") }.map { String($0.dropFirst(key.utf8.count + 1)) }
        }
    }

    extension ISCSISession {
        /// Pings that may wait for their answers to be sent.
        private static let largestPingCount = 256

        private func objection(_ why: String) -> StorageError {
            StorageError(.connectionLost, "use session", why: why)
        }

        /// Throws for a packet that must not reach libiscsi. While a step is outstanding only its answer, of `kind`,
        /// may, and pings; a login's answer is there as a whole. True for one that ends a command.
        func check(_ packet: ISCSIPacket, _ data: RawSpan, expecting kind: ISCSIPacket.Kind?) throws(StorageError)
            -> Bool
        {
            if packet.hasAdditionalHeader { throw objection("the target sends a header that nobody knows") }
            switch packet.kind {
            case .login? where kind == .login: try check(login: packet, ISCSIKeys(data))
            case .text? where kind == .text: break
            // It answers the one request that came after the last command.
            case .taskManagement? where kind == .taskManagement && packet.tag == lastTag &+ 1: break
            case .ping? where kind != .login:
                guard packet.tag == ISCSIPacket.noTag else { throw unasked }
                if packet.targetTag != ISCSIPacket.noTag { pingCount += 1 }
                guard pingCount <= Self.largestPingCount else {
                    throw objection("the target pings, and takes no answers")
                }
            case .message? where kind == nil: try check(message: packet)
            case .response? where kind == nil:
                _ = try command(packet)
                return true
            case .data? where kind == nil:
                try check(data: packet)
                return packet.hasStatus
            case .requestForData? where kind == nil: try check(requestForData: packet)
            default: throw unasked
            }
            return false
        }

        private var unasked: StorageError { objection("the target answers what it was not asked") }

        private func command(_ packet: ISCSIPacket) throws(StorageError) -> ISCSICommand {
            guard let command = commands[packet.tag] else { throw unasked }
            return command
        }

        /// Data comes in order, and no more than there is room for.
        private func check(data packet: ISCSIPacket) throws(StorageError) {
            let command = try command(packet)
            guard command.request.direction == .fromTarget, packet.offset == command.transferred,
                packet.dataByteCount <= command.request.byteCount - command.transferred
            else { throw objection("the target sends other data than it was asked for") }
            command.transferred += packet.dataByteCount
        }

        /// So is data asked for, and only what the command has: libiscsi queues packets for as much as a target says.
        private func check(requestForData packet: ISCSIPacket) throws(StorageError) {
            let command = try command(packet)
            guard command.request.direction == .toTarget, packet.requestedByteCount > 0,
                packet.offset >= command.transferred, packet.offset <= command.request.byteCount,
                packet.requestedByteCount <= command.request.byteCount - packet.offset
            else { throw objection("the target asks for other data than there is") }
            command.transferred = packet.offset + packet.requestedByteCount
        }

        /// What a target says of itself (RFC 7143, 11.9.1). After all but the first the session ends anyway.
        private func check(message packet: ISCSIPacket) throws(StorageError) {
            if (1...4).contains(packet.code) { throw objection("the target ends the session") }
        }

        private func check(login packet: ISCSIPacket, _ keys: ISCSIKeys) throws(StorageError) {
            if let length = keys["MaxRecvDataSegmentLength"], UInt32(length).map({ $0 >= 512 }) != true {
                // libiscsi would send data in pieces of that, for ever.
                throw StorageError(.connectionLost, "log in", why: "the target takes no data")
            }
            if let digest = keys["HeaderDigest"] { agreesOnDigest = digest == "CRC32C" }
            if packet.stage == 0, keys["CHAP_R"] != nil { hasProof = true }
            let isFailure = packet.code != 0
            if needsProof, !hasProof, !isFailure, packet.isTransit || packet.stage != 0 {
                throw StorageError(.authenticationFailed, "log in", why: "the target does not prove itself")
            }
        }
    }
#endif
