import BlockStorage
import Glibc
import IORuntime
import SystemPackage

/// Makes files that have no name: they are gone when they are closed, or when this process dies.
enum ScratchFile {
    static func make(in directory: FilePath) async throws(StorageError) -> File {
        do throws(SystemError) {
            return try await blockingWork.run { () throws(SystemError) in
                let descriptor = try open(in: directory)
                return File(owning: descriptor, path: directory.appending("(scratch)"), blocking: blockingWork)
            }
        } catch {
            throw StorageError(error, "make scratch file", at: directory.string)
        }
    }

    private static func open(in directory: FilePath) throws(SystemError) -> FileDescriptor {
        do {
            return try FileDescriptor.open(
                directory, .readWrite, options: [.temporary, .closeOnExec], permissions: .ownerReadWrite)
        } catch {
            // NFS and a few others know no files without a name. One that is removed at once is the next best.
            guard let errno = error as? Errno, [.notSupportedOnSocket, .notSupported, .isDirectory].contains(errno)
            else {
                throw SystemError(error as? Errno ?? .ioError, "open")
            }
        }
        do {
            let path = directory.appending(".sluice-scratch-\(UInt64.random(in: .min ... .max))")
            let descriptor = try FileDescriptor.open(
                path, .readWrite, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
                permissions: .ownerReadWrite)
            _ = unsafe path.withPlatformString { unsafe unlink($0) }
            return descriptor
        } catch {
            throw SystemError(error as? Errno ?? .ioError, "open")
        }
    }
}

extension FileDescriptor.OpenOptions {
    /// A regular file without a name. The corresponding C constant is `O_TMPFILE`, which is no plain number in C.
    static var temporary: Self { Self(rawValue: 0o20_000_000 | Glibc.O_DIRECTORY) }
}
