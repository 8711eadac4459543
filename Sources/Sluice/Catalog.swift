import BlockStorage
import Foundation
import GRDB
import IORuntime
import SystemPackage

/// What this host knows and no pool can hold: which pools there are, the policies and tags of volumes, and what is
/// being done.
///
/// A SQLite database of mode 0600, shared by every process that uses the same home. It never holds a secret. GRDB runs
/// each access on a queue of its own, so none of them blocks an I/O executor.
final class Catalog: Sendable {
    /// Called before and after each transaction that writes; what it throws, the write throws.
    typealias WriteObserver = @Sendable () throws(StorageError) -> Void

    let database: DatabaseQueue
    private let observer: WriteObserver?

    init(_ home: StorageHome, observer: WriteObserver? = nil) async throws(StorageError) {
        self.observer = observer
        let path = home.catalog
        do {
            // Made with its mode: SQLite would take the mode from the umask, and gives its side files that of this one.
            // Only made: to close a file that is there would release the locks that SQLite has on it in this process.
            try FileDescriptor.open(
                path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite]
            ).close()
        } catch Errno.fileExists {
            // SQLite would follow a link.
            let attributes = try? FileManager.default.attributesOfItem(atPath: path.string)
            guard attributes?[.type] as? FileAttributeType == .typeRegular else {
                throw StorageError(.invalidArgument, "open catalog", at: path.string, why: "it is no regular file")
            }
        } catch {
            throw StorageError(errno: error, "open catalog", at: path.string)
        }
        var configuration = Configuration()
        configuration.journalMode = .wal
        configuration.busyMode = .timeout(20)
        configuration.label = "sluice.catalog"
        let chosen = configuration
        do {
            database = try await BlockingPool.shared.run { () throws in
                let lockFile = home.path.appending("catalog.lock")
                let database = try Self.open(path, chosen, lockFile: lockFile)
                // An intent that is recorded must outlive a power failure: what it announces does.
                try database.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
                try Self.migrate(database, lockFile: lockFile)
                return database
            }
        } catch {
            throw StorageError(catalog: error, "open catalog", at: path.string)
        }
    }

    /// Opens the database, and makes it one with a write-ahead log if it is new.
    private static func open(
        _ path: FilePath, _ configuration: Configuration, lockFile: FilePath
    ) throws -> DatabaseQueue {
        func opened() throws -> DatabaseQueue { try DatabaseQueue(path: path.string, configuration: configuration) }
        // Of two processes that begin a log at once, SQLite tells one without any wait that the database is locked.
        let size = try FileManager.default.attributesOfItem(atPath: path.string)[.size] as? UInt64
        return size == 0 ? try whileLocked(lockFile, opened) : try opened()
    }

    /// One process at a time.
    private static func whileLocked<Result>(_ lockFile: FilePath, _ body: () throws -> Result) throws -> Result {
        let lock = try FileDescriptor.open(
            lockFile, .readWrite, options: [.create, .closeOnExec, .noFollow], permissions: [.ownerReadWrite])
        return try lock.closeAfter {
            guard flock(lock.rawValue, LOCK_EX) == 0 else { throw Errno(rawValue: errno) }
            return try body()
        }
    }

    private static func migrate(_ database: DatabaseQueue, lockFile: FilePath) throws {
        let version = migrator.migrations.count
        let found = try database.read { database in try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0 }
        if found > version {
            throw StorageError(.conflict, "open catalog", why: "a newer sluice wrote it: use that version")
        }
        if found == version { return }
        // The migrator looks what is missing before it begins a transaction.
        try whileLocked(lockFile) {
            try migrator.migrate(database)
            try database.write { database in try database.execute(sql: "PRAGMA user_version = \(version)") }
        }
    }

    func read<Result: Sendable>(
        _ what: String, _ body: @escaping @Sendable (Database) throws -> Result
    ) async throws(StorageError) -> Result {
        do { return try await database.read(body) } catch { throw StorageError(catalog: error, what) }
    }

    /// One transaction: all of `body` is durable when this returns, or nothing of it has happened.
    func write<Result: Sendable>(
        _ what: String, _ body: @escaping @Sendable (Database) throws -> Result
    ) async throws(StorageError) -> Result {
        try observer?()
        let result: Result
        do { result = try await database.write(body) } catch { throw StorageError(catalog: error, what) }
        try observer?()
        return result
    }
}

extension StorageError {
    /// An error of the catalog's database; one of our own passes through.
    init(catalog error: any Error, _ what: String, at place: String = "catalog") {
        if let error = error as? StorageError {
            self = error
            return
        }
        if error is Errno {
            self.init(errno: error, what, at: place)
            return
        }
        guard let error = error as? DatabaseError else {
            let code: Code = error is CancellationError ? .cancelled : .internalError
            self.init(code, what, at: place, why: "\(error)")
            return
        }
        let code: Code =
            switch error.resultCode {
            case .SQLITE_BUSY, .SQLITE_LOCKED: .busy
            case .SQLITE_FULL: .noSpace
            case .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_AUTH: .permissionDenied
            case .SQLITE_READONLY: .readOnly
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupt
            case .SQLITE_IOERR: .inputOutput
            case .SQLITE_INTERRUPT, .SQLITE_ABORT: .cancelled
            default: .internalError
            }
        self.init(code, what, at: place, why: error.message ?? "\(error.resultCode)")
    }
}
