#if ISCSI
    /// A volume of the array: one LUN.
    public struct ElementVolume: Hashable, Sendable, Identifiable {
        /// What the array says of a volume. Newer arrays may say more than is named here.
        public struct Status: RawRepresentable, Hashable, Sendable, Codable {
            public let rawValue: String

            public init(rawValue: String) { self.rawValue = rawValue }

            /// Being made, or cloned into: not ready for sessions.
            public static let creating = Status(rawValue: "creating")
            public static let snapshotting = Status(rawValue: "snapshotting")
            /// Ready for sessions.
            public static let active = Status(rawValue: "active")
            /// Gone for hosts, and kept until it is purged.
            public static let deleted = Status(rawValue: "deleted")
        }

        /// What hosts may do with a volume.
        public enum Access: String, Sendable, Codable {
            case readOnly, readWrite, locked, replicationTarget, snapMirrorTarget
        }

        public var id: Int64
        /// 1 to 64 characters. Several volumes may have the same.
        public var name: String
        public var accountID: Int64
        public var status: Status
        /// Nil for what this version does not know.
        public var access: Access?
        /// The name of its target; nil while it has none.
        public var iqn: String?
        /// Whether sectors have 512 bytes; 4096 where not.
        public var emulates512: Bool
        public var qos: ElementQoS?
        public var qosPolicyID: Int64?
        public var accessGroups: [Int64]
        /// In bytes.
        public var size: UInt64
        /// As the array writes them: `2015-03-06T18:50:56Z`. Empty for a time that has not come.
        public var createTime: String
        public var deleteTime: String
        public var purgeTime: String
        /// The NAA identifier that INQUIRY gives, in hexadecimal digits; nil where the array does not tell.
        public var naaIdentifier: String?
        public var attributes: ElementAttributes
    }

    extension ElementVolume: Decodable {
        private enum Key: String, CodingKey {
            case volumeID, name, accountID, status, access, iqn, enable512e, qos, qosPolicyID, volumeAccessGroups
            case totalSize, createTime, deleteTime, purgeTime, scsiNAADeviceID, attributes
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            func text(_ key: Key) throws -> String { try container.decodeIfPresent(String.self, forKey: key) ?? "" }
            id = try container.decode(Int64.self, forKey: .volumeID)
            name = try container.decode(String.self, forKey: .name)
            accountID = try container.decode(Int64.self, forKey: .accountID)
            status = try container.decode(Status.self, forKey: .status)
            access = Access(rawValue: try text(.access))
            let iqn = try text(.iqn)
            self.iqn = iqn.isEmpty ? nil : iqn
            emulates512 = try container.decodeIfPresent(Bool.self, forKey: .enable512e) ?? false
            qos = try container.decodeIfPresent(ElementQoS.self, forKey: .qos)
            qosPolicyID = try container.decodeIfPresent(Int64.self, forKey: .qosPolicyID)
            accessGroups = try container.decodeIfPresent([Int64].self, forKey: .volumeAccessGroups) ?? []
            size = try container.decode(UInt64.self, forKey: .totalSize)
            createTime = try text(.createTime)
            deleteTime = try text(.deleteTime)
            purgeTime = try text(.purgeTime)
            let identifier = try text(.scsiNAADeviceID)
            naaIdentifier = identifier.isEmpty ? nil : identifier
            attributes = try container.decodeIfPresent(ElementAttributes.self, forKey: .attributes) ?? [:]
        }
    }

    /// What `ElementClient.createVolume` is asked for.
    public struct ElementVolumeRequest: Hashable, Sendable {
        public var name: String
        public var accountID: Int64
        /// In bytes, 1,000,000,000 or more. The array rounds up.
        public var size: UInt64
        /// Nil for the array's default.
        public var qos: ElementQoS?
        /// Instead of `qos`.
        public var qosPolicyID: Int64?
        /// Whether sectors have 512 bytes; 4096 where not.
        public var emulates512 = true
        /// Should tell this volume from every other: a create whose answer was lost is recognised by them.
        public var attributes: ElementAttributes

        public init(
            name: String, accountID: Int64, size: UInt64, qos: ElementQoS? = nil, attributes: ElementAttributes = [:]
        ) {
            (self.name, self.accountID, self.size, self.qos) = (name, accountID, size, qos)
            self.attributes = attributes
        }
    }

    /// What `ElementClient.startClone` is asked for.
    public struct ElementCloneRequest: Hashable, Sendable {
        public var volumeID: Int64
        /// Of the clone.
        public var name: String
        /// Clones the snapshot, not what the volume is now.
        public var snapshotID: Int64?
        /// Nil for the source's.
        public var accountID: Int64?
        /// In bytes; nil for the source's.
        public var size: UInt64?
        /// Should tell this volume from every other: a clone whose answer was lost is recognised by them.
        public var attributes: ElementAttributes

        public init(
            of volumeID: Int64, as name: String, snapshotID: Int64? = nil, attributes: ElementAttributes = [:]
        ) {
            (self.volumeID, self.name, self.snapshotID) = (volumeID, name, snapshotID)
            self.attributes = attributes
        }
    }

    /// A clone that the array is making.
    public struct ElementClone: Hashable, Sendable {
        /// Of the clone. It exists at once, and is `creating` until it is complete.
        public var volumeID: Int64
        /// Nil where the answer that named it was lost.
        public var asyncHandle: Int64?

        public init(volumeID: Int64, asyncHandle: Int64?) {
            (self.volumeID, self.asyncHandle) = (volumeID, asyncHandle)
        }
    }

    /// What `ElementClient.modifyVolume` changes; nil is left as it is.
    public struct ElementVolumeChange: Hashable, Sendable {
        /// In bytes, not less than before. The array rounds up.
        public var size: UInt64?
        public var qos: ElementQoS?
        public var accountID: Int64?
        public var access: ElementVolume.Access?
        /// All of them: what is not named is forgotten.
        public var attributes: ElementAttributes?

        public init(size: UInt64? = nil, qos: ElementQoS? = nil, attributes: ElementAttributes? = nil) {
            (self.size, self.qos, self.attributes) = (size, qos, attributes)
        }
    }
#endif
