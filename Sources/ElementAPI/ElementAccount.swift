#if ISCSI
    import BlockStorage

    /// Who owns volumes, and the CHAP secrets with which hosts log in to them.
    public struct ElementAccount: Hashable, Sendable, Identifiable {
        public var id: Int64
        /// CHAP's user name too. 1 to 64 characters.
        public var name: String
        /// `active` or `locked`.
        public var status: String
        /// With which a host proves itself, 12 to 16 characters; nil where the array does not tell.
        public var initiatorSecret: Secret?
        /// With which the array proves itself; nil where the array does not tell.
        public var targetSecret: Secret?
        /// Its volumes, those that are deleted and not purged among them.
        public var volumeIDs: [Int64]
        public var attributes: ElementAttributes
    }

    extension ElementAccount: Decodable {
        private enum Key: String, CodingKey {
            case accountID, username, status, initiatorSecret, targetSecret, volumes, attributes
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            func secret(_ key: Key) throws -> Secret? {
                try container.decodeIfPresent(String.self, forKey: key).flatMap { $0.isEmpty ? nil : Secret($0) }
            }
            id = try container.decode(Int64.self, forKey: .accountID)
            name = try container.decode(String.self, forKey: .username)
            status = try container.decodeIfPresent(String.self, forKey: .status) ?? ""
            initiatorSecret = try secret(.initiatorSecret)
            targetSecret = try secret(.targetSecret)
            volumeIDs = try container.decodeIfPresent([Int64].self, forKey: .volumes) ?? []
            attributes = try container.decodeIfPresent(ElementAttributes.self, forKey: .attributes) ?? [:]
        }
    }
#endif
