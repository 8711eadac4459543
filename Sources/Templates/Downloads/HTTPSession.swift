#if Downloads
    import AsyncHTTPClient
    import BlockStorage
    import IORuntime
    import NIOCore
    import NIOHTTP1
    import NIOSSL
    import SystemPackage

    /// Asks web servers, within limits: whatever a server does, a request ends.
    final class HTTPSession: Sendable {
        private let client: HTTPClient
        private let limits: DownloadLimits
        private let deadline: ContinuousClock.Instant

        /// Throws `invalidArgument` where the file of authorities is none.
        init(_ options: DownloadOptions) throws(StorageError) {
            limits = options.limits
            deadline = .now + limits.totalTime
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.minimumTLSVersion = .tlsv12
            if let path = options.authorities {
                guard let certificates = try? NIOSSLCertificate.fromPEMFile(path.string), !certificates.isEmpty else {
                    throw StorageError(
                        .invalidArgument, "read authorities", at: path.string, why: "there is no PEM certificate in it")
                }
                tls.additionalTrustRoots = [.certificates(certificates)]
            }
            var configuration = HTTPClient.Configuration(
                tlsConfiguration: tls, redirectConfiguration: .disallow,
                timeout: .init(connect: .init(limits.connectTime)), decompression: .disabled)
            // HTTP/2 would put all requests to a server on one connection, and one slow one before the others.
            configuration.httpVersion = .http1Only
            configuration.connectionPool.retryConnectionEstablishment = false
            configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 32
            client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        }

        /// Ends every connection. Must be called once, after the last request.
        func close() async { try? await client.shutdown() }

        /// Asks for `bytes` of what is at `location`, or for all of it, follows redirects, and hands what comes to
        /// `receiver`.
        ///
        /// Throws what the receiver throws, `timedOut` for a server that is silent or slow or takes too long,
        /// `connectionLost` for an answer that is cut, and what went wrong for a server that cannot be reached.
        func get(
            _ location: DownloadLocation, bytes: Range<UInt64>? = nil, ifRange: String? = nil,
            into receiver: some HTTPReceiver
        ) async throws(StorageError) {
            let rate = Locked(RateGuard(limits, at: .now))
            let outcome = await withTaskGroup(of: Result<Void, StorageError>.self) { group in
                group.addTask {
                    do throws(StorageError) {
                        return .success(try await self.follow(location, bytes, ifRange, rate, receiver))
                    } catch {
                        return .failure(error)
                    }
                }
                group.addTask { .failure(await self.watch(rate, location)) }
                // Whichever is first decides; the other one ends before this returns.
                let outcome = await group.next()
                group.cancelAll()
                return outcome
            }
            if Task.isCancelled { throw StorageError(.cancelled, "download", at: location.description) }
            try outcome?.get()
        }

        /// Returns why the request must end, once it must.
        private func watch(_ rate: Locked<RateGuard>, _ location: DownloadLocation) async -> StorageError {
            func tooSlow(_ why: String) -> StorageError {
                StorageError(.timedOut, "download", at: location.description, why: why)
            }
            let interval = rate.withLock { $0.interval }
            while true {
                do {
                    try await Task.sleep(for: interval)
                } catch {
                    return StorageError(.cancelled, "download", at: location.description)
                }
                let now = ContinuousClock.now
                if now >= deadline { return tooSlow("all of it takes longer than \(limits.totalTime)") }
                switch rate.withLock({ $0.check(at: now) }) {
                case .good: break
                case .silent(let time): return tooSlow("the server says nothing for \(time)")
                case .slow(let bytes, let time):
                    return tooSlow(
                        "the server sends \(bytes) bytes in \(time), less than \(limits.lowestRate) a second")
                }
            }
        }

        @concurrent
        private func follow(
            _ start: DownloadLocation, _ bytes: Range<UInt64>?, _ ifRange: String?, _ rate: Locked<RateGuard>,
            _ receiver: some HTTPReceiver
        ) async throws(StorageError) {
            var location = start
            var redirects = 0
            while true {
                let response = try await ask(location, bytes, ifRange)
                let headers = response.headers
                let headerSize = headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
                guard headerSize <= limits.largestHeader else {
                    throw StorageError(
                        .notSupported, "download", at: location.description,
                        why: "the header of the answer has \(headerSize) bytes, more than \(limits.largestHeader)")
                }
                if [301, 302, 303, 307, 308].contains(response.status.code) {
                    guard let target = headers.first(name: "location") else {
                        throw StorageError(
                            .notSupported, "download", at: location.description, why: "it redirects to nowhere")
                    }
                    redirects += 1
                    guard redirects <= limits.redirects else {
                        throw StorageError(
                            .notSupported, "download", at: start.description,
                            why: "more than \(limits.redirects) redirects, the last one to \(location)")
                    }
                    location = try location.redirected(to: target)
                    continue
                }
                guard try await receiver.begin(Self.answer(response, location)) else { return }
                do {
                    for try await bytes in response.body {
                        // What happens to the bytes is not the server's fault.
                        rate.withLock {
                            $0.receive(bytes.readableBytes, at: .now)
                            $0.pause(at: .now)
                        }
                        try await receiver.receive(bytes)
                        rate.withLock { $0.resume(at: .now) }
                    }
                } catch {
                    throw StorageError(download: error, at: location)
                }
                return
            }
        }

        private static func answer(_ response: HTTPClientResponse, _ location: DownloadLocation) -> HTTPAnswer {
            let headers = response.headers
            let length = headers.first(name: "content-length").flatMap { UInt64($0) }
            let isChunked = headers[canonicalForm: "transfer-encoding"].contains { $0.lowercased() == "chunked" }
            /// Not what a server makes up to fill a catalog.
            func validator(_ name: String) -> String? {
                headers.first(name: name).flatMap { $0.utf8.count <= 256 ? $0 : nil }
            }
            return HTTPAnswer(
                status: Int(response.status.code), location: location, entityTag: validator("etag"),
                modifiedAt: validator("last-modified"), contentLength: isChunked ? nil : length,
                contentRange: headers.first(name: "content-range").flatMap(HTTPAnswer.ContentRange.init),
                hasEnd: isChunked || length != nil)
        }

        private func ask(
            _ location: DownloadLocation, _ bytes: Range<UInt64>?, _ ifRange: String?
        ) async throws(StorageError) -> HTTPClientResponse {
            var request = HTTPClientRequest(url: location.url)
            request.headers = ["User-Agent": "sluice", "Accept": "*/*", "Accept-Encoding": "identity"]
            if let authorization = location.authorization {
                request.headers.add(name: "Authorization", value: authorization.headerValue)
            }
            if let bytes {
                request.headers.add(name: "Range", value: "bytes=\(bytes.lowerBound)-\(bytes.upperBound - 1)")
                if let ifRange { request.headers.add(name: "If-Range", value: ifRange) }
            }
            do {
                // Its end is the watch's business: the client would give up in the middle of a body.
                return try await client.execute(request, deadline: .distantFuture)
            } catch {
                throw StorageError(download: error, at: location)
            }
        }
    }

    /// Takes what a server sends.
    protocol HTTPReceiver: Sendable {
        /// Looks at the answer; false for one whose body is not wanted.
        func begin(_ answer: HTTPAnswer) async throws(StorageError) -> Bool
        /// Takes the next bytes of the body. The server is made to wait until this returns.
        func receive(_ bytes: ByteBuffer) async throws(StorageError)
    }

    extension TimeAmount {
        fileprivate init(_ duration: Duration) {
            let (seconds, attoseconds) = duration.components
            self = .seconds(min(seconds, 1 << 32)) + .nanoseconds(attoseconds / 1_000_000_000)
        }
    }
#endif
