#if Downloads
    import BlockStorage
    import IORuntime
    import NIOCore
    import SystemPackage

    /// A file on a web server, or on the mirrors that a metalink names. For one import.
    public final class DownloadSource: TemplateSource {
        private enum Origin: Sendable {
            case server(DownloadLocation)
            case remoteMetalink(DownloadLocation)
            case localMetalink(FilePath)
        }

        private let origin: Origin
        private let options: DownloadOptions
        private let history = Locked<Locked<DownloadHistory>?>(nil)

        /// The file, or the metalink (`.metalink`, `.meta4`), at an `http:` or `https:` URL.
        ///
        /// A user and password in the URL are sent to that server and shown to nobody. Throws `invalidArgument` for
        /// what is no URL and `notSupported` for other schemes.
        public init(url: String, _ options: DownloadOptions = DownloadOptions()) throws(StorageError) {
            let location = try DownloadLocation(url, options.credentials)
            origin = Metalink.isName(location.fileName) ? .remoteMetalink(location) : .server(location)
            self.options = options
        }

        /// The file that a metalink on this host describes.
        public init(metalink path: FilePath, _ options: DownloadOptions = DownloadOptions()) {
            origin = .localMetalink(path)
            self.options = options
        }

        /// Whether a file of that name is taken for a metalink.
        public static func isMetalink(_ fileName: String) -> Bool { Metalink.isName(fileName) }

        public var name: String {
            switch origin {
            case .server(let location), .remoteMetalink(let location): location.description
            case .localMetalink(let path): path.string
            }
        }

        public var fileName: String {
            switch origin {
            case .server(let location), .remoteMetalink(let location): location.fileName
            case .localMetalink(let path): path.lastComponent?.string ?? ""
            }
        }

        public var report: DownloadReport? { history.withLock { $0 }?.withLock { $0.report } }

        public func open(checksum: Checksum?) async throws(StorageError) -> any TemplateInput {
            var options = options
            if let deadline = history.withLock({ $0 })?.withLock({ $0.deadline }) {
                options.limits.totalTime = max(.zero, deadline - .now)
            }
            let session = try HTTPSession(options)
            do throws(StorageError) {
                let history = try await knownHistory(session)
                let download = Download(history, session, options.limits)
                let isVerified = download.file.isVerified(by: checksum)
                history.withLock { $0.beginAttempt(canMix: isVerified) }
                let mode = try await probe(download, hasChecksum: checksum != nil)
                return DownloadInput(download, mode, isVerified: isVerified)
            } catch {
                await session.close()
                throw error
            }
        }

        private func knownHistory(_ session: HTTPSession) async throws(StorageError) -> Locked<DownloadHistory> {
            if let known = history.withLock({ $0 }) { return known }
            let deadline = ContinuousClock.now + options.limits.totalTime
            let file: DownloadFile
            switch origin {
            case .server(let location): file = DownloadFile(name: location.fileName, locations: [location])
            case .remoteMetalink(let location):
                file = try Metalink(try await fetchMetalink(location, session), at: location.description)
                    .file(for: options.location, isSecure: location.isSecure)
            case .localMetalink(let path):
                file = try Metalink(try await readMetalink(path), at: path.string).file(for: options.location)
            }
            let new = Locked(DownloadHistory(file, options.limits, deadline: deadline))
            history.withLock { $0 = new }
            return new
        }

        private func fetchMetalink(
            _ location: DownloadLocation, _ session: HTTPSession
        ) async throws(StorageError) -> [UInt8] {
            let attempts = max(1, options.limits.attempts)
            for attempt in 1... {
                let receiver = DocumentReceiver(location, largestSize: options.limits.largestMetalink)
                do throws(StorageError) {
                    try await session.get(location, into: receiver)
                    return receiver.bytes
                } catch {
                    if attempt >= attempts || !error.mayPass { throw error }
                }
                try? await Task.sleep(for: options.limits.retryDelay * (1 << min(10, attempt - 1)))
            }
            return []
        }

        private func readMetalink(_ path: FilePath) async throws(StorageError) -> [UInt8] {
            let input = try await FileTemplateSource(path: path).open(checksum: nil)
            return try await finally({ await input.close() }) { [options] () async throws(StorageError) in
                guard let size = input.byteCount, size <= UInt64(options.limits.largestMetalink) else {
                    throw StorageError(
                        .unsafeImage, "read metalink", at: path.string,
                        why: "it has more than \(options.limits.largestMetalink) bytes")
                }
                return try await blockingWork.run { () throws(StorageError) in
                    var bytes = [UInt8](repeating: 0, count: Int(size))
                    var span = bytes.mutableRawBytes
                    let count = try input.readNext(into: &span)
                    return Array(bytes.prefix(count))
                }
            }
        }

        /// Asks for one byte, of one location after the other: whether it is there, how large it is, and whether parts
        /// of it can be asked for.
        private func probe(
            _ download: Download, hasChecksum: Bool
        ) async throws(StorageError) -> DownloadInput.Mode {
            let isVerified = hasChecksum || download.file.isVerified(by: nil)
            let needsParts = !hasChecksum && download.file.checksum == nil && download.file.pieces != nil
            var avoided: Int?
            while true {
                let index = try await download.acquire(order: 0, avoiding: avoided)
                avoided = index
                let receiver = ProbeReceiver(download, index)
                let (location, isRedirected, _) = download.target(of: index)
                do throws(StorageError) {
                    try await download.session.get(location, bytes: 0..<1, into: receiver)
                    let mode = try receiver.mode(isVerified: isVerified, needsParts: needsParts)
                    download.end { history in
                        history.table.giveBack(index)
                        // What was found out holds for this one.
                        if !isVerified { history.table.only = index }
                    }
                    return mode
                } catch {
                    download.end(index, failedBy: error, target: isRedirected ? location : nil)
                    if error.code == .cancelled { throw error }
                }
            }
        }
    }

    /// Looks at the answer to a request for one byte.
    private final class ProbeReceiver: HTTPReceiver {
        private let download: Download
        private let index: Int
        private let answer = Locked<HTTPAnswer?>(nil)

        init(_ download: Download, _ index: Int) { (self.download, self.index) = (download, index) }

        func begin(_ answer: HTTPAnswer) throws(StorageError) -> Bool {
            let size: UInt64?
            switch answer.status {
            case 200: size = answer.contentLength
            case 206: size = answer.contentRange?.total
            case 416 where answer.contentRange?.total == 0:
                throw StorageError(.corrupt, "download", at: answer.location.description, why: "there is nothing in it")
            default: throw answer.statusFailure()
            }
            try download.check(answer, size: size, from: index)
            self.answer.withLock { $0 = answer }
            // The one byte leaves the connection free for the next request; a whole file must not be waited for.
            return answer.status == 206
        }

        func receive(_ bytes: ByteBuffer) throws(StorageError) {
            guard bytes.readableBytes <= 1 else {
                throw StorageError(
                    .corrupt, "download", at: download.file.locations[index].description,
                    why: "the server sends more than it was asked for")
            }
        }

        func mode(isVerified: Bool, needsParts: Bool) throws(StorageError) -> DownloadInput.Mode {
            guard let answer = answer.withLock({ $0 }) else { return .whole(size: nil) }
            guard answer.status == 206, let range = answer.contentRange, range.bytes == 0..<1, let total = range.total
            else {
                if needsParts {
                    throw StorageError(
                        .notSupported, "download", at: answer.location.description,
                        why: "the server does not give parts of the file, and only parts have a checksum")
                }
                return .whole(size: answer.status == 206 ? nil : answer.contentLength)
            }
            // Parts of a file that may change in between are only asked for where that would be noticed.
            guard isVerified || answer.ifRange != nil else { return .whole(size: total) }
            return .segments(try SegmentPlan(size: total, pieces: download.file.pieces))
        }
    }

    /// Takes a small document.
    private final class DocumentReceiver: HTTPReceiver {
        private let location: DownloadLocation
        private let largestSize: Int
        private let state = Locked<(expected: UInt64?, bytes: [UInt8])>((nil, []))

        init(_ location: DownloadLocation, largestSize: Int) {
            (self.location, self.largestSize) = (location, largestSize)
        }

        var bytes: [UInt8] { state.withLock { $0.bytes } }

        func begin(_ answer: HTTPAnswer) throws(StorageError) -> Bool {
            guard answer.status == 200 else { throw answer.statusFailure() }
            return true
        }

        func receive(_ bytes: ByteBuffer) throws(StorageError) {
            let size = state.withLock { state in
                state.bytes += bytes.readableBytesView
                return state.bytes.count
            }
            guard size <= largestSize else {
                throw StorageError(
                    .unsafeImage, "read metalink", at: location.description,
                    why: "it has more than \(largestSize) bytes")
            }
        }
    }
#endif
