#if Downloads
    import BlockStorage
    import IORuntime
    import NIOCore

    /// The bytes of a file on web servers.
    ///
    /// Read in order they come in segments from several mirrors at once where that is possible, else in one answer. As
    /// a volume they are fetched as they are asked for: an image is converted without a copy of it on this host.
    final class DownloadInput: TemplateInput {
        /// Segments that are fetched ahead of the reader, in bytes: what a slow mirror may hold up.
        private static let window: UInt64 = 32 << 20
        private static let queueSize = 4 << 20

        /// How the servers can be asked.
        enum Mode: Sendable {
            case segments(SegmentPlan)
            /// The first location that answered gives the file as a whole, or not at all.
            case whole(size: UInt64?)
        }

        private let download: Download
        private let mode: Mode
        private let isVerified: Bool
        private let queue = ByteQueue(capacity: queueSize)
        private let driver = Locked<Task<Void, Never>?>(nil)
        private let isClosed = Locked(false)
        private let opened = Locked<DownloadVolume?>(nil)
        /// What was taken from the queue and not been read yet.
        private let rest = Locked(ByteBuffer())

        init(_ download: Download, _ mode: Mode, isVerified: Bool) {
            (self.download, self.mode, self.isVerified) = (download, mode, isVerified)
        }

        var byteCount: UInt64? {
            switch mode {
            case .segments(let plan): plan.size
            case .whole(let size): size
            }
        }

        var isRemote: Bool { true }
        var fileName: String? { download.file.name }
        var checksum: Checksum? { download.file.checksum }

        var version: SourceVersion? {
            download.history.withLock { history in history.versions.lazy.compactMap(\.self).first }
        }

        func compared(matches: Bool, _ why: String) -> Bool {
            download.history.withLock { $0.finishAttempt(matches: matches, why) }
        }

        func readNext(into buffer: inout MutableRawSpan) throws(StorageError) -> Int {
            start()
            var done = 0
            while done < buffer.byteCount {
                var chunk = rest.withLock { $0 }
                if chunk.readableBytes == 0 {
                    guard let next = try queue.next() else { break }
                    chunk = next
                }
                let count = min(chunk.readableBytes, buffer.byteCount - done)
                buffer.copy(from: chunk.readableBytesSpan.extracting(first: count), to: done)
                chunk.moveReaderIndex(forwardBy: count)
                done += count
                rest.withLock { [chunk] in $0 = chunk }
            }
            return done
        }

        func volume() throws(StorageError) -> (any ResizableVolume)? {
            guard case .segments(let plan) = mode else { return nil }
            let new = DownloadVolume(download, plan)
            let isClosed = opened.withLock { opened in
                opened = new
                return self.isClosed.withLock { $0 }
            }
            if isClosed { new.cancel() }
            return new
        }

        /// Each answer was compared with the first.
        func checkUnchanged() {}

        func cancel() {
            isClosed.withLock { $0 = true }
            queue.close()
            driver.withLock { $0 }?.cancel()
            opened.withLock { $0 }?.cancel()
        }

        func close() async {
            cancel()
            await driver.withLock { $0 }?.value
            await download.session.close()
        }

        // MARK: In order

        private func start() {
            driver.withLock { driver in
                guard driver == nil, !isClosed.withLock({ $0 }) else { return }
                driver = Task {
                    do throws(StorageError) {
                        switch mode {
                        case .segments(let plan): try await fetchSegments(plan)
                        case .whole: try await fetchWhole()
                        }
                        queue.finish(.success(()))
                    } catch {
                        queue.finish(.failure(error))
                    }
                }
            }
        }

        /// Fetches segments side by side, and hands them on in order.
        private func fetchSegments(_ plan: SegmentPlan) async throws(StorageError) {
            let ahead = max(2, Int(Self.window / plan.segmentSize))
            var running: [Task<Result<ByteBuffer, StorageError>, Never>] = []
            var next = 0
            func stop() async {
                for task in running { task.cancel() }
                for task in running { _ = await task.value }
            }
            while next < plan.count || !running.isEmpty {
                while next < plan.count, running.count < ahead {
                    running.append(
                        Task { [download, next] () async -> Result<ByteBuffer, StorageError> in
                            do throws(StorageError) {
                                return .success(try await download.fetch(next, of: plan))
                            } catch {
                                return .failure(error)
                            }
                        })
                    next += 1
                }
                let first = running[0]
                let result = await withTaskCancellationHandler {
                    await first.value
                } onCancel: {
                    first.cancel()
                }
                running.removeFirst()
                switch result {
                case .success(let bytes): await queue.push(bytes)
                case .failure(let error):
                    await stop()
                    throw error
                }
                if Task.isCancelled {
                    await stop()
                    throw StorageError(.cancelled, "download", at: download.place)
                }
            }
        }

        /// Reads one answer from beginning to end; after a failure another one, of which the part that was read
        /// already is compared and dropped.
        private func fetchWhole() async throws(StorageError) {
            let progress = WholeProgress()
            while true {
                let index = try await download.acquire(order: 0)
                let receiver = try WholeReceiver(download, index, isVerified, queue, progress)
                let (location, isRedirected, _) = download.target(of: index)
                do throws(StorageError) {
                    try await download.session.get(location, into: receiver)
                    try receiver.finish()
                } catch {
                    download.end(index, failedBy: error, target: isRedirected ? location : nil)
                    if error.code == .cancelled { throw error }
                    continue
                }
                download.end {
                    $0.table.succeed(index, byteCount: Int(clamping: progress.state.withLock { $0.byteCount }))
                    $0.contributors.insert(index)
                }
                return
            }
        }
    }

    /// What has been handed on of a file that comes as a whole, over all attempts.
    private final class WholeProgress: Sendable {
        struct State: Sendable {
            var byteCount: UInt64 = 0
            /// Of those bytes.
            var digester: Digester?
        }

        let state = Locked(State())
    }

    /// Takes one answer with all of a file.
    private final class WholeReceiver: HTTPReceiver {
        private struct State {
            var received: UInt64 = 0
            var expected: UInt64?
            /// Of the bytes that were handed on by an earlier attempt, until all of those have come again.
            var repeated: Digester?
        }

        private let download: Download
        private let index: Int
        private let isVerified: Bool
        private let queue: ByteQueue
        private let progress: WholeProgress
        private let state: Locked<State>

        init(
            _ download: Download, _ index: Int, _ isVerified: Bool, _ queue: ByteQueue, _ progress: WholeProgress
        ) throws(StorageError) {
            (self.download, self.index, self.isVerified) = (download, index, isVerified)
            (self.queue, self.progress) = (queue, progress)
            var state = State()
            let isFirst = progress.state.withLock { $0.digester == nil }
            let digester = try Digester(.sha256)
            if isFirst { progress.state.withLock { $0.digester = digester } } else { state.repeated = digester }
            self.state = Locked(state)
        }

        private var name: String { download.file.locations[index].description }

        func begin(_ answer: HTTPAnswer) throws(StorageError) -> Bool {
            guard answer.status == 200 else { throw answer.statusFailure() }
            try download.check(answer, size: answer.contentLength, from: index)
            let expected = answer.contentLength ?? download.file.size
            guard answer.hasEnd || expected != nil || isVerified else {
                throw StorageError(
                    .notSupported, "download", at: name,
                    why: "the server does not say how long the file is, so that a cut would pass for its end: "
                        + "give a checksum")
            }
            state.withLock { $0.expected = expected }
            return true
        }

        func receive(_ bytes: ByteBuffer) async throws(StorageError) {
            var bytes = bytes
            let received = state.withLock { state in
                state.received += UInt64(bytes.readableBytes)
                return state.received
            }
            guard received <= download.limits.largestSize else {
                throw StorageError(
                    .unsafeImage, "download", at: name,
                    why: "it has more than \(download.limits.largestSize) bytes")
            }
            if let expected = state.withLock({ $0.expected }), received > expected {
                throw StorageError(
                    .corrupt, "download", at: name, why: "it has more than the announced \(expected) bytes")
            }
            let known = progress.state.withLock { $0.byteCount }
            let start = received - UInt64(bytes.readableBytes)
            if start < known {
                let count = Int(min(known - start, UInt64(bytes.readableBytes)))
                try state.withLock { state throws(StorageError) in
                    try state.repeated?.add(bytes.readableBytesSpan.extracting(first: count))
                }
                bytes.moveReaderIndex(forwardBy: count)
                if start + UInt64(count) == known { try compareRepeated() }
            }
            guard bytes.readableBytes > 0 else { return }
            try progress.state.withLock { [bytes] progress throws(StorageError) in
                try progress.digester?.add(bytes.readableBytesSpan)
                progress.byteCount += UInt64(bytes.readableBytes)
            }
            await queue.push(bytes)
        }

        private func compareRepeated() throws(StorageError) {
            guard let repeated = state.withLock({ $0.repeated }) else { return }
            state.withLock { $0.repeated = nil }
            let before = try progress.state.withLock { progress throws(StorageError) in
                try progress.digester?.soFar()
            }
            guard try repeated.finish() == before else {
                throw StorageError(
                    .conflict, "download", at: name,
                    why: "the source changed while it was downloaded: it begins otherwise than before")
            }
        }

        /// Throws `connectionLost` unless all has come.
        func finish() throws(StorageError) {
            let (received, expected) = state.withLock { ($0.received, $0.expected) }
            guard expected.map({ $0 == received }) ?? true, received >= progress.state.withLock({ $0.byteCount }) else {
                throw StorageError(.connectionLost, "download", at: name, why: "the answer ends too early")
            }
        }
    }
#endif
