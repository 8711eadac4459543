import BlockStorage

/// What holds the bytes of a cluster's volumes and lets initiators get at them.
///
/// The cluster's state is the truth; what is here follows it, and is made again where it is lost.
public protocol VolumeBackend: Sendable {
    /// Makes bytes, durably, before anything refers to them.
    func perform(_ changes: [DataChange]) async throws(StorageError)
    /// Makes that initiators see these volumes of a cluster and no others, and forgets all bytes but those named. The
    /// names of all the cluster's targets begin with `cluster`. Sessions of a volume end before its bytes do. Called again
    /// and again, it makes what is missing.
    func export(
        _ volumes: [VolumeExport], cluster: String, keeping data: Set<String>
    ) async throws(StorageError)
    /// What each volume has been used, by its number.
    func counters() async throws(StorageError) -> [Int: VolumeCounters]
    /// Who is logged in.
    func sessions() async throws(StorageError) -> [VolumeSession]
}

/// A volume as initiators see it.
public struct VolumeExport: Hashable, Sendable {
    public enum Access: Hashable, Sendable {
        /// Initiators that know the account's first secret. With the second the target proves itself to those that ask.
        case account(String, initiator: Secret, target: Secret)
        /// Initiators with these names.
        case initiators([String])
    }

    public var volumeID: Int
    /// The target's name.
    public var name: String
    /// 16 hexadecimal digits that no other volume has.
    public var identity: String
    public var dataID: String
    /// In bytes.
    public var size: Int
    /// In bytes: 512 or 4096.
    public var blockSize: Int
    public var isReadOnly: Bool
    public var access: Access
}

/// A login of an initiator.
public struct VolumeSession: Hashable, Sendable {
    public var volumeID: Int
    public var initiator: String
    public var address: String?
    public var number: Int

    public init(volumeID: Int, initiator: String, address: String?, number: Int) {
        self.volumeID = volumeID
        self.initiator = initiator
        self.address = address
        self.number = number
    }
}

/// No bytes and no targets: only the management of a cluster is simulated.
public struct NoVolumes: VolumeBackend {
    public init() {}

    public func perform(_ changes: [DataChange]) async throws(StorageError) {}
    public func export(
        _ volumes: [VolumeExport], cluster: String, keeping data: Set<String>
    ) async throws(StorageError) {}
    public func counters() async throws(StorageError) -> [Int: VolumeCounters] { [:] }
    public func sessions() async throws(StorageError) -> [VolumeSession] { [] }
}

extension ElementCluster {
    /// What initiators may see: volumes that can be read, each by those with the account's secret, or where it is in
    /// access groups with initiators by these.
    ///
    /// The array lets in either; a target of tgt's asks everybody for a secret or nobody.
    var exports: [VolumeExport] {
        let groups = groupsByVolume()
        return state.volumes.values.sorted { $0.volumeID < $1.volumeID }.compactMap { volume in
            guard volume.status == .active || volume.status == .snapshotting,
                volume.access == .readOnly || volume.access == .readWrite,
                let account = state.accounts[volume.accountID]
            else { return nil }
            let initiators = (groups[volume.volumeID] ?? []).flatMap { state.groups[$0]?.initiatorIDs ?? [] }
                .compactMap { state.initiators[$0]?.name }
            let access: VolumeExport.Access
            if !initiators.isEmpty {
                access = .initiators(Set(initiators).sorted())
            } else if account.enableChap, account.status == .active {
                access = .account(
                    account.username, initiator: account.initiatorSecret.secret, target: account.targetSecret.secret)
            } else {
                return nil
            }
            return VolumeExport(
                volumeID: volume.volumeID, name: name(of: volume), identity: identity(of: volume),
                dataID: volume.dataID, size: volume.totalSize, blockSize: volume.enable512e ? 512 : 4096,
                isReadOnly: volume.access == .readOnly, access: access)
        }
    }
}
