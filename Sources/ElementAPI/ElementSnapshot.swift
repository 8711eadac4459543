#if ISCSI
    /// A volume as it was.
    public struct ElementSnapshot: Hashable, Sendable, Identifiable {
        public var id: Int64
        public var volumeID: Int64
        /// 1 to 64 characters. Several snapshots may have the same.
        public var name: String
        /// `preparing`, `done` or `active`, in lower case.
        public var status: String
        /// What the volume had, in bytes.
        public var size: UInt64
        /// As the array writes it: `2015-03-06T18:50:56Z`.
        public var createTime: String
        public var attributes: ElementAttributes
    }

    extension ElementSnapshot: Decodable {
        private enum Key: String, CodingKey {
            case snapshotID, volumeID, name, status, totalSize, createTime, attributes
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            id = try container.decode(Int64.self, forKey: .snapshotID)
            volumeID = try container.decode(Int64.self, forKey: .volumeID)
            name = try container.decode(String.self, forKey: .name)
            status = (try container.decodeIfPresent(String.self, forKey: .status) ?? "").lowercased()
            size = try container.decodeIfPresent(UInt64.self, forKey: .totalSize) ?? 0
            createTime = try container.decodeIfPresent(String.self, forKey: .createTime) ?? ""
            attributes = try container.decodeIfPresent(ElementAttributes.self, forKey: .attributes) ?? [:]
        }
    }
#endif
