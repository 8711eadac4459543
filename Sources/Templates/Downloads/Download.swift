#if Downloads
    import BlockStorage
    import IORuntime
    import NIOCore

    /// One attempt at a file: fetches segments of it from whichever locations are good, and tries again elsewhere.
    final class Download: Sendable {
        let history: Locked<DownloadHistory>
        let session: HTTPSession
        let file: DownloadFile
        let limits: DownloadLimits
        /// Who waits for a location to be free.
        private let waiters = Locked(Waiters())

        private struct Waiters {
            var nextID = 0
            var waiting: [Waiter] = []
        }

        private struct Waiter {
            let id: Int
            /// The lowest goes first.
            let order: Int
            let avoided: Int?
            let continuation: CheckedContinuation<Result<Int, StorageError>, Never>
        }

        init(_ history: Locked<DownloadHistory>, _ session: HTTPSession, _ limits: DownloadLimits) {
            self.history = history
            self.session = session
            self.limits = limits
            file = history.withLock { $0.file }
        }

        /// What the download is called in messages that are about all locations.
        var place: String { file.locations.count == 1 ? file.locations[0].description : file.name }

        // MARK: Locations

        /// Waits for a location that may be asked. Whoever gets it gives it back by `end`.
        func acquire(order: Int, avoiding avoided: Int? = nil) async throws(StorageError) -> Int {
            let id = waiters.withLock { waiters in
                waiters.nextID += 1
                return waiters.nextID
            }
            let result = await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    waiters.withLock {
                        $0.waiting.append(Waiter(id: id, order: order, avoided: avoided, continuation: continuation))
                        $0.waiting.sort { $0.order < $1.order }
                    }
                    if Task.isCancelled { cancelWaiter(id) }
                    serveWaiters()
                }
            } onCancel: {
                cancelWaiter(id)
            }
            return try result.get()
        }

        private func cancelWaiter(_ id: Int) {
            let waiter = waiters.withLock { waiters in
                waiters.waiting.firstIndex { $0.id == id }.map { waiters.waiting.remove(at: $0) }
            }
            waiter?.continuation.resume(returning: .failure(StorageError(.cancelled, "download", at: place)))
        }

        /// Gives the free locations to those who wait.
        private func serveWaiters() {
            let now = ContinuousClock.now
            var resumptions: [(Waiter, Result<Int, StorageError>)] = []
            let wake = waiters.withLock { waiters -> ContinuousClock.Instant? in
                history.withLock { history in
                    var rest: [Waiter] = []
                    for waiter in waiters.waiting {
                        if history.table.isExhausted {
                            resumptions.append((waiter, .failure(history.table.summary("download", at: place))))
                        } else if let index = history.table.take(avoiding: waiter.avoided, at: now) {
                            resumptions.append((waiter, .success(index)))
                        } else {
                            rest.append(waiter)
                        }
                    }
                    waiters.waiting = rest
                    return rest.isEmpty ? nil : history.table.nextRested(after: now)
                }
            }
            for (waiter, result) in resumptions { waiter.continuation.resume(returning: result) }
            if let wake {
                Task {
                    try? await Task.sleep(until: wake, clock: .continuous)
                    serveWaiters()
                }
            }
        }

        /// Gives a location back, with what came of it.
        func end(_ change: (inout DownloadHistory) -> Void) {
            history.withLock { change(&$0) }
            serveWaiters()
        }

        /// Gives a location back after a request that failed; a cancelled one is not held against it.
        func end(_ index: Int, failedBy error: StorageError, target: DownloadLocation?) {
            end { history in
                if error.code == .cancelled {
                    history.table.giveBack(index)
                } else {
                    history.fail(index, error, target: target)
                }
            }
        }

        // MARK: Versions

        /// Where to ask a location, and how to get the version that it had before and no other.
        func target(of index: Int) -> (location: DownloadLocation, isRedirected: Bool, ifRange: String?) {
            history.withLock { history in
                let version = history.versions[index]
                let answer = HTTPAnswer(
                    status: 200, location: file.locations[index], entityTag: version?.entityTag,
                    modifiedAt: version?.modifiedAt, hasEnd: true)
                let target = history.targets[index]
                return (target ?? file.locations[index], target != nil, answer.ifRange)
            }
        }

        /// Throws `conflict` unless the answer is of the version that the location had first, and of the size that is
        /// known. `size` is what the answer says.
        func check(_ answer: HTTPAnswer, size: UInt64?, from index: Int) throws(StorageError) {
            let name = file.locations[index].description
            let version = SourceVersion(
                location: name, entityTag: answer.entityTag, modifiedAt: answer.modifiedAt, size: size)
            if let size, size > limits.largestSize {
                throw StorageError(
                    .unsafeImage, "download", at: name,
                    why: "it has \(size) bytes, and \(limits.largestSize) are allowed")
            }
            if let size, let expected = file.size, size != expected {
                throw StorageError(
                    .conflict, "download", at: name, why: "it has \(size) bytes, and \(expected) were announced")
            }
            try history.withLock { history throws(StorageError) in
                if let first = history.versions[index] {
                    let changes = first.changes(to: version)
                    guard changes.isEmpty else {
                        throw StorageError(
                            .conflict, "download", at: name,
                            why: "the source changed while it was downloaded: " + changes.joined(separator: ", "))
                    }
                } else {
                    history.versions[index] = version
                }
                history.targets[index] = answer.location == file.locations[index] ? nil : answer.location
            }
        }

        // MARK: Segments

        /// The bytes of a segment, compared with the checksums of its pieces where there are any.
        ///
        /// Asks one location after the other, and goes on where a connection was cut. Throws, when no location is left,
        /// what became of each.
        func fetch(_ segment: Int, of plan: SegmentPlan) async throws(StorageError) -> ByteBuffer {
            let range = plan.range(of: segment)
            var avoided: Int?
            var partial: (location: Int, bytes: ByteBuffer)?
            while true {
                let index = try await acquire(order: segment, avoiding: avoided)
                avoided = index
                if partial?.location != index { partial = nil }
                let receiver = SegmentReceiver(self, index, range, of: plan.size, partial?.bytes ?? ByteBuffer())
                let (location, isRedirected, ifRange) = target(of: index)
                do throws(StorageError) {
                    try await session.get(location, bytes: receiver.missing, ifRange: ifRange, into: receiver)
                    guard receiver.missing.isEmpty else {
                        throw StorageError(
                            .connectionLost, "download", at: location.description,
                            why: "the answer ends \(receiver.missing.count) bytes too early")
                    }
                } catch {
                    end(index, failedBy: error, target: isRedirected ? location : nil)
                    if error.code == .cancelled { throw error }
                    partial = receiver.missing.isEmpty ? nil : (index, receiver.bytes)
                    continue
                }
                let bytes = receiver.bytes
                if let why = try wrongPiece(in: bytes, segment, plan) {
                    partial = nil
                    end {
                        $0.table.giveBack(index)
                        $0.table.countChecksumFailure(index, why)
                    }
                    continue
                }
                let sent = try plan.hasPieces || file.locations.count == 1 ? nil : digest(bytes, .sha256)
                end {
                    $0.table.succeed(index, byteCount: bytes.readableBytes)
                    $0.contributors.insert(index)
                    if let sent { $0.sent[segment] = .init(location: index, checksum: sent) }
                }
                return bytes
            }
        }

        private func wrongPiece(
            in bytes: ByteBuffer, _ segment: Int, _ plan: SegmentPlan
        ) throws(StorageError) -> String? {
            for piece in plan.pieces(of: segment) {
                guard
                    let slice = bytes.getSlice(
                        at: bytes.readerIndex + piece.range.lowerBound, length: piece.range.count)
                else { return "a piece is missing" }
                guard try digest(slice, piece.checksum.algorithm) == piece.checksum else {
                    let start = plan.range(of: segment).lowerBound
                    return "bytes \(start + UInt64(piece.range.lowerBound)) to "
                        + "\(start + UInt64(piece.range.upperBound)) have another checksum than the metalink says"
                }
            }
            return nil
        }

        func digest(_ bytes: ByteBuffer, _ algorithm: Checksum.Algorithm) throws(StorageError) -> Checksum {
            let digester = try Digester(algorithm)
            try digester.add(bytes.readableBytesSpan)
            return try digester.finish()
        }
    }

    /// Takes the bytes of one segment, and no others.
    private final class SegmentReceiver: HTTPReceiver {
        private let download: Download
        private let index: Int
        private let range: Range<UInt64>
        private let size: UInt64
        private let buffer: Locked<ByteBuffer>

        init(_ download: Download, _ index: Int, _ range: Range<UInt64>, of size: UInt64, _ bytes: ByteBuffer) {
            (self.download, self.index, self.range, self.size) = (download, index, range, size)
            buffer = Locked(bytes)
        }

        var bytes: ByteBuffer { buffer.withLock { $0 } }

        /// What is still to come.
        var missing: Range<UInt64> { range.lowerBound + UInt64(bytes.readableBytes)..<range.upperBound }

        func begin(_ answer: HTTPAnswer) throws(StorageError) -> Bool {
            let name = answer.location.description
            guard answer.status == 200 || answer.status == 206 else { throw answer.statusFailure() }
            let total = answer.status == 206 ? answer.contentRange?.total : answer.contentLength
            try download.check(answer, size: total, from: index)
            guard answer.status == 206 else {
                throw StorageError(
                    .notSupported, "download", at: name, why: "the server does not give parts of the file any more")
            }
            guard let given = answer.contentRange?.bytes, total == size, given.lowerBound == missing.lowerBound,
                given.upperBound <= missing.upperBound
            else {
                let text = answer.contentRange.map { "\($0.bytes.map { "\($0)" } ?? "none") of \($0.total ?? 0)" }
                throw StorageError(
                    .inputOutput, "download", at: name,
                    why: "bytes \(missing) of \(size) were asked for, and \(text ?? "unknown ones") are given")
            }
            if let length = answer.contentLength, length != UInt64(given.count) {
                throw StorageError(
                    .inputOutput, "download", at: name,
                    why: "the server gives \(given.count) bytes of the file and announces \(length)")
            }
            return true
        }

        func receive(_ bytes: ByteBuffer) throws(StorageError) {
            guard bytes.readableBytes <= missing.count else {
                throw StorageError(
                    .corrupt, "download", at: download.file.locations[index].description,
                    why: "the server sends more than it was asked for")
            }
            buffer.withLock { _ = $0.writeImmutableBuffer(bytes) }
        }
    }
#endif
