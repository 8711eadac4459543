#if ISCSI
    import AsyncHTTPClient
    import BlockStorage
    import Foundation
    import IORuntime
    import NIOCore
    import NIOHTTP1
    import NIOSSL
    import SystemPackage

    /// Sends one request after the other to one server, within limits: whatever the server does, each ends.
    final class ElementHTTP: Sendable {
        struct Answer {
            var status: Int
            /// Nil where it is larger than `ElementOptions.largestAnswer`.
            var body: ByteBuffer?
        }

        private let client: HTTPClient
        private let endpoint: ElementEndpoint
        private let options: ElementOptions

        /// Throws `invalidArgument` where the file of authorities is none.
        init(_ endpoint: ElementEndpoint, _ options: ElementOptions) throws(StorageError) {
            (self.endpoint, self.options) = (endpoint, options)
            var tls = TLSConfiguration.makeClientConfiguration()
            tls.minimumTLSVersion = .tlsv12
            var configuration = HTTPClient.Configuration(
                redirectConfiguration: .disallow, timeout: .init(connect: .init(options.connectTime)),
                decompression: .disabled)
            switch endpoint.trust {
            case .system, .unencrypted: break
            case .authorities(let path):
                guard let certificates = try? NIOSSLCertificate.fromPEMFile(path.string), !certificates.isEmpty else {
                    throw StorageError(
                        .invalidArgument, "read authorities", at: path.string, why: "there is no PEM certificate in it")
                }
                // The file is what the array must satisfy: no other authority will do.
                tls.trustRoots = .certificates(certificates)
            case .certificate(let fingerprint):
                tls.certificateVerification = .none
                // The only place between the handshake and the first request, which has the password in it.
                configuration.http1_1ConnectionDebugInitializer = { Self.check(fingerprint, of: $0) }
            }
            configuration.tlsConfiguration = tls
            configuration.httpVersion = .http1Only
            configuration.connectionPool.retryConnectionEstablishment = false
            configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 4
            // Shorter than servers keep idle connections: a request on one that just ended would be lost.
            configuration.connectionPool.idleTimeout = .seconds(5)
            client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        }

        deinit { client.shutdown { _ in } }

        /// Posts `body` as JSON. Throws `timedOut` after `time`, and what is wrong with the connection or the answer.
        @concurrent
        func post(_ body: Data, to path: String, within time: Duration) async throws(StorageError) -> Answer {
            let place = endpoint.description
            // The client's own deadline ends with the header of the answer.
            let outcome = await withTaskGroup(of: Result<Answer, StorageError>.self) { group in
                group.addTask {
                    do throws(StorageError) {
                        return .success(try await self.send(body, to: path))
                    } catch {
                        return .failure(error)
                    }
                }
                group.addTask {
                    try? await Task.sleep(for: time)
                    return .failure(StorageError(.timedOut, "ask array", at: place, why: "it does not answer in time"))
                }
                // Whichever is first decides; the other one ends before this returns.
                let outcome = await group.next()
                group.cancelAll()
                return outcome
            }
            if Task.isCancelled { throw StorageError(.cancelled, "ask array", at: place) }
            guard let outcome else { throw StorageError(.internalError, "ask array", at: place) }
            return try outcome.get()
        }

        private func send(_ body: Data, to path: String) async throws(StorageError) -> Answer {
            var request = HTTPClientRequest(url: endpoint.origin + path)
            request.method = .POST
            let credentials = endpoint.password.reveal { Data("\(endpoint.user):\($0)".utf8).base64EncodedString() }
            request.headers = [
                "User-Agent": "sluice", "Content-Type": "application/json-rpc", "Accept": "application/json",
                "Authorization": "Basic \(credentials)",
            ]
            request.body = .bytes(ByteBuffer(bytes: body))
            do {
                let response = try await client.execute(request, deadline: .distantFuture)
                let status = Int(response.status.code)
                var received = ByteBuffer()
                for try await var part in response.body {
                    guard part.readableBytes <= options.largestAnswer - received.readableBytes else {
                        return Answer(status: status, body: nil)
                    }
                    received.writeBuffer(&part)
                }
                return Answer(status: status, body: received)
            } catch {
                throw StorageError(element: error, at: endpoint.description)
            }
        }

        /// Succeeds where the certificate of the other side is the one that is meant, and ends the connection where not.
        private static func check(
            _ fingerprint: CertificateFingerprint, of channel: any Channel
        ) -> EventLoopFuture<Void> {
            channel.nioSSL_peerCertificate().flatMapThrowing { certificate in
                guard let certificate,
                    try CertificateFingerprint(ofCertificate: certificate.toDERBytes()) == fingerprint
                else { throw ElementHTTPError.otherCertificate }
            }.flatMapErrorThrowing { error in
                channel.close(promise: nil)
                throw error
            }
        }
    }

    enum ElementHTTPError: Error { case otherCertificate }

    extension TimeAmount {
        fileprivate init(_ duration: Duration) {
            let (seconds, attoseconds) = duration.components
            self = .seconds(min(seconds, 1 << 32)) + .nanoseconds(attoseconds / 1_000_000_000)
        }
    }
#endif
