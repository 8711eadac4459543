import BlockStorage
import Foundation

/// All that a cluster keeps across a restart.
///
/// Times are nanoseconds since 1970, identifiers are never used again.
struct ClusterState: Codable, Equatable {
    /// Four letters or digits, part of every volume's name on the network.
    let clusterID: String
    let uuid: UUID
    var nextID = 1
    var accounts: [Int: AccountRecord] = [:]
    var volumes: [Int: VolumeRecord] = [:]
    var snapshots: [Int: SnapshotRecord] = [:]
    var groups: [Int: AccessGroupRecord] = [:]
    var initiators: [Int: InitiatorRecord] = [:]
    var policies: [Int: QoSPolicyRecord] = [:]
    var jobs: [Int: CloneJob] = [:]
    var defaultQoS: QoSRecord

    mutating func takeID() -> Int {
        defer { nextID += 1 }
        return nextID
    }
}

/// Minimum, maximum and burst, in 4 KiB operations a second.
struct QoSRecord: Codable, Hashable {
    var minIOPS: Int
    var maxIOPS: Int
    var burstIOPS: Int
}

struct AccountRecord: Codable, Hashable {
    let accountID: Int
    var username: String
    var status: Status
    var initiatorSecret: StoredSecret
    var targetSecret: StoredSecret
    var enableChap: Bool
    var attributes: [String: JSONValue]

    enum Status: String, Codable { case active, locked }
}

/// A CHAP secret as the state keeps it, in a file that only its owner reads.
struct StoredSecret: Codable, Hashable {
    var secret: Secret

    init(_ secret: Secret) { self.secret = secret }

    init(from decoder: any Decoder) throws {
        secret = Secret(try decoder.singleValueContainer().decode(String.self))
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try secret.reveal { text in try container.encode(text) }
    }

    /// As the calls that tell secrets answer it.
    var json: JSONValue { secret.reveal { .string($0) } }
}

struct VolumeRecord: Codable, Hashable {
    let volumeID: Int
    let name: String
    let uuid: UUID
    let consistencyGroupUUID: UUID
    var accountID: Int
    var status: Status
    var access: Access
    let enable512e: Bool
    var qos: QoSRecord
    var qosPolicyID: Int?
    /// In bytes, a multiple of 1 MiB.
    var totalSize: Int
    var attributes: [String: JSONValue]
    let createTime: UInt64
    var deleteTime: UInt64?
    var purgeTime: UInt64?
    /// Rises each time that the volume's bytes are put in place of others.
    var generation = 1

    enum Status: String, Codable { case creating, snapshotting, active, deleted }
    enum Access: String, Codable { case readOnly, readWrite, locked, replicationTarget, snapMirrorTarget }

    /// What holds the volume's bytes.
    var dataID: String { "volume-\(volumeID)-\(generation)" }
}

struct SnapshotRecord: Codable, Hashable {
    let snapshotID: Int
    let volumeID: Int
    let uuid: UUID
    let name: String
    let totalSize: Int
    let createTime: UInt64
    var attributes: [String: JSONValue]
    var expirationTime: UInt64?
    var enableRemoteReplication: Bool
    var snapMirrorLabel: String?

    var dataID: String { "snapshot-\(snapshotID)" }
}

struct AccessGroupRecord: Codable, Hashable {
    let volumeAccessGroupID: Int
    var name: String
    var initiatorIDs: [Int] = []
    var volumes: [Int] = []
    /// Members that come back if they are restored.
    var deletedVolumes: [Int] = []
    var attributes: [String: JSONValue]
}

struct InitiatorRecord: Codable, Hashable {
    let initiatorID: Int
    let name: String
    var alias: String
    var attributes: [String: JSONValue]
}

struct QoSPolicyRecord: Codable, Hashable {
    let qosPolicyID: Int
    var name: String
    var qos: QoSRecord
}

/// A clone that is being made, or was.
struct CloneJob: Codable, Hashable {
    let handle: Int
    /// Another number by which the job is known.
    let cloneID: Int
    let sourceID: Int
    /// The volume that is made.
    let volumeID: Int
    let createTime: UInt64
    var updateTime: UInt64
    /// When it is done; nil for one that runs for ever.
    var dueTime: UInt64?
    /// What it ends with, if not well.
    var failure: ElementError?
    /// Whether it then has the status `error`, with the failure as its result, instead of the status `complete` with
    /// the failure beside it. Nil in a state that was saved before there was a choice.
    var hasErrorStatus: Bool?
    var isComplete = false
}
