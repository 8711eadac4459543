/// Where volumes live and are created, cloned, snapshotted, resized and deleted.
///
/// Operations are idempotent as the Container Storage Interface defines it: creating the same thing again succeeds,
/// creating it differently throws `alreadyExists`, deleting what is not there succeeds. Names are checked with
/// `VolumeName.check`. What a pool cannot do throws `notSupported`; `capabilities` says so beforehand.
public protocol StoragePool: Sendable {
    /// The name under which the pool is registered.
    var name: String { get }
    /// The scheme of its URL: `dir`, `sharedmountpoint`, …
    var kind: String { get }
    /// The formats of the volumes that it creates, the usual one first.
    var formats: [VolumeFormat] { get }
    var capabilities: [Capability] { get }
    /// The policy that the storage holds all volumes of the pool to together, none of which has one of its own then;
    /// nil where each can have one.
    var sharedPolicy: QoSPolicy? { get }

    /// Whether the storage answers in time. Costs nothing: what the latest requests have shown.
    var health: PoolHealth { get }

    /// Capacity and use, from the storage itself.
    func statistics() async throws(StorageError) -> PoolStatistics
    /// What was promised, by every host: the sum that `PoolLimits` bound. A pool that was opened with limits refuses
    /// with `quotaExceeded` what would exceed them, also when several hosts ask at once; nothing is refused that needs
    /// no more room than before.
    func provisioned() async throws(StorageError) -> Provisioned

    /// The volumes, and what lies in the pool without having been adopted (`isManaged` false); no templates.
    func listVolumes() async throws(StorageError) -> [VolumeDescription]
    /// A volume or a template. Throws `notFound` for one that is not there.
    func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription

    /// A volume that reads as zeros. Throws `alreadyExists` when the name is taken by anything but the same volume.
    func createVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) -> VolumeDescription
    /// Keeps the name and the room for a volume that `createVolume` makes later, given the same request, and that
    /// `deleteVolume` gives up; `renameVolume` and `setQoS` work on it too. It is no volume until then.
    ///
    /// Throws `notSupported` where the pool cannot hold such a thing.
    func reserveVolume(_ name: String, _ request: CreateRequest) async throws(StorageError)
    /// A linked clone of `source`, a volume or a template, or a full copy when `request.isFull`. Where
    /// clones read through the source itself (files), a source that has some cannot be written, resized or deleted
    /// (`busy`) until they are flattened or gone.
    func cloneVolume(_ source: VolumeReference, as name: String, _ request: CloneRequest) async throws(StorageError)
        -> VolumeDescription
    /// Throws `busy` while the volume is open or, with `.refuse`, naming them, while clones exist.
    func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError)
    /// Throws `alreadyExists` when the new name is taken, and `busy` while clones know the volume by the old one.
    func renameVolume(_ name: String, to newName: String) async throws(StorageError)
    /// Sets the virtual size in bytes; a smaller one needs `allowShrink`.
    func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError)
    /// Makes a linked clone independent of its template.
    func flattenVolume(_ name: String) async throws(StorageError)
    func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport

    /// Opens a volume or template, or a snapshot (always read-only). `exclusive` throws `busy`, naming the holder where
    /// it can be known, while any other program has the volume open or a clone depends on it.
    func openVolume(_ reference: VolumeReference, mode: OpenMode) async throws(StorageError) -> any Volume
    /// Ends another program's hold on a volume; the caller knows that the program is dead.
    func breakLock(of volume: String) async throws(StorageError)

    /// Also of a volume that this process has open, as of a moment during the call. A name that exists already is
    /// returned as it is.
    func createSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) -> SnapshotDescription
    func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription]
    func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError)
    /// Makes the volume what it was at the snapshot. Throws `busy` while it is open.
    func revert(_ volume: String, to snapshot: String) async throws(StorageError)
    func setProtected(_ protected: Bool, snapshot: String, of volume: String) async throws(StorageError)

    /// What is not as it was at an older snapshot of the same volume, in order: data, or holes where there is nothing
    /// any more. More may be reported than has changed. Throws `notSupported` where the storage does not know.
    func changedExtents(of reference: VolumeReference, since snapshot: String) async throws(StorageError) -> [Extent]

    /// Sets or (nil) removes the policy that is kept with the volume, where every host sees it. What the storage
    /// enforces itself its capabilities say; `notSupported` where it keeps none.
    func setQoS(_ policy: QoSPolicy?, of volume: String) async throws(StorageError)
    /// Takes over a volume that is already in the pool, in the format that the caller declares.
    func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription

    /// Where a template import writes before it is published; never visible as a volume.
    func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate
    func listTemplates() async throws(StorageError) -> [VolumeDescription]
    /// Throws `busy`, naming them, while clones exist.
    func deleteTemplate(_ name: String) async throws(StorageError)

    /// Finishes or undoes what the pool had recorded in its `IntentLog` when its process died. Again is harmless.
    func recover(_ intent: Intent) async throws(StorageError)
}

