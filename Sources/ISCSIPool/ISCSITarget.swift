#if ISCSI
    import BlockStorage

    /// A target, and how to log in to it.
    public struct ISCSITarget: Sendable {
        /// A user name and the secret that proves it, by CHAP.
        public struct Credentials: Sendable {
            public var user: String
            public var secret: Secret

            public init(user: String, secret: Secret) { (self.user, self.secret) = (user, secret) }
        }

        /// Whether packets' headers carry a checksum. There is none for data.
        public enum HeaderDigest: String, Sendable {
            case none, crc32c
        }

        /// `HOST` or `HOST:PORT`, the port 3260 by default, IPv6 addresses in brackets. One that does not answer gives
        /// way to the next.
        public var portals: [String]
        /// The target's name: `iqn.…`, `eui.…` or `naa.…`.
        public var name: String
        /// This host's name, in lower case: some targets compare it byte by byte.
        public var initiatorName: String
        /// Proves the initiator to the target; nil where the target asks for no proof.
        public var credentials: Credentials?
        /// What the target must prove itself with, which needs `credentials` too. Without a user any name will do that it
        /// gives: arrays do not say which.
        public var targetCredentials: Credentials?
        public var headerDigest: HeaderDigest
        /// The address of this host that connections come from, on the storage network: nil lets the routes decide.
        public var boundAddress: String?

        /// Names are at most 223 bytes, user names and secrets at most 255.
        public init(
            portals: [String], name: String, initiatorName: String, credentials: Credentials? = nil,
            targetCredentials: Credentials? = nil, headerDigest: HeaderDigest = .none, boundAddress: String? = nil
        ) {
            (self.portals, self.name, self.initiatorName) = (portals, name, initiatorName)
            (self.credentials, self.targetCredentials) = (credentials, targetCredentials)
            (self.headerDigest, self.boundAddress) = (headerDigest, boundAddress)
        }

        /// Throws `invalidArgument` for what no target would take.
        func check() throws(StorageError) {
            func reject(_ why: String) -> StorageError {
                StorageError(.invalidArgument, "log in", at: name, why: why)
            }
            guard !portals.isEmpty else { throw reject("there is no portal") }
            for (what, name) in [("target", name), ("initiator", initiatorName)] {
                guard Self.isName(name) else { throw reject("this is no name of an iSCSI \(what)") }
            }
            if targetCredentials != nil, credentials == nil {
                throw reject("a target proves itself only to an initiator that does")
            }
            if let credentials, let targetCredentials, credentials.secret == targetCredentials.secret {
                // Else whoever has heard one proof could give the other (RFC 7143, 9.2.1).
                throw reject("the initiator and the target must have different secrets")
            }
            for (credentials, shortest) in [(credentials, 1), (targetCredentials, 0)] {
                guard let credentials else { continue }
                let secretByteCount = credentials.secret.reveal { $0.utf8.contains(0) ? 0 : $0.utf8.count }
                guard (shortest...255).contains(credentials.user.utf8.count), !credentials.user.utf8.contains(0),
                    (1...255).contains(secretByteCount)
                else { throw reject("CHAP's user names and secrets have 1 to 255 bytes") }
            }
        }

        /// The three kinds of names that RFC 7143, section 4.2.7, has.
        private static func isName(_ name: String) -> Bool {
            guard name.utf8.count <= 223, ["iqn.", "eui.", "naa."].contains(where: name.hasPrefix) else { return false }
            return name.unicodeScalars.allSatisfy { $0.value > 0x20 && $0.value != 0x7f && $0 != "/" }
        }
    }

    /// A logical unit as CloudStack writes it: `/IQN/LUN`.
    public struct ISCSIPath: Equatable, Sendable, CustomStringConvertible {
        public var target: String
        /// 0 to 16,383.
        public var lun: UInt16

        public init(target: String, lun: UInt16) { (self.target, self.lun) = (target, lun) }

        /// Throws `invalidArgument` for anything but a slash, a target's name, a slash and a number.
        public init(_ text: String) throws(StorageError) {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 3, parts[0].isEmpty, !parts[1].isEmpty, let lun = UInt16(parts[2]), lun < 16384,
                String(lun) == parts[2]
            else {
                throw StorageError(.invalidArgument, "open volume", at: text, why: "this is not /IQN/LUN")
            }
            self.init(target: String(parts[1]), lun: lun)
        }

        public var description: String { "/\(target)/\(lun)" }
    }
#endif
