import BlockStorage
import VolumeQoS

/// All that is known of a volume: what its pool says, what the catalog adds, and who uses it.
public struct VolumeDetails: Codable, Equatable, Sendable {
    public var pool: String
    public var name: String
    /// What a hypervisor opens; empty for a lazy volume that has not been made yet.
    public var path: String
    /// Nil for a file that nobody adopted: formats are never guessed.
    public var format: VolumeFormat?
    /// In bytes.
    public var virtualSize: UInt64
    /// In bytes.
    public var allocatedSize: UInt64
    public var provisioning: ProvisioningType
    /// The template or volume whose blocks this one shares, `POOL/NAME[@SNAPSHOT]`.
    public var template: String?
    public var snapshots: [String]
    public var qos: QoSPolicy?
    /// Who holds the volume to its policy while it is attached.
    public var enforcedBy: QoSEnforcer
    public var minimum: QoSMinimum
    public var attachment: AttachmentDetails?
    /// What else the pool says of it, for people.
    public var rows: [VolumeDescription.Detail] = []
    /// What it has had while Sluice holds it to its policy; nil where it does not.
    public var throttle: ThrottleStatistics?
}

/// The layer that enforces a policy. Exactly one does, or none.
public enum QoSEnforcer: String, Codable, Sendable {
    case sluice, array, librbd, hypervisor, none
}

extension StoragePool {
    /// Who holds the pool's volumes to their policies, unless something else is asked for.
    var enforcer: QoSEnforcer {
        if sharedPolicy != nil { return .array }
        guard can(.qosMaximum) else { return .none }
        return kind == RBDLocation.scheme ? .librbd : .array
    }
}

/// What a minimum means: IOPS that the storage reserves, or a sum that admission keeps under the pool's capacity.
public enum QoSMinimum: String, Codable, Sendable {
    case enforced, admissionOnly
}

/// Who uses a volume, and how.
public struct AttachmentDetails: Codable, Equatable, Sendable {
    public var mode: Attachment.Mode
    /// The process that holds the volume, for people.
    public var holder: String
    /// Seconds since 1970, UTC.
    public var since: Int64
    /// The memory of the volume's own cache; nil where it has none by its nature.
    public var cache: CacheMemory?
}

/// A volume of a pool, as lists show it.
public struct VolumeSummary: Codable, Equatable, Sendable {
    public var name: String
    /// Nil for a file that nobody adopted: formats are never guessed.
    public var format: VolumeFormat?
    /// In bytes.
    public var virtualSize: UInt64
    /// In bytes.
    public var allocatedSize: UInt64
    /// False for what other tools put into the pool and nobody adopted.
    public var isManaged: Bool
    /// `POOL/NAME[@SNAPSHOT]`
    public var template: String?
}

/// What a pool is, holds and can do.
public struct PoolDetails: Equatable, Sendable {
    public var name: String
    public var kind: String
    public var url: String
    public var tags: [String]
    /// What may be used, in bytes: as registered, else what the storage has.
    public var capacityBytes: UInt64
    public var allocatedBytes: UInt64
    public var availableBytes: UInt64
    /// The sum of the virtual sizes of volumes and templates, in bytes.
    public var provisionedBytes: UInt64
    public var deadlineSeconds: Int
    /// Of one that does not answer, sizes and sums are 0.
    public var health: PoolHealth
    /// As registered, or as the storage says; nil where nothing limits it.
    public var capacityIOPS: UInt64?
    /// The sum of the minimums of the pool's volumes.
    public var allocatedIOPS: UInt64
    public var capabilities: [Capability]
    /// Volumes and templates; nil where the pool does not count them.
    public var volumeCount: UInt64?
}

/// A registered pool, as lists show it.
public struct PoolSummary: Equatable, Sendable {
    public var name: String
    public var kind: String
    public var url: String
}
