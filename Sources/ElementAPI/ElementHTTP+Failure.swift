#if ISCSI
    import AsyncHTTPClient
    import BlockStorage
    import IORuntime
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import NIOSSL
    import SystemPackage

    extension StorageError {
        /// What an error of the HTTP client, of TLS or of a socket means for a request to the array at `place`.
        init(element error: any Error, at place: String) {
            func failure(_ code: Code, _ why: String) -> StorageError {
                StorageError(code, "ask array", at: place, why: why)
            }
            switch error {
            case let error as StorageError: self = error
            case is CancellationError: self = failure(.cancelled, "")
            case ElementHTTPError.otherCertificate:
                self = failure(.authenticationFailed, "its certificate has another fingerprint")
            case let error as HTTPClientError: self = Self.translate(error, failure)
            case let error as NIOConnectionError:
                self =
                    error.connectionErrors.first.map { Self(element: $0.error, at: place) }
                    ?? failure(.connectionLost, "the name of its host is not known")
            case is SocketAddressError: self = failure(.connectionLost, "the name of its host is not known")
            case let error as IOError:
                self = StorageError(SystemError(Errno(rawValue: error.errnoCode), "connect"), "ask array", at: place)
                if code != .timedOut { self = failure(.connectionLost, why) }
            case let error as ChannelError:
                if case .connectTimeout = error {
                    self = failure(.timedOut, "it takes too long to connect")
                } else {
                    self = failure(.connectionLost, "the connection ends: \(error)")
                }
            case HTTPParserError.invalidEOFState: self = failure(.connectionLost, "the connection was cut")
            case let error as HTTPParserError: self = failure(.inputOutput, "the answer is no HTTP: \(error)")
            case NIOSSLError.uncleanShutdown: self = failure(.connectionLost, "the connection was cut")
            case is NIOSSLError, is BoringSSLError:
                // The library names the reason nowhere else.
                self = failure(
                    .authenticationFailed,
                    "\(error)".contains("CERTIFICATE_VERIFY_FAILED")
                        ? "no trusted authority vouches for its certificate" : "TLS fails: \(error)")
            case is NIOSSLExtraError: self = failure(.authenticationFailed, "its certificate is not for this host")
            default: self = failure(.connectionLost, "\(error)")
            }
        }

        private static func translate(
            _ error: HTTPClientError, _ failure: (Code, String) -> StorageError
        ) -> StorageError {
            switch error {
            case .connectTimeout, .tlsHandshakeTimeout: failure(.timedOut, "it takes too long to connect")
            case .deadlineExceeded, .readTimeout, .getConnectionFromPoolTimeout:
                failure(.timedOut, "it does not answer in time")
            case .cancelled, .requestStreamCancelled: failure(.cancelled, "")
            case .remoteConnectionClosed, .uncleanShutdown: failure(.connectionLost, "the connection was cut")
            case .alreadyShutdown: failure(.connectionLost, "the client is closed")
            default: failure(.inputOutput, error.shortDescription)
            }
        }
    }
#endif
