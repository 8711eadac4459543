import BlockStorage
import GRDB

/// The burst that a volume had saved when this host was done with it.
///
/// It is this host's own: a volume that was used elsewhere meanwhile has here what it had earned here.
struct BurstCreditRow: Codable, Equatable, Sendable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "burstCredit"

    var pool: String
    var name: String
    /// In hundredths of a 4 KiB operation.
    var credit: Int64
}

extension Catalog {
    /// What is saved for a volume, 0 where nothing is.
    func burstCredit(of volume: VolumeAddress) async throws(StorageError) -> Int64 {
        try await read("find burst credit") { database in
            try BurstCreditRow.fetchOne(database, key: ["pool": volume.pool, "name": volume.name])?.credit ?? 0
        }
    }

    func saveBurstCredit(_ credit: Int64, of volume: VolumeAddress) async throws(StorageError) {
        let row = BurstCreditRow(pool: volume.pool, name: volume.name, credit: credit)
        try await write("save burst credit") { database in try row.save(database) }
    }
}
