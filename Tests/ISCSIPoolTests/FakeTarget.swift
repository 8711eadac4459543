#if ISCSI
    import BlockStorage
    import IORuntime

    @testable import ISCSIPool

    /// A target that speaks just enough iSCSI for a disk of 1 MiB, and answers as a test tells it to.
    final class FakeTarget: Sendable {
        enum Reply: Sendable {
            /// What the disk would answer.
            case asUsual
            /// The disk does what is asked, and the connection ends before it answers.
            case doneThenEnd
            case data([UInt8])
            case status(UInt8, sense: [UInt8] = [])
            /// Exactly these bytes.
            case raw([UInt8])
            /// Nothing, and the connection stays.
            case silence
            /// Nothing, and the connection ends.
            case end
        }

        /// A request: its header, the descriptor block in it, and what came with it.
        struct Request: Sendable {
            var header: [UInt8]
            var data: [UInt8]

            var operation: UInt8 { header[0] & 0x3f }
            var command: UInt8? { operation == 0x01 ? header[32] : nil }
            /// The block that a command of 10 bytes is about, and how many.
            var place: Int { Int(header[32 + 4]) << 8 | Int(header[32 + 5]) }
            var count: Int { Int(header[32 + 7]) << 8 | Int(header[32 + 8]) }

            static let login: UInt8 = 0x03
        }

        static let blockCount = 2048
        static let iqn = "iqn.2026-01.org.sluice:fake"

        let port: UInt16
        private let listener: Socket
        private let disk = Locked([UInt8](repeating: 0, count: blockCount * 512))
        private let blocks = Locked(blockCount)
        private let pieceByteCount: Int
        private let answer: @Sendable (Request) -> Reply

        /// Serves until the object goes. Answers are sent in pieces of at most `pieceByteCount` bytes.
        init(
            pieceByteCount: Int = .max, _ answer: @escaping @Sendable (Request) -> Reply
        ) async throws(SystemError) {
            (self.pieceByteCount, self.answer) = (pieceByteCount, answer)
            listener = try await Socket.listen(.tcp(host: "127.0.0.1", port: 0))
            port = listener.localPort ?? 0
            let listener = listener
            // Not on the threads that other tests may hold.
            let executor = IOExecutorGroup.shared.next()
            Task.detached(executorPreference: executor) { [weak self] in
                while let connection = try? await listener.accept() {
                    Task.detached(executorPreference: executor) { [weak self] in try? await self?.serve(connection) }
                }
            }
        }

        deinit { listener.shutDown() }

        /// The size that READ CAPACITY answers from now on.
        func resize(blockCount: Int) { blocks.withLock { $0 = blockCount } }

        func settings(otherPorts: [UInt16] = [], isMutual: Bool = false) -> ISCSITarget {
            func user(_ name: String) -> ISCSITarget.Credentials? {
                isMutual ? .init(user: name, secret: Secret("secret-of-\(name)")) : nil
            }
            return ISCSITarget(
                portals: ([port] + otherPorts).map { "127.0.0.1:\($0)" }, name: Self.iqn,
                initiatorName: "iqn.2026-01.org.sluice:test", credentials: user("initiator"),
                targetCredentials: user("target"))
        }

        /// A busy machine may need more than one attempt within a deadline that a test makes short.
        func open(
            deadline: Duration = .seconds(60), attempts: Int = 10, attachment: ISCSIVolume.Attachment = .shared,
            otherPorts: [UInt16] = [], isMutual: Bool = false
        ) async throws(StorageError) -> ISCSIVolume {
            var options = ISCSIVolume.Options()
            (options.deadline, options.attachment) = (deadline, attachment)
            let settings = settings(otherPorts: otherPorts, isMutual: isMutual)
            for _ in 1..<attempts {
                do throws(StorageError) {
                    return try await ISCSIVolume.open(settings, lun: 0, options: options)
                } catch {
                    guard error.code == .timedOut else { throw error }
                }
            }
            return try await ISCSIVolume.open(settings, lun: 0, options: options)
        }

        private func serve(_ connection: Socket) async throws(SystemError) {
            var status: UInt32 = 1
            while true {
                var header = [UInt8](repeating: 0, count: 48)
                var span = header.mutableRawBytes
                try await connection.receiveAll(into: &span)
                let length = Int(header[5]) << 16 | Int(header[6]) << 8 | Int(header[7])
                var data = [UInt8](repeating: 0, count: (length + 3) / 4 * 4)
                var rest = data.mutableRawBytes
                try await connection.receiveAll(into: &rest)
                let request = Request(header: header, data: Array(data.prefix(length)))
                var reply = answer(request)
                if case .asUsual = reply { reply = usual(request) }
                if case .doneThenEnd = reply {
                    _ = usual(request)
                    reply = .end
                }
                if case .silence = reply { continue }
                guard let bytes = Self.bytes(of: reply, to: request, status) else { return connection.shutDown() }
                var sent = 0
                while sent < bytes.count {
                    let count = min(pieceByteCount, bytes.count - sent)
                    try await connection.send(bytes.rawBytes.extracting(sent..<sent + count))
                    sent += count
                }
                status += 1
            }
        }

        private static func bytes(of reply: Reply, to request: Request, _ status: UInt32) -> [UInt8]? {
            switch reply {
            case .data(let data): return packet(0x25, 0x81, request, data, status, isShort: true)
            case .status(let code, let sense):
                let framed = sense.isEmpty ? [] : [0, UInt8(sense.count)] + sense
                return packet(0x21, 0x80, request, framed, status, code: code)
            case .raw(let raw): return raw
            case .end, .silence, .asUsual, .doneThenEnd: return nil
            }
        }

        /// A packet that answers `request`; `isShort` says how much less than expected it holds.
        static func packet(
            _ operation: UInt8, _ flags: UInt8, _ request: Request, _ data: [UInt8], _ status: UInt32 = 1,
            code: UInt8 = 0, isShort: Bool = false
        ) -> [UInt8] {
            var packet = [UInt8](repeating: 0, count: 48) + data
            packet.append(contentsOf: repeatElement(0, count: (4 - data.count % 4) % 4))
            func number(_ offset: Int) -> UInt32 {
                request.header[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
            }
            func put(_ value: UInt32, at offset: Int) {
                for index in 0..<4 { packet[offset + index] = UInt8(truncatingIfNeeded: value >> (24 - 8 * index)) }
            }
            put(UInt32(data.count), at: 4)
            (packet[0], packet[1], packet[3]) = (operation, flags, code)
            put(number(16), at: 16)
            put(UInt32.max, at: 20)
            put(status, at: 24)
            let isImmediate = request.header[0] & 0x40 != 0
            put(number(24) &+ (isImmediate ? 0 : 1), at: 28)
            put(number(24) &+ 64, at: 32)
            if isShort, UInt32(data.count) < number(20) {
                packet[1] |= 0x02
                put(number(20) - UInt32(data.count), at: 44)
            }
            return packet
        }

        private func usual(_ request: Request) -> Reply {
            switch request.operation {
            case Request.login: return .raw(Self.loginAnswer(request))
            case 0x00: return .raw(Self.packet(0x20, 0x80, request, []))
            case 0x02: return .raw(Self.packet(0x22, 0x80, request, []))
            case 0x06: return .raw(Self.packet(0x26, 0x80, request, []))
            case 0x01: return disk(request)
            default: return .silence
            }
        }

        static func loginAnswer(_ request: Request) -> [UInt8] {
            let isSecurity = request.header[1] & 0x0c == 0
            let keys =
                isSecurity
                ? ["AuthMethod=None", "TargetPortalGroupTag=1"]
                : [
                    "HeaderDigest=None", "DataDigest=None", "InitialR2T=Yes", "ImmediateData=Yes",
                    "MaxBurstLength=262144", "FirstBurstLength=65536", "MaxRecvDataSegmentLength=65536",
                ]
            var answer = packet(0x23, request.header[1], request, Array(keys.map { $0 + "\0" }.joined().utf8))
            // The session identifier comes back with a handle; version and status are 0.
            for index in 8..<14 { answer[index] = request.header[index] }
            (answer[3], answer[15]) = (0, 1)
            for index in 20..<24 { answer[index] = 0 }
            return answer
        }

        private func disk(_ request: Request) -> Reply {
            switch request.header[32] {
            case 0x00, 0x35: return .status(0)
            case 0xa0: return .data([0, 0, 0, 8, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8))
            case 0x12 where request.header[33] == 0:
                return .data([0, 0, 5, 2, 31] + [UInt8](repeating: 0x20, count: 31))
            case 0x12 where request.header[34] == 0x83:
                return .data([0, 0x83, 0, 12, 1, 3, 0, 8] + Array("NAAsluic".utf8))
            case 0x12 where request.header[34] == 0xb0:
                // At most 4 blocks for COMPARE AND WRITE.
                return .data([0, 0xb0, 0, 60, 0, 4] + [UInt8](repeating: 0, count: 58))
            case 0x9e where request.header[33] == 0x10:
                var answer = [UInt8](repeating: 0, count: 32)
                var bytes = answer.mutableRawBytes
                bytes.storeBigEndian(UInt64(blocks.withLock { $0 }) - 1, at: 0)
                bytes.storeBigEndian(UInt32(512), at: 8)
                return .data(answer)
            case 0x28:
                let range = request.place * 512..<(request.place + request.count) * 512
                return .data(disk.withLock { Array($0[range]) })
            case 0x2a:
                disk.withLock { disk in
                    disk.replaceSubrange(
                        request.place * 512..<request.place * 512 + request.data.count, with: request.data)
                }
                return .status(0)
            case 0x89: return compareAndWrite(request)
            default: return .status(2, sense: Self.sense(5, 0x2000))
            }
        }

        private func compareAndWrite(_ request: Request) -> Reply {
            let start = (Int(request.header[32 + 8]) << 8 | Int(request.header[32 + 9])) * 512
            let count = Int(request.header[32 + 13]) * 512
            guard request.data.count == 2 * count else { return .status(2, sense: Self.sense(5, 0x2400)) }
            return disk.withLock { disk in
                guard disk[start..<start + count].elementsEqual(request.data.prefix(count)) else {
                    return .status(2, sense: Self.sense(14, 0x1d00))
                }
                disk.replaceSubrange(start..<start + count, with: request.data.suffix(count))
                return .status(0)
            }
        }

        /// Sense data of the fixed format.
        static func sense(_ key: UInt8, _ additional: UInt16) -> [UInt8] {
            var sense = [UInt8](repeating: 0, count: 18)
            (sense[0], sense[2], sense[7]) = (0x70, key, 10)
            (sense[12], sense[13]) = (UInt8(additional >> 8), UInt8(additional & 0xff))
            return sense
        }
    }

    /// Counts what a fake target is asked.
    final class Counter: Sendable {
        private let count = Locked(0)

        /// How many have been counted.
        var value: Int { count.withLock { $0 } }

        /// How many have been counted before.
        func next() -> Int {
            count.withLock { count in
                defer { count += 1 }
                return count
            }
        }
    }

    /// The reservations of a fake target, of any number of portals.
    final class ReservingTarget: Sendable {
        private let keys = Locked<[[UInt8]]>([])
        private let generation = Locked(UInt8(1))
        private let keepsKeys: Bool

        /// Whether the target says that it keeps keys when it loses power.
        init(keepsKeys: Bool = true) { self.keepsKeys = keepsKeys }

        /// Forgets all keys, as a target that is started anew.
        func forget() {
            keys.withLock { $0 = [] }
            generation.withLock { $0 = 0 }
        }

        var keyCount: Int { keys.withLock { $0.count } }

        func reply(_ request: FakeTarget.Request) -> FakeTarget.Reply {
            switch (request.command, request.header[33] & 0x1f) {
            case (0x5e, 0):
                let generation = generation.withLock { $0 }
                return keys.withLock { .data([0, 0, 0, generation, 0, 0, 0, UInt8($0.count * 8)] + $0.joined()) }
            case (0x5f, 6) where !keepsKeys && request.data[20] & 1 != 0:
                return .status(2, sense: FakeTarget.sense(5, 0x2600))
            case (0x5f, 6):
                keys.withLock { keys in
                    let key = Array(request.data[8..<16])
                    if !keys.contains(key) { keys.append(key) }
                }
                return .status(0)
            case (0x5f, 0):
                keys.withLock { keys in keys.removeAll { $0 == Array(request.data[0..<8]) } }
                return .status(0)
            case (0x5f, 1): return .status(0)
            default: return .asUsual
            }
        }
    }
#endif
