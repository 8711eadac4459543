import BlockStorage
import GRDB
import Templates

/// What was imported as a template, so that the same import need not be done again.
struct TemplateRow: Codable, Equatable, Sendable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "template"

    var pool: String
    var name: String
    /// As `Checksum` writes it.
    var checksum: String?
    var sourceSize: Int64
    var virtualSize: Int64
    /// What the source said of its version, as JSON.
    var version: SourceVersion?

    init(_ record: TemplateRecord, _ template: VolumeAddress) {
        pool = template.pool
        name = template.name
        checksum = record.checksum?.description
        sourceSize = Int64(clamping: record.sourceSize)
        virtualSize = Int64(clamping: record.virtualSize)
        version = record.version
    }
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
            checksum: row.checksum.flatMap { try? Checksum($0) }, sourceSize: sourceSize, virtualSize: size,
            version: row.version)
    }

    static func save(_ template: TemplateRow, _ database: Database) throws { try template.save(database) }
}
