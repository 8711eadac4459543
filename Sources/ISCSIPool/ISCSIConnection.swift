#if ISCSI
    import Glibc
    import IORuntime
    import SystemPackage

    /// The bytes of one connection: those that wait to be sent, gathered from where they are, and those that have come.
    ///
    /// Neither direction waits. Many packets go and come by one call, and data of any size goes from and to the memory
    /// that it belongs to.
    @safe
    struct ISCSIConnection: ~Copyable {
        // Sound: its session's alone. Memory that waits to be sent stays in place until its command is handed over,
        // before which it was sent, or the connection has ended.
        let socket: Socket

        // MARK: - To be sent

        /// Bytes that wait: of `memory`, or else of `own`.
        @safe
        private struct Piece {
            var memory: UnsafeRawPointer?
            var offset: Int
            var count: Int
            /// Whose memory it is.
            var command: ISCSICommand?
        }

        /// Headers, and what is copied.
        private var own: [UInt8] = []
        private var pieces: [Piece] = []
        /// The pieces before are sent, and of this one so much.
        private var next = 0
        private var sentOfNext = 0

        // MARK: - Received

        private var buffer = IOBuffer(byteCount: ISCSIConnection.capacity)
        /// What of the buffer has come, and is not taken.
        private var held = 0..<0
        /// What must have come before a wait ends.
        private(set) var leastByteCount = 1

        /// Large enough for many answers, and for what must come as a whole.
        static let capacity = 128 << 10
        private static let largestGatherCount = 256

        /// A peer that acknowledges nothing for as long as `silence`, at least two seconds, is gone: also while nothing
        /// is to be sent, as when only answers are lost.
        init(_ socket: Socket, silence: Duration) {
            self.socket = socket
            let seconds = Int32(clamping: min(max(silence, .seconds(2)), .seconds(1 << 20)).components.seconds)
            set(SOL_SOCKET, SO_KEEPALIVE, 1)
            set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, min(seconds / 2, 30))
            set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, min(max(1, seconds / 4), 10))
            set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, seconds * 1000)
        }

        /// From now on also a wait that is under way ends when so much has come, and no sooner.
        mutating func set(leastByteCount: Int) {
            if leastByteCount == self.leastByteCount { return }
            self.leastByteCount = leastByteCount
            set(SOL_SOCKET, SO_RCVLOWAT, Int32(clamping: leastByteCount))
        }

        private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            _ = unsafe setsockopt(
                socket.descriptor.rawValue, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }

        /// Closes both directions, and forgets all memory. Nothing may follow but the end of a `receive` that is under way.
        ///
        /// With `discarding` what the peer has not acknowledged is not sent again: it would fall on what is written by
        /// another connection.
        mutating func end(discarding: Bool) {
            if discarding {
                var option = linger(l_onoff: 1, l_linger: 0)
                _ = unsafe setsockopt(
                    socket.descriptor.rawValue, SOL_SOCKET, SO_LINGER, &option,
                    socklen_t(MemoryLayout<linger>.size))
            }
            socket.shutDown()
            (own, pieces, next, sentOfNext) = ([], [], 0, 0)
        }

        // MARK: - Sending

        var wantsToSend: Bool { !pieces.isEmpty }

        /// Adds bytes to be sent, which are copied.
        mutating func queue(_ bytes: some Collection<UInt8>) {
            let start = own.count
            own.append(contentsOf: bytes)
            queueOwn(from: start)
        }

        mutating func queue(_ request: ISCSIRequest, hasDigest: Bool) {
            let start = own.count
            let bytes = unsafe request.bytes.span.bytes
            // As bytes of a known type, which are appended at once.
            unsafe bytes.withUnsafeBytes { unsafe own.append(contentsOf: $0.assumingMemoryBound(to: UInt8.self)) }
            if hasDigest {
                let checksum = CRC32C.checksum(bytes)
                for shift in [0, 8, 16, 24] { own.append(UInt8(truncatingIfNeeded: checksum >> shift)) }
            }
            queueOwn(from: start)
        }

        private mutating func queueOwn(from start: Int) {
            let count = own.count - start
            if count == 0 { return }
            if let last = pieces.indices.last, unsafe pieces[last].memory == nil {
                // Sound: only whole sends empty `own`, so what is its own lies there in order.
                pieces[last].count += count
            } else {
                unsafe pieces.append(Piece(memory: nil, offset: start, count: count, command: nil))
            }
        }

        /// Adds a command's bytes to be sent, with their padding.
        mutating func queue(_ range: Range<Int>, of command: ISCSICommand) {
            unsafe command.forEachPiece(of: range) { memory in
                unsafe pieces.append(
                    Piece(
                        memory: UnsafeRawPointer(memory.baseAddress), offset: 0, count: memory.count, command: command))
                command.unsentCount += 1
            }
            queue(repeatElement(0, count: (4 - range.count % 4) % 4))
        }

        /// Sends what the socket takes. False when the connection is lost.
        mutating func send() -> Bool {
            while next < pieces.count {
                let count = sendSome()
                if count < 0 {
                    if errno == EINTR { continue }
                    guard errno == EAGAIN else { return false }
                    forgetSent()
                    return true
                }
                note(sent: count)
            }
            pieces.removeAll(keepingCapacity: true)
            own.removeAll(keepingCapacity: true)
            (next, sentOfNext) = (0, 0)
            return true
        }

        /// Gives up the room of what is sent, so that what waits never takes more than it needs.
        private mutating func forgetSent() {
            guard next >= Self.largestGatherCount else { return }
            pieces.removeFirst(next)
            next = 0
            let start = pieces.first { unsafe $0.memory == nil }?.offset ?? own.count
            own.removeFirst(start)
            for index in pieces.indices where unsafe pieces[index].memory == nil { pieces[index].offset -= start }
        }

        private func sendSome() -> Int {
            let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
            return unsafe own.withUnsafeBytes { own in
                // Sound: each piece lies in `own` as it is now, or in the memory of a command that is not back.
                let start = unsafe pieces[next].memory ?? own.baseAddress.map { unsafe $0 + pieces[next].offset }
                let rest = pieces[next].count - sentOfNext
                if next == pieces.count - 1 {
                    return unsafe Glibc.send(
                        socket.descriptor.rawValue, start.map { unsafe $0 + sentOfNext }, rest, flags)
                }
                let pieceCount = min(pieces.count - next, Self.largestGatherCount)
                return unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: pieceCount) { vector in
                    for index in 0..<pieceCount {
                        let piece = pieces[next + index]
                        let start = unsafe piece.memory ?? own.baseAddress.map { unsafe $0 + piece.offset }
                        let skipped = index == 0 ? sentOfNext : 0
                        unsafe vector.initializeElement(
                            at: index,
                            to: iovec(
                                iov_base: UnsafeMutableRawPointer(mutating: start.map { unsafe $0 + skipped }),
                                iov_len: piece.count - skipped))
                    }
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = vector.baseAddress
                    unsafe message.msg_iovlen = pieceCount
                    return unsafe sendmsg(socket.descriptor.rawValue, &message, flags)
                }
            }
        }

        private mutating func note(sent count: Int) {
            var rest = count
            while next < pieces.count, rest >= pieces[next].count - sentOfNext {
                rest -= pieces[next].count - sentOfNext
                pieces[next].command?.unsentCount -= 1
                pieces[next].command = nil
                (next, sentOfNext) = (next + 1, 0)
            }
            sentOfNext += rest
        }

        // MARK: - Receiving

        var heldByteCount: Int { held.count }

        enum Receipt { case all, more, lost }

        /// Receives what there is room for when at least `leastByteCount` have come, or the connection ends; `add` takes
        /// what `handler` is given. Nothing else may be called before but what sends, `set` and `end`. Only on an
        /// executor's thread, and `handler` must keep this connection.
        mutating func receive(then handler: any IOCompletionHandler) {
            let room = unsafe makeRoom()
            // Sound: the buffer lives as long as the handler, and nobody else looks at its room.
            unsafe socket.receive(into: room, then: handler)
        }

        mutating func add(_ count: Int) -> Receipt {
            if count == 0 { return .lost }
            held = held.lowerBound..<held.upperBound + count
            return held.upperBound == Self.capacity ? .more : .all
        }

        /// The part of the buffer behind what is held, which is moved to its start.
        private mutating func makeRoom() -> UnsafeMutableRawBufferPointer {
            if held.isEmpty {
                held = 0..<0
            } else if held.lowerBound > 0 {
                unsafe buffer.memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer.memory[held]))
                held = 0..<held.count
            }
            return unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.memory[held.upperBound...])
        }

        /// Receives what there is and room for: to the memory of `range` of a command first. `more` may be there where
        /// all room was used. `body` gets how many bytes came to the command's memory.
        mutating func receive(_ range: Range<Int>, of command: ISCSICommand?, _ body: (Int) -> Void) -> Receipt {
            let room = unsafe makeRoom()
            var count = 0
            var space = room.count
            if let command, !range.isEmpty, held.isEmpty {
                space += range.count
                unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: IOVector.capacity + 1) { vector in
                    var pieceCount = 0
                    var isWhole = true
                    unsafe command.forEachPiece(of: range) { piece in
                        guard pieceCount < IOVector.capacity else { return isWhole = false }
                        unsafe vector.initializeElement(
                            at: pieceCount, to: iovec(iov_base: piece.baseAddress, iov_len: piece.count))
                        pieceCount += 1
                    }
                    if isWhole {
                        unsafe vector.initializeElement(
                            at: pieceCount, to: iovec(iov_base: room.baseAddress, iov_len: room.count))
                        pieceCount += 1
                    }
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = vector.baseAddress
                    unsafe message.msg_iovlen = pieceCount
                    repeat {
                        count = unsafe recvmsg(socket.descriptor.rawValue, &message, Int32(MSG_DONTWAIT))
                    } while count < 0 && errno == EINTR
                }
            } else {
                if unsafe room.isEmpty { return .more }
                repeat {
                    count = unsafe recv(
                        socket.descriptor.rawValue, room.baseAddress, room.count, Int32(MSG_DONTWAIT))
                } while count < 0 && errno == EINTR
            }
            if count < 0 { return errno == EAGAIN ? .all : .lost }
            if count == 0 { return .lost }
            let direct = command != nil && held.isEmpty ? min(count, range.count) : 0
            if direct > 0 { body(direct) }
            held = held.lowerBound..<held.upperBound + count - direct
            return count == space ? .more : .all
        }

        /// The first bytes of what is held, until they are dropped; nil where there are not so many.
        func peek(_ count: Int) -> UnsafeRawBufferPointer? {
            guard count <= held.count else { return nil }
            return unsafe UnsafeRawBufferPointer(
                rebasing: buffer.memory[held.lowerBound..<held.lowerBound + count])
        }

        /// Takes the first bytes of what is held away; there must be so many.
        mutating func drop(_ count: Int) { held = held.lowerBound + count..<held.upperBound }

        /// Takes bytes that are held to the memory of `range` of a command; there must be so many.
        mutating func take(_ range: Range<Int>, of command: ISCSICommand) {
            unsafe command.forEachPiece(of: range) { piece in
                let end = held.lowerBound + piece.count
                unsafe piece.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer.memory[held.lowerBound..<end]))
                held = end..<held.upperBound
            }
        }
    }
#endif
