import BlockStorage
import Glibc
import IORuntime
import SystemPackage

/// A file that gets its name when it is complete.
struct NewFile: Sendable {
    let file: File
    private let path: FilePath
    private let temporaryPath: FilePath

    /// A new, empty file in the directory of `path`. Throws `alreadyExists` when there is something at `path`.
    static func make(at path: FilePath) async throws(StorageError) -> NewFile {
        let name = path.lastComponent?.string ?? ""
        let directory = path.removingLastComponent()
        let temporaryPath = directory.appending(".\(name.prefix(150)).\(UInt64.random(in: .min ... .max))")
        do throws(SystemError) {
            let isTaken = await blockingWork.run { (try? FileStatus(at: path, followsLinks: false)) != nil }
            if isTaken { throw SystemError(.fileExists, "open") }
            return NewFile(
                file: try await File.open(
                    temporaryPath, [.write, .create, .exclusive, .noFollow], blocking: blockingWork),
                path: path, temporaryPath: temporaryPath)
        } catch {
            throw StorageError(error, "create file", at: path.string)
        }
    }

    /// Gives the file its name, durably. Its contents must be durable already.
    func publish() async throws(StorageError) {
        do throws(SystemError) {
            try await blockingWork.run { [path, temporaryPath] () throws(SystemError) in
                do throws(SystemError) {
                    // A second name fails where a rename would replace what is there.
                    try unsafe Self.call("link", temporaryPath, path) { unsafe link($0, $1) }
                    try unsafe Self.call("unlink", temporaryPath, path) { old, _ in unsafe unlink(old) }
                } catch  where [.notPermitted, .notSupported, .notSupportedOnSocket, .noFunction].contains(error.errno)
                {
                    // A file system without second names.
                    if (try? FileStatus(at: path, followsLinks: false)) != nil {
                        throw SystemError(.fileExists, "rename")
                    }
                    try unsafe Self.call("rename", temporaryPath, path) { unsafe rename($0, $1) }
                }
            }
            let parent = path.removingLastComponent()
            let directory = try await File.open(parent.isEmpty ? "." : parent, [.directory], blocking: blockingWork)
            try await directory.synchronize(dataOnly: false)
            try await directory.close()
        } catch {
            throw StorageError(error, "create file", at: path.string)
        }
    }

    /// Removes the file, unless it has its name.
    func discard() async {
        try? await file.close()
        _ = await blockingWork.run { [temporaryPath] in
            unsafe temporaryPath.withPlatformString { unsafe unlink($0) }
        }
    }

    private static func call(
        _ name: String, _ old: FilePath, _ new: FilePath,
        _ body: (UnsafePointer<CChar>, UnsafePointer<CChar>) -> Int32
    ) throws(SystemError) {
        let result = unsafe old.withPlatformString { old in
            unsafe new.withPlatformString { new in unsafe body(old, new) }
        }
        if result != 0 { throw SystemError(Errno(rawValue: errno), name) }
    }
}
