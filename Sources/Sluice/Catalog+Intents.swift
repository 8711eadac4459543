import BlockStorage
import Foundation
import GRDB

/// What is being done, and by which process.
private struct IntentRow: Codable, Sendable, FetchableRecord, MutablePersistableRecord {
    static let databaseTableName = "intent"

    var id: Int64?
    var processID: Int32
    /// A `Workflow`, as JSON.
    var content: String

    mutating func didInsert(_ inserted: InsertionSuccess) { id = inserted.rowID }

    /// Nil for what only another version can read.
    var recorded: RecordedWorkflow? {
        guard let id, let workflow = try? JSONDecoder().decode(Workflow.self, from: Data(content.utf8)) else {
            return nil
        }
        return RecordedWorkflow(token: IntentToken(id: id), workflow: workflow, processID: processID)
    }
}

/// A workflow that is under way, or whose process died.
struct RecordedWorkflow: Equatable, Sendable {
    var token: IntentToken
    var workflow: Workflow
    /// Of the process that began it.
    var processID: Int32
}

/// The catalog's intents. Whoever runs a workflow holds the locks of its volumes: whoever gets one of those locks and
/// finds an intent knows that nobody runs it any more.
struct CatalogIntents: IntentLog {
    let catalog: Catalog

    func begin(_ workflow: Workflow) async throws(StorageError) -> IntentToken {
        let row = IntentRow(
            processID: ProcessInfo.processInfo.processIdentifier, content: try Self.encode(workflow))
        let id = try await catalog.write("record intent") { database in try row.inserted(database).id }
        return IntentToken(id: id ?? 0)
    }

    /// Records how far a workflow is, in one transaction with `changes`.
    func advance(
        _ token: IntentToken, to workflow: Workflow,
        _ changes: @escaping @Sendable (Database) throws -> Void = { _ in }
    ) async throws(StorageError) {
        let content = try Self.encode(workflow)
        try await catalog.write("advance intent") { database in
            try changes(database)
            try IntentRow.filter(key: token.id).updateAll(database, Column("content").set(to: content))
        }
    }

    /// Forgets a workflow that is done or undone, in one transaction with `changes`.
    func end(
        _ token: IntentToken, _ changes: @escaping @Sendable (Database) throws -> Void
    ) async throws(StorageError) {
        try await catalog.write("end intent") { database in
            try changes(database)
            _ = try IntentRow.deleteOne(database, key: token.id)
        }
    }

    /// All workflows that are recorded, in the order in which they began.
    func all() async throws(StorageError) -> [RecordedWorkflow] {
        try await catalog.read("read intents") { database in
            try IntentRow.order(Column("id")).fetchAll(database).compactMap(\.recorded)
        }
    }

    /// The workflows that change any of `volumes`, in the order in which they began.
    func all(about volumes: some Collection<VolumeAddress>) async throws(StorageError) -> [RecordedWorkflow] {
        try await all().filter { recorded in recorded.workflow.volumes.contains { volumes.contains($0) } }
    }

    /// How far the workflow is; nil when it has ended.
    func workflow(_ token: IntentToken) async throws(StorageError) -> Workflow? {
        try await catalog.read("read intent") { database in
            try IntentRow.fetchOne(database, key: token.id)?.recorded?.workflow
        }
    }

    // A pool's own intents.

    func begin(_ intent: Intent) async throws(StorageError) -> IntentToken { try await begin(.pool(intent)) }

    func end(_ token: IntentToken) async throws(StorageError) { try await end(token) { _ in } }

    private static func encode(_ workflow: Workflow) throws(StorageError) -> String {
        do {
            return String(decoding: try JSONEncoder().encode(workflow), as: UTF8.self)
        } catch {
            throw StorageError(.internalError, "record intent", why: "\(error)")
        }
    }
}
