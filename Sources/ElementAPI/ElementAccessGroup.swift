#if ISCSI
    /// A volume access group: initiators, and the volumes that they may log in to without CHAP.
    public struct ElementAccessGroup: Hashable, Sendable, Identifiable {
        /// How many initiators a group may have.
        public static let initiatorLimit = 64
        /// How many groups a volume may be in.
        public static let limitPerVolume = 4

        public var id: Int64
        /// 1 to 64 characters. Several groups may have the same.
        public var name: String
        /// Names of initiators. An array may write them in lower case.
        public var initiators: [String]
        public var volumeIDs: [Int64]
        public var attributes: ElementAttributes
    }

    extension ElementAccessGroup: Decodable {
        private enum Key: String, CodingKey { case volumeAccessGroupID, name, initiators, volumes, attributes }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            id = try container.decode(Int64.self, forKey: .volumeAccessGroupID)
            name = try container.decode(String.self, forKey: .name)
            initiators = try container.decodeIfPresent([String].self, forKey: .initiators) ?? []
            volumeIDs = try container.decodeIfPresent([Int64].self, forKey: .volumes) ?? []
            attributes = try container.decodeIfPresent(ElementAttributes.self, forKey: .attributes) ?? [:]
        }
    }
#endif
