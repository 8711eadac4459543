import BlockStorage
import GRDB

/// What a pool cannot hold about a volume.
struct VolumeRecord: Codable, Equatable, Sendable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "volume"

    var pool: String
    var name: String
    var provisioning: ProvisioningType
    var minIOPS: Int64?
    var maxIOPS: Int64?
    var burstIOPS: Int64?
    var maxBytesPerSecond: Int64?
    var tags: [String] = []
    /// In bytes, with `lazyFormat`, while the volume has not been made yet.
    var lazySize: Int64?
    var lazyFormat: VolumeFormat?
    /// `POOL/NAME[@SNAPSHOT]` that it was cloned from, before it was moved to a pool without that.
    var template: String?

    init(pool: String, name: String, provisioning: ProvisioningType) {
        self.pool = pool
        self.name = name
        self.provisioning = provisioning
    }

    var address: VolumeAddress { VolumeAddress(pool: pool, name: name) }

    /// The policy, nil where nothing is limited or promised.
    var qos: QoSPolicy? {
        // A record that breaks the policy's rules can only come from a tampered catalog; it promises nothing.
        let policy = try? QoSPolicy(
            minIOPS: minIOPS.flatMap { UInt64(exactly: $0) }, maxIOPS: maxIOPS.flatMap { UInt64(exactly: $0) },
            burstIOPS: burstIOPS.flatMap { UInt64(exactly: $0) },
            maxBytesPerSecond: maxBytesPerSecond.flatMap { UInt64(exactly: $0) })
        return policy == .unlimited ? nil : policy
    }

    mutating func setQoS(_ policy: QoSPolicy?) throws(StorageError) {
        minIOPS = try Self.integer(policy?.minIOPS)
        maxIOPS = try Self.integer(policy?.maxIOPS)
        burstIOPS = try Self.integer(policy?.burstIOPS)
        maxBytesPerSecond = try Self.integer(policy?.maxBytesPerSecond)
    }

    /// SQLite's integers have 63 bits.
    static func integer(_ value: UInt64?) throws(StorageError) -> Int64? {
        guard let value else { return nil }
        guard let result = Int64(exactly: value) else {
            throw StorageError(.outOfRange, "record value", at: "\(value)", why: "the largest is \(Int64.max)")
        }
        return result
    }
}

extension Catalog {
    func volume(_ name: String, in pool: String) async throws(StorageError) -> VolumeRecord? {
        try await read("find volume") { database in
            try VolumeRecord.fetchOne(database, key: ["pool": pool, "name": name])
        }
    }

    func volumes(in pool: String) async throws(StorageError) -> [VolumeRecord] {
        try await read("list volumes") { database in
            try VolumeRecord.filter(Column("pool") == pool).order(Column("name")).fetchAll(database)
        }
    }

    /// Those of which the catalog says what no pool does: that are not made yet, or were cloned in another pool.
    func volumesBeyondPools(in pool: String) async throws(StorageError) -> [VolumeRecord] {
        try await read("list volumes") { database in
            try VolumeRecord.filter(Column("pool") == pool)
                .filter(Column("lazySize") != nil || Column("template") != nil)
                .order(Column("name")).fetchAll(database)
        }
    }

    func save(_ volume: VolumeRecord) async throws(StorageError) {
        try await write("record volume") { try Self.save(volume, $0) }
    }

    static func save(_ volume: VolumeRecord, _ database: Database) throws { try volume.save(database) }

    /// Saves the record of a volume that has just been made, unless it has one. That of a volume which was allocated
    /// and not made gives way.
    static func complete(_ volume: VolumeRecord, _ database: Database) throws {
        let existing = try VolumeRecord.fetchOne(database, key: ["pool": volume.pool, "name": volume.name])
        if existing == nil || existing?.lazySize != nil { try volume.save(database) }
    }

    /// Forgets what is recorded of a volume or template.
    static func forget(_ volume: VolumeAddress, _ database: Database) throws {
        let key = ["pool": volume.pool, "name": volume.name]
        _ = try VolumeRecord.deleteOne(database, key: key)
        _ = try TemplateRow.deleteOne(database, key: key)
        _ = try BurstCreditRow.deleteOne(database, key: key)
    }

    /// Gives a volume's record a new name or pool; one that is there under the new name is replaced.
    static func move(_ volume: VolumeAddress, to target: VolumeAddress, _ database: Database) throws {
        try forget(target, database)
        if var credit = try BurstCreditRow.fetchOne(database, key: ["pool": volume.pool, "name": volume.name]) {
            try credit.delete(database)
            (credit.pool, credit.name) = (target.pool, target.name)
            try credit.save(database)
        }
        guard var record = try VolumeRecord.fetchOne(database, key: ["pool": volume.pool, "name": volume.name]) else {
            return
        }
        try record.delete(database)
        record.pool = target.pool
        record.name = target.name
        try record.save(database)
    }
}
