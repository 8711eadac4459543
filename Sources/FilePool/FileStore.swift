import BlockStorage
import IORuntime

/// The directory that a pool lives in, on whatever serves files: the operating system, or an NFS client library.
///
/// Names are relative to the directory; those of the pool's own hidden directory contain one slash. No call follows a
/// symbolic link as the last component unless it says so.
public protocol FileStore: Sendable {
    /// Requests that have not come back in time; nil while all do.
    var overdue: IODeadline.Overdue? { get }
    /// What a hypervisor opens for `name`: an absolute path or a URL. The directory itself for an empty name.
    func location(of name: String) -> String
    func open(_ name: String, _ mode: FileOpenMode) async throws(StorageError) -> any StoredFile
    /// The status of `name`, or of the directory itself for an empty name; an absolute path where `followsLinks`.
    func status(of name: String, followsLinks: Bool) async throws(StorageError) -> FileStatus
    /// What the directory `name` holds; this directory for an empty name.
    func entries(in name: String) async throws(StorageError) -> [Directory.Entry]
    /// The names in the directory `name`; of this directory for an empty name.
    func names(in name: String) async throws(StorageError) -> [String]
    /// Throws `alreadyExists` when something has that name.
    func makeDirectory(_ name: String) async throws(StorageError)
    /// Throws `alreadyExists` when something has that name.
    func makeSymbolicLink(_ name: String, to target: String) async throws(StorageError)
    func targetOfSymbolicLink(_ name: String) async throws(StorageError) -> String
    /// The targets of all symbolic links in the directory `name`, by their names.
    func targetsOfSymbolicLinks(in name: String) async throws(StorageError) -> [String: String]
    /// The first `count` bytes of each of the files, or all where it has fewer; nil for what cannot be read now.
    func beginnings(of names: [String], count: Int) async -> [[UInt8]?]
    /// Throws `alreadyExists`, and changes nothing, when something has the new name and `replacing` is false.
    func rename(_ name: String, to newName: String, replacing: Bool) async throws(StorageError)
    /// A second name for a file. Throws `alreadyExists` when something has it.
    func link(_ name: String, to newName: String) async throws(StorageError)
    func remove(_ name: String) async throws(StorageError)
    /// Makes what was created, renamed and removed in the directory `name` durable.
    func synchronize(_ name: String) async throws(StorageError)
    func space() async throws(StorageError) -> FileSystemSpace
}

extension FileStore {
    /// As `entries` has them; a store that has a faster way takes it.
    public func names(in name: String) async throws(StorageError) -> [String] {
        try await entries(in: name).map(\.name)
    }

    /// One call for each; a store that has a faster way takes it.
    public func targetsOfSymbolicLinks(in name: String) async throws(StorageError) -> [String: String] {
        var targets: [String: String] = [:]
        for entry in try await entries(in: name) {
            do throws(StorageError) {
                targets[entry.name] = try await targetOfSymbolicLink("\(name)/\(entry.name)")
            } catch {
                // Gone since it was listed, or no link.
                if error.code != .notFound && error.code != .invalidArgument { throw error }
            }
        }
        return targets
    }

    /// Nothing: whoever asks reads each file himself then.
    public func beginnings(of names: [String], count: Int) async -> [[UInt8]?] { names.map { _ in nil } }
}

/// How a file of a store is opened.
public enum FileOpenMode: Sendable {
    case readOnly
    case write
    /// A new file, for writing; refused when something has that name.
    case create
}

/// An open file of a store. Closing its volume closes it and drops its locks.
public protocol StoredFile: Sendable {
    /// The bytes of the file. Its size is the file's.
    var volume: any ResizableVolume { get }
    func status() async throws(StorageError) -> FileStatus
    /// Sets the size of the volume, durably with its next flush.
    func resizeBeforeFlush(to size: UInt64) async throws(StorageError)
    /// Takes or drops a byte-range lock that belongs to this open file; false when another one is in the way.
    func lock(_ kind: File.LockKind, _ range: Range<UInt64>) async throws(StorageError) -> Bool
    /// Whether another open file, here or on another host, holds a lock in `range` that `kind` would conflict with.
    func isLockedByOther(_ kind: File.LockKind, _ range: Range<UInt64>) async throws(StorageError) -> Bool
    /// Lets nobody write the file any more who respects its permissions.
    func protectFromWriting() async throws(StorageError)
}
