#if ISCSI
    /// What tells an array from any other, and where its volumes are.
    public struct ElementClusterInfo: Hashable, Sendable {
        public var name: String
        public var uuid: String
        /// Stands in the names of its targets.
        public var uniqueID: String
        /// The address of its volumes, on the storage network.
        public var storageAddress: String
    }

    extension ElementClusterInfo: Decodable {
        private enum Key: String, CodingKey { case name, uuid, uniqueID, svip }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            name = try container.decode(String.self, forKey: .name)
            uuid = try container.decodeIfPresent(String.self, forKey: .uuid) ?? ""
            uniqueID = try container.decodeIfPresent(String.self, forKey: .uniqueID) ?? ""
            storageAddress = try container.decodeIfPresent(String.self, forKey: .svip) ?? ""
        }
    }

    /// What an array has, and has promised.
    public struct ElementCapacity: Hashable, Sendable, Decodable {
        /// Bytes of all block drives, and those that are used.
        public var maxUsedSpace: UInt64
        public var usedSpace: UInt64
        /// Logical bytes that may be promised without thin provisioning.
        public var maxProvisionedSpace: UInt64
        /// The sum of the volumes' sizes, in bytes.
        public var provisionedSpace: UInt64
        /// No volume is made that would exceed this, in bytes.
        public var maxOverProvisionableSpace: UInt64
        /// What the array expects to do, in operations of 4 KiB a second.
        public var maxIOPS: UInt64
        /// Over the last five seconds.
        public var currentIOPS: UInt64
        /// iSCSI sessions.
        public var activeSessions: UInt64

        private enum CodingKeys: String, CodingKey {
            case maxUsedSpace, usedSpace, maxProvisionedSpace, provisionedSpace, maxOverProvisionableSpace, maxIOPS
            case currentIOPS, activeSessions
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            func number(_ key: CodingKeys) throws -> UInt64 {
                try container.decodeIfPresent(UInt64.self, forKey: key) ?? 0
            }
            maxUsedSpace = try container.decode(UInt64.self, forKey: .maxUsedSpace)
            usedSpace = try container.decode(UInt64.self, forKey: .usedSpace)
            maxProvisionedSpace = try number(.maxProvisionedSpace)
            provisionedSpace = try number(.provisionedSpace)
            maxOverProvisionableSpace = try number(.maxOverProvisionableSpace)
            maxIOPS = try number(.maxIOPS)
            currentIOPS = try number(.currentIOPS)
            activeSessions = try number(.activeSessions)
        }
    }

    /// What an array allows; nil where it does not say.
    public struct ElementLimits: Hashable, Sendable, Decodable {
        public var volumeMinIOPSMin: UInt64?
        public var volumeMinIOPSMax: UInt64?
        public var volumeMaxIOPSMin: UInt64?
        public var volumeMaxIOPSMax: UInt64?
        public var volumeBurstIOPSMin: UInt64?
        public var volumeBurstIOPSMax: UInt64?
        /// In bytes.
        public var volumeSizeMin: UInt64?
        public var volumeSizeMax: UInt64?
        public var volumeNameLengthMin: UInt64?
        public var volumeNameLengthMax: UInt64?
        public var snapshotNameLengthMax: UInt64?
        public var snapshotsPerVolumeMax: UInt64?
        public var cloneJobsPerVolumeMax: UInt64?
        public var volumesPerAccountCountMax: UInt64?
        public var initiatorsPerVolumeAccessGroupCountMax: UInt64?
        public var volumeAccessGroupsPerVolumeCountMax: UInt64?
        public var volumeAccessGroupsPerInitiatorCountMax: UInt64?
        /// Of CHAP, in characters.
        public var secretLengthMin: UInt64?
        public var secretLengthMax: UInt64?

        /// Of an array that says nothing.
        public init() {}
    }

    /// What a volume does. Rates cover the last half second.
    public struct ElementVolumeStatistics: Hashable, Sendable, Decodable {
        public var volumeID: Int64
        public var actualIOPS: UInt64?
        /// In bytes.
        public var averageIOPSize: UInt64?
        /// What may still be spent above the maximum, in operations of 4 KiB.
        public var burstIOPSCredit: Int64?
        public var clientQueueDepth: UInt64?
        public var latencyUSec: UInt64?
        /// 0 to 1: how far the array holds the volume below its maximum.
        public var throttle: Double?
        /// Blocks of 4 KiB.
        public var nonZeroBlocks: UInt64?
        public var zeroBlocks: UInt64?
        public var readOps: UInt64?
        public var writeOps: UInt64?
        public var readBytes: UInt64?
        public var writeBytes: UInt64?
    }
#endif