extension StoragePool {
    public var health: PoolHealth { .healthy }

    public var sharedPolicy: QoSPolicy? { nil }

    /// Throws `notSupported` for a policy of one volume where all of them share one.
    public func checkPolicy(_ policy: QoSPolicy?, _ what: String, of volume: String) throws(StorageError) {
        guard sharedPolicy != nil, let policy, policy != .unlimited else { return }
        throw StorageError(
            .notSupported, what, at: "\(name)/\(volume)",
            why: "all volumes of the pool share the policy of its LUN, which the pool's URL states")
    }

    public func recover(_ intent: Intent) async throws(StorageError) {
        throw StorageError(
            .notSupported, "recover", at: "\(name)/\(intent.volume)",
            why: "the pool knows no operation '\(intent.operation)'")
    }

    public func breakLock(of volume: String) async throws(StorageError) {
        throw StorageError(
            .notSupported, "break lock", at: "\(name)/\(volume)", why: "its locks end with the process that holds them")
    }

    public func setProtected(_ protected: Bool, snapshot: String, of volume: String) async throws(StorageError) {
        throw StorageError(
            .notSupported, "protect snapshot", at: "\(name)/\(volume)@\(snapshot)",
            why: "the storage protects no snapshots")
    }

    public func changedExtents(
        of reference: VolumeReference, since snapshot: String
    ) async throws(StorageError) -> [Extent] {
        throw StorageError(
            .notSupported, "map changes", at: "\(name)/\(reference)", why: "the storage does not know what has changed")
    }

    public func setQoS(_ policy: QoSPolicy?, of volume: String) async throws(StorageError) {
        throw StorageError(.notSupported, "set QoS", at: "\(name)/\(volume)", why: "the storage keeps no policy")
    }

    public func reserveVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) {
        throw StorageError(
            .notSupported, "reserve volume", at: "\(self.name)/\(name)", why: "the storage keeps no reservations")
    }

    /// The sum over the lists: not that of one moment where others change the pool meanwhile.
    public func provisioned() async throws(StorageError) -> Provisioned {
        var sum = Provisioned()
        for volume in try await listVolumes() + listTemplates() where volume.isManaged {
            sum.bytes = sum.bytes.addingSaturating(volume.virtualSize)
            sum.minIOPS = sum.minIOPS.addingSaturating(volume.qos?.minIOPS ?? 0)
        }
        return sum
    }

    /// Whether the pool declares `feature` for `format`, or for any format.
    public func can(_ feature: Capability.Feature, _ format: VolumeFormat? = nil) -> Bool {
        capabilities.contains { capability in
            guard capability.feature == feature else { return false }
            guard let format else { return true }
            return capability.formats.isEmpty || capability.formats.contains(format)
        }
    }
}

