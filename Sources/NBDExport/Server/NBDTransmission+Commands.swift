import BlockStorage
import IORuntime

/// Carrying out requests that were found to be valid, and answering them.
extension NBDTransmission {
    /// Reads into `buffer`, behind the room for the reply's header, and sends both as one.
    func performRead(_ request: NBDRequest, _ buffer: inout IOBuffer, _ signal: IOSignal) async {
        let byteCount = Int(request.length)
        if byteCount == 0 { return await replySuccess(to: request, signal) }
        do throws(StorageError) {
            let data = Self.dataOffset..<Self.dataOffset + byteCount
            try await session.read(into: &buffer, data, at: request.offset)
        } catch {
            log(error, request)
            return await reply(
                to: request, failure: NBDErrorNumber(error, isWrite: false), error.summary, signal)
        }
        counters.bytesRead &+= UInt64(byteCount)

        let headerByteCount: Int
        if session.usesStructuredReplies {
            // Zeros are found at the speed of memory and need not be sent; data is told from them at its first byte.
            if buffer.bytes.extracting(Self.dataOffset..<Self.dataOffset + byteCount).isZero {
                return await replies.append(upTo: NBDReply.holeByteCount, signal) { bytes in
                    NBDReply.storeHole(
                        cookie: request.cookie, offset: request.offset, length: request.length, into: &bytes)
                    return NBDReply.holeByteCount
                }
            }
            headerByteCount = NBDReply.dataHeaderByteCount
        } else {
            headerByteCount = NBDReply.simpleByteCount
        }
        let start = Self.dataOffset - headerByteCount
        var memory = buffer.mutableBytes
        if session.usesStructuredReplies {
            NBDReply.storeDataHeader(
                cookie: request.cookie, offset: request.offset, length: byteCount, into: &memory, at: start)
        } else {
            NBDReply.storeSimple(cookie: request.cookie, error: nil, into: &memory, at: start)
        }
        let reply = memory.bytes.extracting(start..<Self.dataOffset + byteCount)
        if byteCount <= Self.shortDataByteCount {
            await replies.append(reply, signal)
        } else {
            await replies.sendInPlace(reply, signal)
        }
    }

    /// Writes the payload that was received.
    func performWrite(_ request: NBDRequest, _ data: RawSpan, _ signal: IOSignal) async {
        do throws(StorageError) {
            if data.byteCount > 0 {
                try await session.write(
                    data, at: request.offset,
                    options: request.flags.contains(.forceUnitAccess) ? .forceUnitAccess : [])
            }
        } catch {
            log(error, request)
            return await reply(
                to: request, failure: NBDErrorNumber(error, isWrite: true), error.summary, signal)
        }
        counters.bytesWritten &+= UInt64(data.byteCount)
        await replySuccess(to: request, signal)
    }

    /// Carries out a request without data.
    func serveControl(_ command: NBDCommand, _ request: NBDRequest, _ signal: IOSignal) async {
        let volume = session.volume
        do throws(StorageError) {
            switch command {
            case .flush: try await volume.flush()
            case .trim where request.length > 0:
                try await volume.discard(request.range)
                if request.flags.contains(.forceUnitAccess) { try await volume.flush() }
            case .writeZeroes where request.length > 0:
                try await volume.writeZeroes(request.range, options: ZeroOptions(request.flags))
            case .cache: try await fetch(request.range)
            case .blockStatus: return await replyBlockStatus(try await blockStatus(of: request), to: request, signal)
            case .read, .write, .disconnect, .trim, .writeZeroes: break
            }
        } catch {
            // A client that asks for fast zeros expects to hear that there are none.
            if error.code != .notSupported { log(error, request) }
            let number = NBDErrorNumber(error, isWrite: command == .trim || command == .writeZeroes)
            return await reply(to: request, failure: number, error.summary, signal)
        }
        await replySuccess(to: request, signal)
    }

    /// Reads a range so that the caches below have it. As this is only a hint, no more is read than one request may.
    private func fetch(_ range: Range<UInt64>) async throws(StorageError) {
        let piece = UInt64(1 << 20)
        var buffer = IOBuffer(byteCount: Int(piece))
        let end = min(range.upperBound, range.lowerBound.addingSaturating(UInt64(NBD.largestPayload)))
        var offset = range.lowerBound
        while offset < end {
            let byteCount = Int(min(piece, end - offset))
            var memory = buffer.mutableBytes
            var data = memory._mutatingExtracting(0..<byteCount)
            try await session.read(into: &data, at: offset)
            offset += UInt64(byteCount)
        }
    }

