import BlockStorage

/// An operation on one volume that can be done while it is served, by the process that serves it.
///
/// The same value is performed here or sent to that process, so that both do the same.
enum VolumeRequest: Codable, Equatable, Sendable {
    case info
    /// Extents from `offset` on, as many as one reply holds.
    case map(offset: UInt64)
    case setQoS(QoSPolicy?)
    case resize(size: UInt64, allowShrink: Bool)
    case listSnapshots
    case createSnapshot(String)
    case deleteSnapshot(String)
    case setProtected(Bool, snapshot: String)

    /// Whether a volume that is allocated must be made for it.
    var needsVolume: Bool {
        switch self {
        case .info, .setQoS: false
        default: true
        }
    }

    /// Whether it is done while nothing else is done to the volume.
    var changesVolume: Bool {
        switch self {
        case .info, .map, .listSnapshots: false
        case .setQoS, .resize, .createSnapshot, .deleteSnapshot, .setProtected: true
        }
    }
}

/// The answer to a `VolumeRequest`.
enum VolumeReply: Codable, Equatable, Sendable {
    case done
    case details(VolumeDetails)
    /// Neighbours are of different kinds. `next` is where the following request starts, nil at the end.
    case extents([Extent], next: UInt64?)
    case snapshots([SnapshotDescription])
    case snapshot(SnapshotDescription)
    case failure(Failure)

    /// A `StorageError` between processes.
    struct Failure: Codable, Equatable, Sendable {
        var code: StorageError.Code
        var what: String
        var place: String
        var why: String

        init(_ error: StorageError) {
            (code, what, place, why) = (error.code, error.what, error.place, error.why)
        }

        var error: StorageError { StorageError(code, what, at: place, why: why) }
    }
}