/// A template that is being written: published whole, or gone without a trace.
public protocol StagedTemplate: Sendable {
    /// Reads as zeros at first; has the size that was staged.
    var volume: any ResizableVolume { get }
    /// Makes the template visible, durably and atomically, and closes the volume. Throws `alreadyExists` when
    /// another import published that name first.
    func publish() async throws(StorageError) -> VolumeDescription
    /// Removes everything. Safe after `publish`, where it does nothing.
    func discard() async
}

/// `NAME` or `NAME@SNAPSHOT` inside a pool.
public struct VolumeReference: Hashable, Sendable, Codable, CustomStringConvertible {
    public var name: String
    public var snapshot: String?

    public init(_ name: String, snapshot: String? = nil) {
        self.name = name
        self.snapshot = snapshot
    }

    public var description: String { snapshot.map { "\(name)@\($0)" } ?? name }
}

/// The rule for the names of volumes, templates, snapshots and pools.
public enum VolumeName {
    /// Letters, digits, `.`, `_`, `-` and `+`, 1 to 200 bytes, not beginning with `.` or `-`.
    ///
    /// Throws `invalidArgument` for anything else, so that a name can stand in a path, a URL and an argument list.
    public static func check(_ name: String, as what: String = "volume name") throws(StorageError) {
        guard isValid(name) else {
            throw StorageError(
                .invalidArgument, what, at: "'\(name)'",
                why: "use 1 to 200 letters, digits, '.', '_', '-' or '+', not beginning with '.' or '-'")
        }
    }

    /// Whether `check` accepts the name.
    public static func isValid(_ name: String) -> Bool {
        let isAllowed = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"),
                UInt8(ascii: "+"):
                true
            default: false
            }
        }
        return isAllowed && (1...200).contains(name.utf8.count) && !name.hasPrefix(".") && !name.hasPrefix("-")
    }
}

public enum VolumeFormat: String, Sendable, Codable, CaseIterable {
    case raw, qcow2
}

/// How much of a new volume is allocated at once: for QCOW2 preallocation off, metadata, full.
public enum ProvisioningType: String, Sendable, Codable, CaseIterable {
    case thin, sparse, fat
}

public struct CreateRequest: Equatable, Sendable {
    /// In bytes.
    public var size: UInt64
    public var format: VolumeFormat
    public var provisioning: ProvisioningType
    public var qos: QoSPolicy?

    public init(
        size: UInt64, format: VolumeFormat = .qcow2, provisioning: ProvisioningType = .thin, qos: QoSPolicy? = nil
    ) {
        self.size = size
        self.format = format
        self.provisioning = provisioning
        self.qos = qos
    }
}

public struct CloneRequest: Equatable, Sendable {
    /// In bytes, not less than the source; nil for the size of the source.
    public var size: UInt64?
    /// A copy that does not depend on the source.
    public var isFull: Bool
    public var qos: QoSPolicy?

    public init(size: UInt64? = nil, isFull: Bool = false, qos: QoSPolicy? = nil) {
        self.size = size
        self.isFull = isFull
        self.qos = qos
    }
}

public enum OpenMode: String, Sendable {
    /// Many may read at once; nobody may write.
    case readOnly
    /// One writer, alone.
    case exclusive
}

/// What happens to the clones of a volume that is deleted.
public enum DeletePolicy: String, Sendable, CaseIterable {
    case refuse, flatten, trash
}

public enum CheckRepair: String, Sendable, CaseIterable {
    case none, leaks, all
}

/// What a check of a volume's metadata found.
public struct CheckReport: Equatable, Sendable {
    public enum Outcome: String, Sendable { case clean, corrupt, leaks }

    /// Left after any repair.
    public var corruptions: Int
    public var leaks: Int
    public var corruptionsFixed: Int
    public var leaksFixed: Int
    public var allocatedClusters: UInt64
    /// The first findings, each a sentence; at most 100.
    public var findings: [String]

