#if ISCSI
    import BlockStorage
    import SystemPackage

    /// Where an array is managed, who asks, and how the array proves itself.
    public struct ElementEndpoint: Hashable, Sendable {
        /// How it is known that an array is the one that is meant, before the password is sent to it.
        public enum Trust: Hashable, Sendable {
            /// The authorities that the system trusts vouch for the array's certificate.
            case system
            /// One of the authorities whose certificates, in PEM, are in this file vouches for it.
            case authorities(FilePath)
            /// The array's certificate is this one, whoever signed it and whatever names stand in it.
            case certificate(CertificateFingerprint)
            /// Nobody vouches, nothing is encrypted: for plain HTTP, and nothing else.
            case unencrypted
        }

        /// The management virtual IP address (MVIP), or a name, without brackets.
        public var host: String
        /// 443 where nothing else is said.
        public var port: UInt16
        /// A cluster administrator.
        public var user: String
        public var password: Secret
        public var trust: Trust

        public init(host: String, port: UInt16 = 443, user: String, password: Secret, trust: Trust = .system) {
            (self.host, self.port, self.user, self.password, self.trust) = (host, port, user, password, trust)
        }

        /// `https://HOST:PORT`.
        var origin: String {
            "\(trust == .unencrypted ? "http" : "https")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
    }

    extension ElementEndpoint: CustomStringConvertible {
        /// `HOST:PORT`, and no more.
        public var description: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }
    }
#endif
