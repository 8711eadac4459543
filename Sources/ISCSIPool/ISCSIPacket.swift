#if ISCSI
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// The packet that a target sends next, before libiscsi has it (RFC 7143, 11.2).
    struct ISCSIPacket {
        /// What answers a step.
        enum Kind: UInt8 { case taskManagement = 0x22, login = 0x23, text = 0x24 }

        static let headerByteCount = 48
        let bytes: [UInt8]

        var operation: UInt8 { bytes[0] & 0x3f }
        var tag: UInt32 { bytes.rawBytes.loadBigEndian(UInt32.self, at: 16) }
        /// With its header and its padding, without checksums.
        var byteCount: Int {
            let data = Int(bytes[5]) << 16 | Int(bytes[6]) << 8 | Int(bytes[7])
            return Self.headerByteCount + Int(bytes[4]) * 4 + (data + 3) / 4 * 4
        }
        /// Of a login: whether it ends its stage, that stage, and the next.
        var isTransit: Bool { bytes[1] & 0x80 != 0 }
        var stage: UInt8 { bytes[1] >> 2 & 3 }

        /// Nil for less than a header.
        init?(_ bytes: [UInt8]) {
            guard bytes.count >= Self.headerByteCount else { return nil }
            self.bytes = bytes
        }

        /// The value of one `key=value` of the data.
        func value(of key: String) -> String? {
            for pair in bytes.dropFirst(Self.headerByteCount).split(separator: 0)
            where pair.starts(with: "\(key)=".utf8) {
                return String(decoding: pair.dropFirst(key.utf8.count + 1), as: UTF8.self)
            }
            return nil
        }
    }

    extension ISCSISession {
        /// More than a login or a list of targets that libiscsi takes.
        private static let largestPacket = 1 << 19
        /// Linux's POLLRDHUP, which Glibc shows to GNU programs only.
        private static let peerHasEnded: Int16 = 0x2000

        /// Looks at the packet that is to answer a step. False until all of it is there.
        ///
        /// libiscsi takes data and requests for data that name a login or a reset for those of a command, and falls
        /// over: nothing but the answer itself may reach it. It is at the start of a packet here: without a step it
        /// stops reading behind the answer to its last request, and in a login behind every packet.
        func admit(_ kind: ISCSIPacket.Kind, _ what: String) throws(StorageError) -> Bool {
            let start = peek(ISCSIPacket.headerByteCount)
            // The end of the connection is libiscsi's to notice, but what comes only now is not.
            if start.bytes.isEmpty { return start.isLast }
            guard let header = ISCSIPacket(start.bytes) else {
                if start.isLast { throw StorageError(.connectionLost, what, why: "the target has gone away") }
                return false
            }
            guard header.operation == kind.rawValue, header.byteCount <= Self.largestPacket else {
                throw StorageError(.connectionLost, what, why: "the target does not answer what it was asked")
            }
            if kind == .taskManagement, header.tag != lastTag &+ 1 {
                throw StorageError(.connectionLost, what, why: "the target answers what it was not asked")
            }
            guard kind == .login else { return true }
            let all = peek(header.byteCount)
            guard all.bytes.count == header.byteCount, let packet = ISCSIPacket(all.bytes) else {
                if all.isLast { throw StorageError(.connectionLost, what, why: "the target has gone away") }
                return false
            }
            try check(login: packet)
            return true
        }

        private func check(login packet: ISCSIPacket) throws(StorageError) {
            if let length = packet.value(of: "MaxRecvDataSegmentLength"), UInt32(length).map({ $0 >= 512 }) != true {
                // libiscsi would send data in pieces of that, for ever.
                throw StorageError(.connectionLost, "log in", why: "the target takes no data")
            }
            if packet.stage == 0, packet.value(of: "CHAP_R") != nil { hasProof = true }
            let isFailure = packet.bytes[36] != 0
            if needsProof, !hasProof, !isFailure, packet.isTransit || packet.stage != 0 {
                throw StorageError(.authenticationFailed, "log in", why: "the target does not prove itself")
            }
        }

        /// What has come, without taking it, and whether nothing will follow it.
        private func peek(_ count: Int) -> (bytes: [UInt8], isLast: Bool) {
            guard let descriptor = socket?.descriptor.rawValue else { return ([], true) }
            var poll = pollfd(fd: descriptor, events: Self.peerHasEnded, revents: 0)
            let isLast = unsafe Glibc.poll(&poll, 1, 0) > 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
                let flags = Int32(MSG_PEEK | MSG_DONTWAIT)
                used = unsafe max(0, recv(descriptor, buffer.baseAddress, count, flags))
            }
            return (bytes, isLast)
        }
    }
#endif
