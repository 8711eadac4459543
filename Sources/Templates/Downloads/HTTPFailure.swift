#if Downloads
    import AsyncHTTPClient
    import BlockStorage
    import IORuntime
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import NIOSSL
    import SystemPackage

    extension StorageError {
        /// What an error of the HTTP client, of TLS or of a socket means for a download from `location`.
        init(download error: any Error, at location: DownloadLocation) {
            let place = location.description
            func failure(_ code: Code, _ why: String) -> StorageError {
                StorageError(code, "download", at: place, why: why)
            }
            switch error {
            case let error as StorageError: self = error
            case is CancellationError: self = failure(.cancelled, "")
            case let error as HTTPClientError: self = Self.translate(error, failure)
            case let error as NIOConnectionError:
                self =
                    error.connectionErrors.first.map { Self(download: $0.error, at: location) }
                    ?? failure(.notFound, "the name of its host is not known")
            case is SocketAddressError: self = failure(.notFound, "the name of its host is not known")
            case let error as IOError:
                self = StorageError(SystemError(Errno(rawValue: error.errnoCode), "connect"), "download", at: place)
                if code != .timedOut, code != .connectionLost { self = failure(.connectionLost, why) }
            case let error as ChannelError:
                if case .connectTimeout = error {
                    self = failure(.timedOut, "it takes too long to connect")
                } else {
                    self = failure(.connectionLost, "the connection ends: \(error)")
                }
            case HTTPParserError.invalidEOFState: self = failure(.connectionLost, "the connection was cut")
            case let error as HTTPParserError: self = failure(.inputOutput, "the answer is no HTTP: \(error)")
            case let error as NIOSSLError:
                // An end without TLS' own farewell is a cut, and may be an attack.
                if case .uncleanShutdown = error {
                    self = failure(.connectionLost, "the connection was cut")
                } else {
                    self = failure(.authenticationFailed, Self.reason(ofTLS: error))
                }
            case let error as BoringSSLError: self = failure(.authenticationFailed, Self.reason(ofTLS: error))
            case let error as NIOSSLExtraError:
                self = failure(.authenticationFailed, "the certificate is not for this host: \(error)")
            default: self = failure(.connectionLost, "\(error)")
            }
        }

        private static func reason(ofTLS error: any Error) -> String {
            // The library names the reason nowhere else.
            "\(error)".contains("CERTIFICATE_VERIFY_FAILED")
                ? "TLS fails: no trusted authority vouches for its certificate" : "TLS fails: \(error)"
        }

        private static func translate(
            _ error: HTTPClientError, _ failure: (Code, String) -> StorageError
        ) -> StorageError {
            switch error {
            case .connectTimeout, .tlsHandshakeTimeout: failure(.timedOut, "it takes too long to connect")
            case .deadlineExceeded, .readTimeout, .getConnectionFromPoolTimeout: failure(.timedOut, "it takes too long")
            case .cancelled, .requestStreamCancelled: failure(.cancelled, "")
            case .remoteConnectionClosed, .uncleanShutdown: failure(.connectionLost, "the connection was cut")
            default: failure(.inputOutput, error.shortDescription)
            }
        }
    }
#endif
