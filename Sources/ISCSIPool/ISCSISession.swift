#if ISCSI
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// One session with a target, on one TCP connection (RFC 7143), of error recovery level 0: a session that breaks is
    /// not mended. It is ended, which takes every command and its memory back at once, and a new one is made.
    ///
    /// Nothing is believed that a target sends. Data goes to the memory of the command that asked for it, in its order,
    /// and no further; a target is given the data that its command has; everything else has a bounded length. Whatever
    /// breaks a rule ends the session.
    @safe
    final class ISCSISession: @unchecked Sendable {
        // Sound: until it serves commands the session belongs to the one task that logs in; after that it is behind its
        // link's lock.
        // What is not checked at every access is never changed while it is in use: closures that are called meanwhile
        // touch other properties, and handlers are not called meanwhile.
        @safe @exclusivity(unchecked) private var connection: ISCSIConnection
        /// Whom the session is with.
        let address: String
        /// Of which portal it is, counted in a circle.
        var turn = 0
        /// Where failures are noted that the target tells of late.
        private let lateFailure: Locked<SCSIStatus?>
        /// The unit that commands go to, as REPORT LUNS writes it.
        var lun: UInt16 = 0
        private(set) var isEnded = false
        /// Why what the target has sent is not taken.
        private(set) var objection: StorageError?

        // MARK: - What both sides have agreed on

        /// Bytes of data that the target takes in one packet, and in those that come with or after a request.
        var largestDataByteCount = 8192
        var firstBurstByteCount = 65536
        var takesImmediateData = true
        /// Headers carry a checksum.
        var hasDigest = false

        // MARK: - Numbers (RFC 7143, 4.2.2)

        private var requestNumber: UInt32 = 1
        private var lastTakenNumber: UInt32 = 1
        /// Nil until the first answer, which may have any.
        private var expectedStatusNumber: UInt32?
        private var nextTag: UInt32 = 0

        // MARK: - What is outstanding

        /// What the answer to a request that is no command is, and that answer.
        struct Reply {
            let packet: ISCSIPacket
            let data: [UInt8]
        }
        private var awaited: ISCSIPacket.Kind?
        private var reply: Reply?
        /// The commands that the target has, at the places that their tags say.
        @safe @exclusivity(unchecked) private var commands: [ISCSICommand?] = []
        @safe @exclusivity(unchecked) private var freePlaces: [Int] = []
        var commandCount: Int { commands.count - freePlaces.count }
        /// Commands that have ended since the last look.
        @safe @exclusivity(unchecked) private var returned: [ISCSICommand] = []
        /// The command that data is on its way to, what is to come of it, and whether the command ends with it.
        private var incoming: ISCSICommand?
        private var incomingRest = 0
        private var incomingPadding = 0
        private var incomingEnd: ISCSIPacket?
        /// Pings since nothing was left to be sent.
        private var pingCount = 0
        /// How many answers are taken at once.
        private var moderation = ISCSIModeration()

        /// Commands that have places; other requests have the place behind.
        private static let largestCommandCount = 0xffff
        /// Of every request that is no command: the parts of a login, or of a list, have one and the same.
        private static let requestTag: UInt32 = 0xffff
        /// Pings that may wait for their answers to be sent.
        private static let largestPingCount = 256
        /// Of everything but a command's data; it must come as a whole. Targets that know of no agreement send 8 KiB.
        static let largestTextByteCount = 64 << 10
        /// Of data in one packet.
        static let largestReceivedByteCount = 256 << 10
        /// Calls that receive, before others have their turn.
        private static let largestReceiptCount = 4

        init(_ socket: Socket, at address: String, silence: Duration, lateFailure: Locked<SCSIStatus?>) {
            connection = ISCSIConnection(socket, silence: silence)
            descriptor = socket.descriptor.rawValue
            (self.address, self.lateFailure) = (address, lateFailure)
        }

        deinit { end() }

        /// Polled for readiness, also without the lock: open as long as this object.
        let descriptor: Int32

        // MARK: - Requests

        /// Whether the target takes another command.
        var hasRoom: Bool { Int32(bitPattern: lastTakenNumber &- requestNumber) >= 0 }

        /// Whether something waits to be sent.
        var wantsToSend: Bool { connection.wantsToSend }

        /// Queues a command, for `lun` or another unit. False where the session takes no more.
        func queue(_ command: ISCSICommand, to unit: UInt16? = nil) -> Bool {
            guard !isEnded, hasRoom else { return false }
            let request = command.request
            // It goes with its command, or when the target asks for it.
            let dataByteCount =
                request.direction == .toTarget && takesImmediateData
                ? min(request.byteCount, largestDataByteCount, firstBurstByteCount) : 0
            let direction: UInt8 =
                switch request.direction {
                case .none: 0
                case .fromTarget: 0x40
                case .toTarget: 0x20
                }
            let place = freePlaces.popLast() ?? commands.count
            guard place < Self.largestCommandCount else { return false }
            if place == commands.count { commands.append(nil) }
            commands[place] = command
            moderation.awaitedByteCount += Self.awaitedByteCount(of: command)
            command.tag = newTag(place)
            command.number = requestNumber
            // No data follows unasked; any order will do.
            var header = ISCSIRequest(.command, flags: 0x80 | direction | 0x01, dataByteCount: dataByteCount)
            header.put(unit: unit ?? lun)
            header.put(command.tag, at: 16)
            header.put(UInt32(request.byteCount), at: 20)
            header.put(block: request.block)
            queue(&header)
            if dataByteCount > 0 {
                command.transferred = dataByteCount
                connection.queue(0..<dataByteCount, of: command)
            }
            return true
        }

        /// A tag that was not used for long, of which the lower half is a place.
        private func newTag(_ place: Int) -> UInt32 {
            nextTag = (nextTag &+ 1) % 0xffff
            return nextTag << 16 | UInt32(place)
        }

        /// Adds the numbers to a header, and queues it.
        private func queue(_ header: inout ISCSIRequest) {
            let isImmediate = header.bytes[0] & 0x40 != 0
            header.put(requestNumber, at: 24)
            header.put(expectedStatusNumber ?? 0, at: 28)
            if !isImmediate { requestNumber &+= 1 }
            connection.queue(header, hasDigest: hasDigest)
        }

        /// Sends a request that is no command, and waits for its answer. Only while nobody else uses the session. Throws
        /// `cancelled` when the task is cancelled, and `connectionLost`.
        func exchange(
            _ what: String, _ request: ISCSIRequest, _ data: [UInt8] = [], answeredBy kind: ISCSIPacket.Kind
        ) async throws(StorageError) -> Reply {
            guard !isEnded else { throw failure(.connectionLost, what) }
            var request = request
            request.put(Self.requestTag, at: 16)
            queue(&request)
            connection.queue(data)
            connection.queue(repeatElement(0, count: (4 - data.count % 4) % 4))
            reply = nil
            awaited = kind
            defer { awaited = nil }
            try await drive(what) { reply != nil }
            guard let reply else { throw failure(.connectionLost, what) }
            return reply
        }

        /// Sends and receives until `isDone`.
        func drive(_ what: String, until isDone: () -> Bool) async throws(StorageError) {
            while !isDone() {
                // A target that always has something to say keeps nobody here.
                if Task.isCancelled { throw StorageError(.cancelled, what) }
                let isAlive = send() && receive()
                takeReturned { command in command.finish(command.outcome ?? .lost) }
                // What the target sent before it ended the connection counts.
                if isDone() { return }
                guard isAlive else { throw failure(.connectionLost, what) }
                do throws(SystemError) {
                    _ = try await IOExecutor.ready(descriptor, for: POLLIN | (wantsToSend ? POLLOUT : 0))
                } catch {
                    throw StorageError(error, what)
                }
            }
        }

        /// Says to the target that the session ends, and waits until it has heard. What it answers is not looked at.
        func logOut() async throws(StorageError) {
            guard !isEnded else { return }
            var request = ISCSIRequest(.logout, flags: 0x80, isImmediate: true)
            request.put(Self.requestTag, at: 16)
            queue(&request)
            do throws(SystemError) {
                while send(), wantsToSend { _ = try await IOExecutor.ready(descriptor, for: POLLOUT) }
                _ = try await IOExecutor.ready(descriptor, for: POLLIN)
            } catch {
                throw StorageError(error, "log out")
            }
        }

        /// Sends what the socket takes. False when the session is lost.
        func send() -> Bool {
            guard !isEnded, connection.send() else { return false }
            if !wantsToSend { pingCount = 0 }
            return true
        }

        // MARK: - Answers

        /// Lets `handler`, which keeps this session, hear of what comes next: `receive` takes it. The end of the session
        /// ends the wait. Only on an executor's thread.
        func wait(then handler: any IOCompletionHandler) {
            connection.set(leastByteCount: moderation.nextLeastByteCount(commandCount))
            connection.receive(then: handler)
        }

        /// Takes `count` bytes that a wait has brought, or what else has come; minus an `errno` is why it brought none.
        /// False when the session is lost.
        func receive(_ count: Int? = nil) -> Bool {
            guard !isEnded else { return false }
            moderation.hasReceived = true
            if let count, count < 0 {
                objection = broken(
                    "the connection to \(address) has failed: \(Errno(rawValue: Int32(clamping: -count)))")
                return false
            }
            do throws(StorageError) {
                let receipt = count.map { connection.add($0) } ?? .more
                if receipt == .lost { return false }
                // Something may have come that was not looked at before an answer was.
                try process()
                if receipt == .all { return true }
                for _ in 0..<Self.largestReceiptCount {
                    let end = incoming?.transferred ?? 0
                    let receipt = connection.receive(end - incomingRest..<end, of: incoming) { incomingRest -= $0 }
                    if receipt == .lost { return false }
                    try process()
                    if receipt == .all || awaited == .login && reply != nil { break }
                }
                return true
            } catch {
                objection = error
                return false
            }
        }

        /// Whether a wait is under way that only several answers end.
        var isModerated: Bool { connection.leastByteCount > 1 && !isEnded }

        /// Whether each answer is taken alone for a while, because others did not come.
        var isModerationPaused: Bool { moderation.isPaused }

        /// Ends the wait for several answers where nothing has come since the last call.
        func lookForStillness() {
            if moderation.isStill() { connection.set(leastByteCount: 1) }
        }

        /// What is still to come of a command's answer, if it succeeds.
        private static func awaitedByteCount(of command: ISCSICommand) -> Int {
            let isRead = command.request.direction == .fromTarget
            return ISCSIPacket.headerByteCount + (isRead ? command.request.byteCount - command.transferred : 0)
        }

        /// Takes every packet that has come.
        private func process() throws(StorageError) {
            // What follows a login's answer may look different from what came before.
            while !(awaited == .login && reply != nil) {
                if let incoming {
                    guard takeData(of: incoming) else { return }
                    self.incoming = nil
                    if let packet = incomingEnd { end(incoming, packet) }
                }
                let headerByteCount = ISCSIPacket.headerByteCount + (hasDigest ? 4 : 0)
                guard let headerMemory = unsafe connection.peek(headerByteCount) else { return }
                // Sound: the connection receives nothing before this has been taken.
                let header = unsafe RawSpan(_unsafeBytes: headerMemory)
                let packet = ISCSIPacket(header)
                if hasDigest { try checkDigest(header) }
                if packet.hasAdditionalHeader { throw broken("the target sends a header that nobody knows") }
                if packet.kind == .data, awaited == nil {
                    let command = try self.command(packet)
                    try accept(data: packet, for: command)
                    note(packet)
                    connection.drop(headerByteCount)
                    incomingRest = packet.dataByteCount
                    incomingPadding = packet.paddedDataByteCount - packet.dataByteCount
                    if takeData(of: command) {
                        if packet.hasStatus { end(command, packet) }
                    } else {
                        (incoming, incomingEnd) = (command, packet.hasStatus ? packet : nil)
                    }
                    continue
                }
                guard packet.dataByteCount <= Self.largestTextByteCount else {
                    throw broken("the target's answer is too long")
                }
                let byteCount = headerByteCount + packet.paddedDataByteCount
                guard let memory = unsafe connection.peek(byteCount) else { return }
                // Sound: as above.
                let bytes = unsafe RawSpan(_unsafeBytes: memory)
                try take(packet, bytes.extracting(headerByteCount..<headerByteCount + packet.dataByteCount))
                note(packet)
                connection.drop(byteCount)
            }
        }

        private func broken(_ why: String) -> StorageError { StorageError(.connectionLost, "use session", why: why) }

        private func checkDigest(_ header: RawSpan) throws(StorageError) {
            let sent = header.loadBigEndian(UInt32.self, at: ISCSIPacket.headerByteCount).byteSwapped
            guard CRC32C.checksum(header.extracting(first: ISCSIPacket.headerByteCount)) == sent else {
                throw broken("a packet's header has been changed on its way")
            }
        }

        private func note(_ packet: ISCSIPacket) {
            if packet.isAnswer,
                expectedStatusNumber.map({ Int32(bitPattern: packet.statusNumber &- $0) >= 0 }) != false
            {
                expectedStatusNumber = packet.statusNumber &+ 1
            }
            if Int32(bitPattern: packet.lastTakenNumber &- lastTakenNumber) > 0 {
                lastTakenNumber = packet.lastTakenNumber
            }
        }

        /// Takes what has come of a command's data. False where more is to come.
        private func takeData(of command: ISCSICommand) -> Bool {
            let count = min(incomingRest, connection.heldByteCount)
            let start = command.transferred - incomingRest
            if count > 0 { connection.take(start..<start + count, of: command) }
            incomingRest -= count
            if incomingRest == 0, incomingPadding > 0 {
                let padding = min(incomingPadding, connection.heldByteCount)
                connection.drop(padding)
                incomingPadding -= padding
            }
            return incomingRest == 0 && incomingPadding == 0
        }

        private var unasked: StorageError { broken("the target answers what it was not asked") }

        private func command(_ packet: ISCSIPacket) throws(StorageError) -> ISCSICommand {
            let place = Int(packet.tag & 0xffff)
            guard place < commands.count, let command = commands[place], command.tag == packet.tag else {
                throw unasked
            }
            return command
        }

        /// While an answer is awaited only that may come, and pings.
        private func take(_ packet: ISCSIPacket, _ data: RawSpan) throws(StorageError) {
            switch packet.kind {
            case .ping? where awaited != .login: try take(ping: packet)
            case let kind? where awaited == kind && packet.tag == Self.requestTag && reply == nil:
                reply = Reply(packet: packet, data: unsafe data.withUnsafeBytes { unsafe Array($0) })
            case .message? where awaited != .login:
                // What a target says of itself (RFC 7143, 11.9.1): after all of these the session ends anyway.
                if (1...4).contains(packet.code >> 8) { throw broken("the target ends the session") }
            case .response? where awaited == nil:
                let command = try self.command(packet)
                // What is queued of it would be sent from memory that is somebody else's by then.
                guard command.unsentCount == 0 else {
                    throw broken("the target ends a command whose data it has asked for")
                }
                end(command, packet, sense: data)
            case .requestForData? where awaited == nil: try send(packet)
            default: throw unasked
            }
        }

        private func take(ping packet: ISCSIPacket) throws(StorageError) {
            guard packet.tag == ISCSIPacket.noTag else { throw unasked }
            guard packet.targetTag != ISCSIPacket.noTag else { return }
            pingCount += 1
            guard pingCount <= Self.largestPingCount else { throw broken("the target pings, and takes no answers") }
            var header = ISCSIRequest(.ping, flags: 0x80, isImmediate: true)
            header.put(unitOf: packet)
            header.put(ISCSIPacket.noTag, at: 16)
            header.put(packet.targetTag, at: 20)
            queue(&header)
        }

        /// Data comes in order, and no more than there is room for.
        private func accept(data packet: ISCSIPacket, for command: ISCSICommand) throws(StorageError) {
            guard command.request.direction == .fromTarget, packet.offset == command.transferred,
                packet.dataByteCount <= command.request.byteCount - command.transferred
            else { throw broken("the target sends other data than it was asked for") }
            command.transferred += packet.dataByteCount
            moderation.awaitedByteCount -= packet.dataByteCount
        }

        /// Data is asked for in order, too, only what the command has, and no more before that is sent.
        private func send(_ packet: ISCSIPacket) throws(StorageError) {
            let command = try command(packet)
            guard command.request.direction == .toTarget, command.unsentCount == 0, packet.count > 0,
                packet.offset == command.transferred, packet.count <= command.request.byteCount - packet.offset
            else { throw broken("the target asks for other data than there is") }
            let end = packet.offset + packet.count
            var number: UInt32 = 0
            for offset in stride(from: packet.offset, to: end, by: largestDataByteCount) {
                let count = min(largestDataByteCount, end - offset)
                var header = ISCSIRequest(.data, flags: offset + count == end ? 0x80 : 0, dataByteCount: count)
                header.put(unitOf: packet)
                header.put(command.tag, at: 16)
                header.put(packet.targetTag, at: 20)
                header.put(expectedStatusNumber ?? 0, at: 28)
                header.put(number, at: 36)
                header.put(UInt32(offset), at: 40)
                connection.queue(header, hasDigest: hasDigest)
                connection.queue(offset..<offset + count, of: command)
                number += 1
            }
            command.transferred = end
        }

        /// Takes a command back that the target has ended.
        private func end(_ command: ISCSICommand, _ packet: ISCSIPacket, sense: RawSpan = RawSpan()) {
            let place = Int(command.tag & 0xffff)
            commands[place] = nil
            freePlaces.append(place)
            moderation.awaitedByteCount -= Self.awaitedByteCount(of: command)
            let outcome = outcome(of: command, packet, sense)
            if case .refused(let status) = outcome, status.isDeferred { lateFailure.withLock { $0 = $0 ?? status } }
            command.end(outcome)
            returned.append(command)
        }

        private func outcome(of command: ISCSICommand, _ packet: ISCSIPacket, _ sense: RawSpan) -> ISCSICommand.Outcome
        {
            // Whatever the target says of it.
            let missing = max(packet.missingByteCount, command.request.byteCount - command.transferred)
            // The target has not taken the command, or not to its end.
            if packet.kind == .response, packet.response != 0 { return .lost }
            if packet.status == SCSIStatus.good { return .good(missing: missing) }
            guard packet.status == SCSIStatus.checkCondition else { return .refused(SCSIStatus(code: packet.status)) }
            // It begins with its length.
            let length = sense.byteCount < 2 ? 0 : Int(sense.loadBigEndian(UInt16.self, at: 0))
            let refusal = SCSIStatus(
                sense: sense.extracting(droppingFirst: min(2, sense.byteCount)).extracting(first: length))
            return refusal.isGood ? .good(missing: missing) : .refused(refusal)
        }

        /// Calls `body` with each command that came back. Those that come back as lost say that the session is.
        func takeReturned(_ body: (ISCSICommand) -> Void) {
            if returned.isEmpty { return }
            for command in returned { body(command) }
            returned.removeAll(keepingCapacity: true)
        }

        // MARK: - The end

        /// Whether the target has a command that is late.
        func isLate(_ now: UInt64) -> Bool { commands.contains { $0.map { $0.due <= now } == true } }

        /// Takes everything back from the target and closes the connection. Returns the commands that the target had,
        /// in the order in which they were sent.
        @discardableResult
        func end() -> [ISCSICommand] {
            if isEnded { return [] }
            isEnded = true
            connection.end(discarding: commandCount > 0 || wantsToSend)
            let taken = commands.compactMap(\.self).sorted {
                Int32(bitPattern: $0.number &- requestNumber) < Int32(bitPattern: $1.number &- requestNumber)
            }
            (commands, freePlaces, incoming) = ([], [], nil)
            return taken
        }

        /// The error of what has failed because the session is lost.
        func failure(_ code: StorageError.Code, _ what: String) -> StorageError {
            StorageError(
                objection?.code ?? code, what, at: objection == nil ? address : "",
                why: objection?.why ?? "the target has ended the connection")
        }
    }
#endif
