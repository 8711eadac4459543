import BlockStorage
import GRDB

/// A pool as it is registered on this host.
struct PoolRecord: Codable, Equatable, Sendable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "pool"

    var name: String
    /// In its canonical form, without secrets.
    var url: String
    var tags: [String]
    var capacityBytes: Int64?
    var capacityIOPS: Int64?
    /// The name of its secret in the secret store.
    var secret: String?
    /// What its storage said it was when the pool was registered.
    var identity: String?

    /// What whoever registered the pool limits: thin volumes may be larger than the storage where nobody said how much
    /// larger.
    func limits(_ url: PoolURL) -> PoolLimits {
        PoolLimits(
            capacityBytes: capacityBytes.flatMap { UInt64(exactly: $0) },
            overprovisioning: url.overprovisioning ?? (capacityBytes == nil ? .infinity : 1),
            capacityIOPS: capacityIOPS.flatMap { UInt64(exactly: $0) })
    }
}

extension Catalog {
    func pools() async throws(StorageError) -> [PoolRecord] {
        try await read("list pools") { database in try PoolRecord.order(Column("name")).fetchAll(database) }
    }

    func pool(_ name: String) async throws(StorageError) -> PoolRecord? {
        try await read("find pool") { database in try PoolRecord.fetchOne(database, key: name) }
    }

    /// Inserts a pool, unless one of that name is there: that one is returned then.
    func insert(_ pool: PoolRecord) async throws(StorageError) -> PoolRecord? {
        try await write("add pool") { database in
            if let existing = try PoolRecord.fetchOne(database, key: pool.name) { return existing }
            try pool.insert(database)
            return nil
        }
    }

    /// Forgets a pool and its volumes' records; false when it was not there.
    func deletePool(_ name: String) async throws(StorageError) -> Bool {
        try await write("remove pool") { database in try PoolRecord.deleteOne(database, key: name) }
    }
}
