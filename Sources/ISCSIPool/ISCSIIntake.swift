#if ISCSI
    import BlockStorage
    import CISCSI
    import Glibc
    import IORuntime
    import SystemPackage

    /// What a target sends, on its way to libiscsi.
    ///
    /// libiscsi 1.19 believes each packet: it queues data for every request, a gigabyte for one of that size, takes the
    /// data of a command for the answer to a login, does not count what it gets, and reads on for as long as anything
    /// comes. So the bytes are received here, a bounded number at a time and many packets at once, and every header is
    /// looked at. What passes reaches libiscsi by a pair of local sockets, one of which stands in the place of its
    /// connection while it receives.
    @safe
    final class ISCSIIntake {
        // Sound: the session's alone, as its context.
        private let connection: Int32
        private let stand: Socket
        private let feed: Socket
        private var buffer = IOBuffer(byteCount: capacity)
        /// What of the buffer has come, and has not passed.
        private var held = 0..<0
        /// How much of the packet that is passing is still to come.
        private var rest = 0
        /// What is held is still there to be received.
        private var isPeeked = false
        /// Packets among what is held that end a command, and whether the last one does, without padding: libiscsi
        /// leaves that to its next call.
        private var endCount = 0
        private var endsWithLast = false

        /// A login's answer is looked at as a whole; targets that know of no agreement send at most 8 KiB.
        private static let capacity = 128 << 10

        /// For a connection that stays open longer.
        init(_ connection: Socket) throws(SystemError) {
            self.connection = connection.descriptor.rawValue
            (stand, feed) = try Socket.pair()
            for socket in [stand, feed] {
                let descriptor = socket.descriptor.rawValue
                guard fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) == 0 else {
                    throw SystemError(Errno(rawValue: errno), "fcntl")
                }
            }
        }

        var heldByteCount: Int { held.count }

        /// Receives what there is, and room for. False when the connection has ended.
        ///
        /// `isLast` where one command is outstanding, and nothing waits to be sent: libiscsi reads no further than to its
        /// end then, so that it may read that itself.
        func receive(isLast: Bool) -> Bool {
            isPeeked = isLast && held.isEmpty && rest == 0
            if held.isEmpty {
                held = 0..<0
            } else if held.lowerBound > 0 {
                unsafe buffer.memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer.memory[held]))
                held = 0..<held.count
            }
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.memory[held.upperBound...])
            guard unsafe !room.isEmpty else { return true }
            let flags = Int32(isPeeked ? MSG_DONTWAIT | MSG_PEEK : MSG_DONTWAIT)
            let count = unsafe recv(connection, room.baseAddress, room.count, flags)
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            held = held.lowerBound..<held.upperBound + count
            return count > 0
        }

        /// Lets through what `check` says nothing against: of one packet, or of all that have come. A packet that is
        /// looked at as a whole waits until it is there. False where libiscsi ends the session.
        func pass(
            to descriptor: Int32, hasDigest: Bool, onlyOne: Bool, asWhole: Bool,
            _ check: (ISCSIPacket, RawSpan) throws(StorageError) -> Bool, _ serve: () -> Bool
        ) throws(StorageError) -> Bool {
            if held.isEmpty { return true }
            let end = try admitted(hasDigest: hasDigest, onlyOne: onlyOne, asWhole: asWhole, check)
            if isPeeked {
                isPeeked = false
                if end == held.upperBound, rest == 0, endCount == 1, endsWithLast {
                    held = 0..<0
                    return serve()
                }
                // Nothing is copied.
                guard recv(connection, nil, held.count, Int32(MSG_DONTWAIT | MSG_TRUNC)) == held.count else {
                    return false
                }
            }
            while held.lowerBound < end {
                let part = unsafe UnsafeRawBufferPointer(rebasing: buffer.memory[held.lowerBound..<end])
                let count = unsafe send(feed.descriptor.rawValue, part.baseAddress, part.count, Int32(MSG_NOSIGNAL))
                guard count > 0 else { return false }
                held = held.lowerBound + count..<held.upperBound
                guard standIn(for: descriptor, serve) else { return false }
            }
            return true
        }

        /// The end of what may pass.
        private func admitted(
            hasDigest: Bool, onlyOne: Bool, asWhole: Bool,
            _ check: (ISCSIPacket, RawSpan) throws(StorageError) -> Bool
        ) throws(StorageError) -> Int {
            endCount = 0
            let headerByteCount = ISCSIPacket.headerByteCount + (hasDigest ? 4 : 0)
            var position = held.lowerBound
            while position < held.upperBound {
                if rest == 0 {
                    guard held.upperBound - position >= headerByteCount else { break }
                    // Sound: the buffer lives as long as this object, and nothing receives meanwhile.
                    let here = unsafe UnsafeRawBufferPointer(rebasing: buffer.memory[position..<held.upperBound])
                    let bytes = unsafe RawSpan(_unsafeBytes: here)
                    let packet = ISCSIPacket(bytes)
                    let byteCount = headerByteCount + (packet.dataByteCount + 3) / 4 * 4
                    if asWhole, byteCount > bytes.byteCount {
                        guard byteCount <= Self.capacity else {
                            throw StorageError(.connectionLost, "log in", why: "the target's answer is too long")
                        }
                        break
                    }
                    let end = min(bytes.byteCount, headerByteCount + packet.dataByteCount)
                    let isEnd = try check(packet, bytes.extracting(headerByteCount..<end))
                    if isEnd { endCount += 1 }
                    endsWithLast = isEnd && packet.dataByteCount % 4 == 0
                    rest = byteCount
                }
                let count = min(rest, held.upperBound - position)
                position += count
                rest -= count
                if onlyOne, rest == 0 { break }
            }
            return position
        }

        /// Lets libiscsi take all that was fed to it: it stops behind any packet while nothing is outstanding.
        private func standIn(for descriptor: Int32, _ serve: () -> Bool) -> Bool {
            guard dup3(stand.descriptor.rawValue, descriptor, O_CLOEXEC) >= 0 else { return false }
            var isAlive = true
            var isEmpty = false
            var next: UInt8 = 0
            // Each call takes a packet at least.
            var callsLeft = Self.capacity / ISCSIPacket.headerByteCount
            repeat {
                isAlive = callsLeft > 0 && serve()
                callsLeft -= 1
                isEmpty = unsafe recv(stand.descriptor.rawValue, &next, 1, Int32(MSG_PEEK | MSG_DONTWAIT)) <= 0
            } while isAlive && !isEmpty
            return dup3(connection, descriptor, O_CLOEXEC) >= 0 && isAlive
        }
    }
#endif
