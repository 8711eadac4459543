import BlockStorage
import Foundation
import IORuntime
import SystemPackage

/// The directory that holds a host's catalog, secrets and the records of what is attached.
///
/// It is of mode 0700 and every file in it of 0600: made so, and refused while others could write it.
public struct StorageHome: Hashable, Sendable {
    public let path: FilePath

    private static let catalogName = "catalog.sqlite"

    var catalog: FilePath { path.appending(Self.catalogName) }
    /// One byte a volume or template.
    var operationLocks: FilePath { path.appending("operations.lock") }
    var secrets: FilePath { path.appending("secrets") }
    /// One record of each attachment, and the control socket of those that may write.
    var run: FilePath { path.appending("run") }

    /// Opens the directory, and makes it where it is missing. Throws `permissionDenied` where others may write it.
    public init(_ path: String) throws(StorageError) {
        let path = FilePath(path)
        guard !path.isEmpty else { throw StorageError(.invalidArgument, "open home", why: "the path is empty") }
        let absolute = path.isAbsolute ? path : FilePath(FileManager.default.currentDirectoryPath).pushing(path)
        self.path = absolute.lexicallyNormalized()
        try Self.makeDirectory(self.path)
    }

    /// `SLUICE_HOME`, else `/var/lib/sluice` for root and `~/.local/state/sluice` for others.
    public static var defaultPath: String {
        let environment = ProcessInfo.processInfo.environment
        if let home = environment["SLUICE_HOME"], !home.isEmpty { return home }
        return getuid() == 0 ? "/var/lib/sluice" : "\(environment["HOME"] ?? "/tmp")/.local/state/sluice"
    }

    /// Makes `path`, with its parents, of mode 0700; refuses one that belongs to another user or that others may write.
    static func makeDirectory(_ path: FilePath) throws(StorageError) {
        let manager = FileManager.default
        if let status = try? FileStatus(at: path), !status.isDirectory {
            throw StorageError(.invalidArgument, "open home", at: path.string, why: "it is not a directory")
        }
        do {
            try manager.createDirectory(
                atPath: path.string, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            let attributes = try manager.attributesOfItem(atPath: path.string)
            let mode = (attributes[.posixPermissions] as? NSNumber)?.intValue ?? 0
            let owner = (attributes[.ownerAccountID] as? NSNumber)?.uint32Value
            guard owner == getuid(), mode & 0o022 == 0 else {
                throw StorageError(
                    .permissionDenied, "open home", at: path.string,
                    why: "it must belong to this user and be writable by nobody else")
            }
            // Only what is a home already, or can become nothing else: never the mode of a directory with other uses.
            let entries = try manager.contentsOfDirectory(atPath: path.string)
            if mode & 0o077 != 0, entries.isEmpty || entries.contains(catalogName) {
                try manager.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path.string)
            }
        } catch let error as StorageError {
            throw error
        } catch {
            throw StorageError(foundation: error, "open home", at: path.string)
        }
    }
}

extension StorageError {
    /// An error of a Foundation file call, by the `errno` inside it.
    init(foundation error: any Error, _ what: String, at place: String) {
        var current: NSError? = error as NSError
        while let error = current {
            if error.domain == NSPOSIXErrorDomain {
                self.init(SystemError(Errno(rawValue: Int32(truncatingIfNeeded: error.code)), what), what, at: place)
                return
            }
            current = error.userInfo[NSUnderlyingErrorKey] as? NSError
        }
        self.init(.inputOutput, what, at: place, why: "\(error.localizedDescription)")
    }
}