    public init(
        corruptions: Int = 0, leaks: Int = 0, corruptionsFixed: Int = 0, leaksFixed: Int = 0,
        allocatedClusters: UInt64 = 0, findings: [String] = []
    ) {
        self.corruptions = corruptions
        self.leaks = leaks
        self.corruptionsFixed = corruptionsFixed
        self.leaksFixed = leaksFixed
        self.allocatedClusters = allocatedClusters
        self.findings = findings
    }

    public var outcome: Outcome { corruptions > 0 ? .corrupt : leaks > 0 ? .leaks : .clean }
}

/// Whether a pool answers in time.
public enum PoolHealth: Equatable, Sendable {
    case healthy
    /// It does not; the reason says what is waited for.
    case unresponsive(reason: String)
}

public struct PoolStatistics: Equatable, Sendable {
    /// In bytes.
    public var capacity: UInt64
    public var allocated: UInt64
    public var available: UInt64
    /// Volumes and templates, whoever made them, where the storage counts them.
    public var volumeCount: UInt64?
    /// What the minimums of all its volumes may add up to, where the storage says so.
    public var capacityIOPS: UInt64?

    public init(
        capacity: UInt64, allocated: UInt64, available: UInt64, volumeCount: UInt64? = nil, capacityIOPS: UInt64? = nil
    ) {
        self.capacity = capacity
        self.allocated = allocated
        self.available = available
        self.volumeCount = volumeCount
        self.capacityIOPS = capacityIOPS
    }
}

/// What a pool knows of a volume or template from the storage itself.
public struct VolumeDescription: Equatable, Sendable {
    public var name: String
    /// What a hypervisor opens: an absolute path, `pool/image`, `/iqn/lun`, a URL.
    public var path: String
    /// As declared at creation or adoption; nil where nobody declared it, since it is never guessed from the bytes.
    public var format: VolumeFormat?
    /// In bytes.
    public var virtualSize: UInt64
    public var allocatedSize: UInt64
    public var provisioning: ProvisioningType
    /// The template or volume whose blocks this one shares.
    public var template: VolumeReference?
    public var snapshots: [String]
    /// Kept with the volume; nil where nothing is limited or promised.
    public var qos: QoSPolicy?
    /// False for what other tools put into the pool; only `adoptVolume` makes it usable.
    public var isManaged: Bool
    public var isTemplate: Bool
    /// What else the storage tells people of it, in the order in which they are used to it; not in lists.
    public var details: [Detail] = []

    /// A label, and what stands beside it.
    public struct Detail: Equatable, Sendable, Codable {
        public var label: String
        public var value: String

        public init(_ label: String, _ value: String) {
            self.label = label
            self.value = value
        }
    }

    public init(
        name: String, path: String, format: VolumeFormat?, virtualSize: UInt64, allocatedSize: UInt64,
        provisioning: ProvisioningType = .thin, template: VolumeReference? = nil, snapshots: [String] = [],
        qos: QoSPolicy? = nil, isManaged: Bool = true, isTemplate: Bool = false
    ) {
        self.name = name
        self.path = path
        self.format = format
        self.virtualSize = virtualSize
        self.allocatedSize = allocatedSize
        self.provisioning = provisioning
        self.template = template
        self.snapshots = snapshots
        self.qos = qos
        self.isManaged = isManaged
        self.isTemplate = isTemplate
    }
}

public struct SnapshotDescription: Equatable, Sendable, Codable {
    public var name: String
    /// The volume's virtual size at the snapshot, in bytes.
    public var size: UInt64
    /// What only this snapshot holds, in bytes, where the storage knows it.
    public var usedBytes: UInt64
    /// Seconds since 1970, UTC.
    public var createdAt: Int64
    public var isProtected: Bool
    public var children: [String]

    public init(
        name: String, size: UInt64, usedBytes: UInt64 = 0, createdAt: Int64, isProtected: Bool = false,
        children: [String] = []
    ) {
        self.name = name
        self.size = size
        self.usedBytes = usedBytes
        self.createdAt = createdAt
        self.isProtected = isProtected
        self.children = children
    }
}