    /// Looks extents up a part at a time, so that neither a range of 4 GiB nor tiny clusters cost unbounded memory.
    private func blockStatus(of request: NBDRequest) async throws(StorageError) -> NBDBlockStatus {
        var status = NBDBlockStatus(requested: request.range, requestOne: request.flags.contains(.requestOne))
        let part = UInt64(64 << 20)
        while true {
            let start = status.end
            let end = min(request.range.upperBound, start.addingSaturating(part))
            guard status.add(try await session.volume.extents(in: start..<end)) else { return status }
            if status.end == start {
                throw StorageError(.internalError, "list extents", at: "byte \(start)", why: "the volume reported none")
            }
        }
    }

    // MARK: - Replies

    private func replyBlockStatus(_ status: NBDBlockStatus, to request: NBDRequest, _ signal: IOSignal) async {
        await replies.append(upTo: NBDBlockStatus.longestReply, signal) { bytes in
            status.store(cookie: request.cookie, into: &bytes)
        }
    }

    /// The reply to a request that succeeded and returns no data.
    @inline(__always)
    private func replySuccess(to request: NBDRequest, _ signal: IOSignal) async {
        let isStructured = session.usesStructuredReplies
        await replies.append(upTo: NBDReply.chunkHeaderByteCount, signal) { bytes in
            if isStructured {
                NBDReply.storeLastChunk(.none, cookie: request.cookie, length: 0, into: &bytes)
                return NBDReply.chunkHeaderByteCount
            }
            NBDReply.storeSimple(cookie: request.cookie, error: nil, into: &bytes)
            return NBDReply.simpleByteCount
        }
    }

    /// The reply to a request that failed.
    func reply(
        to request: NBDRequest, failure: NBDErrorNumber, _ message: String, _ signal: IOSignal
    ) async {
        counters.errors &+= 1
        let isStructured = session.usesStructuredReplies
        await replies.append(upTo: NBDReply.longestShortReply, signal) { bytes in
            if isStructured {
                return NBDReply.storeError(cookie: request.cookie, error: failure, message: message, into: &bytes)
            }
            NBDReply.storeSimple(cookie: request.cookie, error: failure, into: &bytes)
            return NBDReply.simpleByteCount
        }
    }
}

extension NBDSession {
    /// Reads in transfers no larger than the volume takes.
    func read(into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64) async throws(StorageError) {
        if part.count <= Int(geometry.largestTransfer) {
            return try await volume.read(into: &buffer, part, at: offset)
        }
        var memory = buffer.mutableBytes
        var data = memory._mutatingExtracting(part)
        try await read(into: &data, at: offset)
    }

    func read(into data: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        if data.byteCount <= Int(geometry.largestTransfer) {
            return try await volume.read(into: &data, at: offset)
        }
        var done = 0
        while done < data.byteCount {
            let count = min(data.byteCount - done, Int(geometry.largestTransfer))
            var part = data._mutatingExtracting(done..<done + count)
            try await volume.read(into: &part, at: offset + UInt64(done))
            done += count
        }
    }

    /// Writes in transfers no larger than the volume takes.
    func write(_ data: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        if data.byteCount <= Int(geometry.largestTransfer) {
            return try await volume.write(data, at: offset, options: options)
        }
        var done = 0
        while done < data.byteCount {
            let count = min(data.byteCount - done, Int(geometry.largestTransfer))
            try await volume.write(
                data.extracting(done..<done + count), at: offset + UInt64(done), options: options)
            done += count
        }
    }
}

extension ZeroOptions {
    /// What the flags of `NBD_CMD_WRITE_ZEROES` ask for.
    init(_ flags: NBDCommandFlags) {
        self = []
        if flags.contains(.forceUnitAccess) { insert(.forceUnitAccess) }
        if flags.contains(.noHole) { insert(.keepAllocated) }
        if flags.contains(.fastZero) { insert(.fastOnly) }
    }
}

extension StorageError {
    /// What a client may know: neither paths nor the reasons in them.
    fileprivate var summary: String { "\(what): \(code.rawValue)" }
}
