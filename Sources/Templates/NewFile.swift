import BlockStorage
import Glibc
import IORuntime
import SystemPackage

/// A file that gets its name when it is complete.
struct NewFile: Sendable {
    let file: File
    private let path: FilePath
    private enum Holder {
        /// A file without any name, which is gone when this process dies. Open once more: `file` may be closed when it
        /// gets its name.
        case descriptor(File)
        case temporaryPath(FilePath)
    }

    private let holder: Holder

    /// A new, empty file in the directory of `path`. Throws `alreadyExists` when there is something at `path`.
    static func make(at path: FilePath) async throws(StorageError) -> NewFile {
        do throws(SystemError) {
            let nameless = try await blockingWork.run { () throws(SystemError) in
                if (try? FileStatus(at: path, followsLinks: false)) != nil { throw SystemError(.fileExists, "open") }
                return try openNameless(at: path)
            }
            if let nameless { return nameless }
            let name = path.lastComponent?.string ?? ""
            let temporaryPath = path.directory.appending(".\(name.prefix(150)).\(UInt64.random(in: .min ... .max))")
            return NewFile(
                file: try await File.open(
                    temporaryPath, [.write, .create, .exclusive, .noFollow], blocking: blockingWork),
                path: path, holder: .temporaryPath(temporaryPath))
        } catch {
            throw StorageError(error, "create file", at: path.string)
        }
    }

    /// Nil on NFS and a few others, which know no files without a name.
    private static func openNameless(at path: FilePath) throws(SystemError) -> NewFile? {
        do {
            let descriptor = try FileDescriptor.open(
                path.directory, .readWrite, options: [.temporary, .closeOnExec], permissions: .ownerReadWrite)
            let file = File(owning: descriptor, path: path, blocking: blockingWork)
            let another = fcntl(descriptor.rawValue, F_DUPFD_CLOEXEC, 0)
            guard another >= 0 else { throw Errno(rawValue: errno) }
            let holder = File(owning: FileDescriptor(rawValue: another), path: path, blocking: blockingWork)
            return NewFile(file: file, path: path, holder: .descriptor(holder))
        } catch {
            guard let errno = error as? Errno, [.notSupportedOnSocket, .notSupported, .isDirectory].contains(errno)
            else { throw SystemError(error as? Errno ?? .ioError, "open") }
            return nil
        }
    }

    /// Gives the file its name, durably. Its contents must be durable already.
    func publish() async throws(StorageError) {
        do throws(SystemError) {
            try await blockingWork.run { [path, holder] () throws(SystemError) in
                switch holder {
                case .descriptor(let file):
                    // The descriptor's own link is how a process without privileges names such a file; see open(2).
                    let descriptor = FilePath("/proc/self/fd/\(file.descriptor.rawValue)")
                    try unsafe Self.call("linkat", descriptor, path) {
                        unsafe linkat(AT_FDCWD, $0, AT_FDCWD, $1, AT_SYMLINK_FOLLOW)
                    }
                case .temporaryPath(let temporaryPath): try Self.move(temporaryPath, to: path)
                }
            }
            let directory = try await File.open(path.directory, [.directory], blocking: blockingWork)
            try await directory.synchronize(dataOnly: false)
            try await directory.close()
        } catch {
            throw StorageError(error, "create file", at: path.string)
        }
    }

    private static func move(_ temporaryPath: FilePath, to path: FilePath) throws(SystemError) {
        do throws(SystemError) {
            // A second name fails where a rename would replace what is there.
            try unsafe call("link", temporaryPath, path) { unsafe link($0, $1) }
            try unsafe call("unlink", temporaryPath, path) { old, _ in unsafe unlink(old) }
        } catch  where [.notPermitted, .notSupported, .notSupportedOnSocket, .noFunction].contains(error.errno) {
            // A file system without second names.
            if (try? FileStatus(at: path, followsLinks: false)) != nil { throw SystemError(.fileExists, "rename") }
            try unsafe call("rename", temporaryPath, path) { unsafe rename($0, $1) }
        }
    }

    /// Removes the file, unless it has its name.
    func discard() async {
        try? await file.close()
        switch holder {
        case .descriptor(let file): try? await file.close()
        case .temporaryPath(let path):
            _ = await blockingWork.run { unsafe path.withPlatformString { unsafe unlink($0) } }
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

extension FilePath {
    /// The directory that the file is in.
    fileprivate var directory: FilePath {
        let parent = removingLastComponent()
        return parent.isEmpty ? "." : parent
    }
}