/// Something a pool can do, with the formats and states in which it can.
public struct Capability: Hashable, Sendable {
    public enum Feature: String, Sendable, CaseIterable {
        case thinProvisioning, linkedClone, cloneFromSnapshot, snapshot, revert, protect, resizeOnline, shrink, discard
        case extents, changedExtents, exclusiveAttach, memorySnapshot, qosMinimum, qosMaximum, qosBurst, flatten, trash
    }

    /// The state of the volume that the feature is asked of.
    public enum State: String, Sendable, CaseIterable {
        case base, current, snapshot
    }

    public var feature: Feature
    /// Empty: every format of the pool.
    public var formats: [VolumeFormat]
    /// Empty: every state.
    public var states: [State]

    public init(_ feature: Feature, formats: [VolumeFormat] = [], states: [State] = []) {
        self.feature = feature
        self.formats = formats
        self.states = states
    }
}

/// Minimum, maximum and burst IOPS, counted in normalised 4 KiB operations a second, and a maximum of bytes a second.
public struct QoSPolicy: Hashable, Sendable, Codable {
    public var minIOPS: UInt64?
    public var maxIOPS: UInt64?
    public var burstIOPS: UInt64?
    /// Of reads and writes together.
    public var maxBytesPerSecond: UInt64?

    /// Nothing is promised and nothing is limited.
    public static let unlimited = QoSPolicy()

    private init() {}

    /// Throws `invalidArgument` unless 0 < minimum ≤ maximum ≤ burst and 0 < bytes, as far as they are given.
    public init(
        minIOPS: UInt64? = nil, maxIOPS: UInt64? = nil, burstIOPS: UInt64? = nil, maxBytesPerSecond: UInt64? = nil
    ) throws(StorageError) {
        let given = [minIOPS, maxIOPS, burstIOPS].compactMap(\.self)
        guard given.allSatisfy({ $0 > 0 }), zip(given, given.dropFirst()).allSatisfy({ $0 <= $1 }),
            maxBytesPerSecond != 0
        else {
            func text(_ value: UInt64?) -> String { value.map { "\($0)" } ?? "none" }
            throw StorageError(
                .invalidArgument, "QoS policy",
                why: "minimum \(text(minIOPS)), maximum \(text(maxIOPS)), burst \(text(burstIOPS)), bytes a second "
                    + "\(text(maxBytesPerSecond)): it needs 0 < minimum <= maximum <= burst IOPS, and 0 < bytes")
        }
        self.minIOPS = minIOPS
        self.maxIOPS = maxIOPS
        self.burstIOPS = burstIOPS
        self.maxBytesPerSecond = maxBytesPerSecond
    }
}

/// Where a pool records what it is about to do in several steps, so that a crash can be finished or undone.
public protocol IntentLog: Sendable {
    /// Records an intent durably before it is acted on. What it was begun for is finished or undone by the pool's
    /// `recover` if this process dies.
    func begin(_ intent: Intent) async throws(StorageError) -> IntentToken
    /// The work is done, or undone: forget it.
    func end(_ token: IntentToken) async throws(StorageError)
}

public struct IntentToken: Hashable, Sendable {
    public let id: Int64

    public init(id: Int64) { self.id = id }
}

public struct Intent: Hashable, Sendable, Codable {
    /// The operation: `clone`, `import`, `copy`, …
    public var operation: String
    public var pool: String
    /// What the operation makes or changes: nobody does anything else with it meanwhile. A template that is cloned from
    /// is not that, its clone is.
    public var volume: String
    /// What the operation needs to be finished or undone.
    public var details: [String: String]

    public init(operation: String, pool: String, volume: String, details: [String: String] = [:]) {
        self.operation = operation
        self.pool = pool
        self.volume = volume
        self.details = details
    }
}
