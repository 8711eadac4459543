import BlockStorage
import GRDB
import Templates

/// What was imported as a template, so that the same import need not be done again.
private struct TemplateRow: Codable, Sendable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "template"

    var pool: String
    var name: String
    /// As `Checksum` writes it.
    var checksum: String?
    var sourceSize: Int64
    var virtualSize: Int64
}

extension Catalog {
    /// What is recorded of the template's import; nil where nothing is, or nothing that makes sense.
    func template(_ name: String, in pool: String) async throws(StorageError) -> TemplateRecord? {
        let row = try await read("find template") { database in
            try TemplateRow.fetchOne(database, key: ["pool": pool, "name": name])
        }
        guard let row, let sourceSize = UInt64(exactly: row.sourceSize), let size = UInt64(exactly: row.virtualSize)
        else { return nil }
        return TemplateRecord(
            checksum: row.checksum.flatMap { try? Checksum($0) }, sourceSize: sourceSize, virtualSize: size)
    }

    func save(_ record: TemplateRecord, ofTemplate name: String, in pool: String) async throws(StorageError) {
        let row = TemplateRow(
            pool: pool, name: name, checksum: record.checksum?.description,
            sourceSize: Int64(clamping: record.sourceSize), virtualSize: Int64(clamping: record.virtualSize))
        try await write("record template") { database in try row.save(database) }
    }

    func deleteTemplate(_ name: String, in pool: String) async throws(StorageError) {
        try await write("forget template") { database in
            _ = try TemplateRow.deleteOne(database, key: ["pool": pool, "name": name])
        }
    }
}
