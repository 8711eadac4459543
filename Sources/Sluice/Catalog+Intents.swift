import BlockStorage
import Foundation
import GRDB
import IORuntime
import SystemPackage

/// What is being done, and by which process.
private struct IntentRecord: Codable, Sendable, FetchableRecord, MutablePersistableRecord {
    static let databaseTableName = "intent"

    var id: Int64?
    /// The byte of the lock file that the process holds while it lives.
    var owner: Int64
    /// An `Intent`, as JSON.
    var content: String

    mutating func didInsert(_ inserted: InsertionSuccess) { id = inserted.rowID }
}

/// The catalog's intents. A process proves that it is alive by a lock on a byte of a file that is its own: the kernel
/// drops it when the process dies, however it dies.
final class CatalogIntents: IntentLog {
    private let catalog: Catalog
    private let owner = Int64.random(in: 1...(Int64.max - 1))
    private let lock: File

    init(_ catalog: Catalog, lockFile: FilePath) async throws(StorageError) {
        self.catalog = catalog
        do {
            lock = try await File.open(lockFile, [.write, .create, .noFollow], permissions: [.ownerReadWrite])
            // Random in 63 bits: nobody else holds it.
            _ = try await lock.lock(.exclusive, Self.byte(owner))
        } catch {
            throw StorageError(error, "open intent log", at: lockFile.string)
        }
    }

    func begin(_ intent: Intent) async throws(StorageError) -> IntentToken {
        let record = IntentRecord(owner: owner, content: try Self.encode(intent))
        let id = try await catalog.write("record intent") { database in try record.inserted(database).id }
        return IntentToken(id: id ?? 0)
    }

    func end(_ token: IntentToken) async throws(StorageError) {
        try await catalog.write("end intent") { database in _ = try IntentRecord.deleteOne(database, key: token.id) }
    }

    /// What processes that are dead left unfinished. It belongs to this process from now on, so that no two take it up.
    func pending() async throws(StorageError) -> [(IntentToken, Intent)] {
        let records = try await catalog.read("read intents") { database in
            try IntentRecord.order(Column("id")).fetchAll(database)
        }
        var orphans: [Int64] = []
        for candidate in Set(records.map(\.owner)) where candidate != owner {
            do {
                if try await !lock.isLockedByOther(.exclusive, Self.byte(candidate)) { orphans.append(candidate) }
            } catch {
                throw StorageError(error, "read intents", at: lock.path.string)
            }
        }
        if orphans.isEmpty { return [] }
        let (dead, me) = (orphans, owner)
        let taken = try await catalog.write("take up intents") { database in
            let taken = try IntentRecord.filter(dead.contains(Column("owner"))).order(Column("id")).fetchAll(database)
            try IntentRecord.filter(dead.contains(Column("owner"))).updateAll(database, Column("owner").set(to: me))
            return taken
        }
        return taken.compactMap { record in
            guard let id = record.id, let intent = Self.decode(record.content) else { return nil }
            return (IntentToken(id: id), intent)
        }
    }

    private static func byte(_ owner: Int64) -> Range<UInt64> {
        let start = UInt64(clamping: owner)
        return start..<start + 1
    }

    private static func encode(_ intent: Intent) throws(StorageError) -> String {
        do {
            return String(decoding: try JSONEncoder().encode(intent), as: UTF8.self)
        } catch {
            throw StorageError(.internalError, "record intent", why: "\(error)")
        }
    }

    private static func decode(_ content: String) -> Intent? {
        try? JSONDecoder().decode(Intent.self, from: Data(content.utf8))
    }
}
