import Glibc
import IORuntime
import SystemPackage

/// The file of a Unix socket that this process listens on.
struct SocketFile: Sendable {
    private let path: String
    /// Which file it was: another may have taken its place.
    private let status: FileStatus

    /// Listens on `path` with mode 0600. A socket file that nobody listens on is replaced; throws `EADDRINUSE` for one
    /// that somebody does, and for any other kind of file.
    static func listen(_ path: String) async throws(SystemError) -> (Socket, SocketFile) {
        // Two servers that replace the same stale file would delete each other's, so one goes first: whoever locks
        // the directory.
        let directory = FilePath(path).removingLastComponent()
        let lock = try await BlockingPool.shared.run { () throws(SystemError) in
            let descriptor: FileDescriptor
            do {
                descriptor = try FileDescriptor.open(
                    directory.isEmpty ? "." : directory, .readOnly, options: [.directory, .closeOnExec])
            } catch {
                throw SystemError(error as? Errno ?? .ioError, "open")
            }
            guard flock(descriptor.rawValue, LOCK_EX) == 0 else {
                let error = SystemError(Errno(rawValue: errno), "flock")
                try? descriptor.close()
                throw error
            }
            return descriptor
        }
        defer { try? lock.close() }
        do throws(SystemError) {
            return try await bind(path)
        } catch {
            guard error.errno == .addressInUse else { throw error }
        }
        do throws(SystemError) {
            try await Socket.connect(to: .unix(path: path)).close()
        } catch {
            // Refused: a socket without a listener. Anything else is not ours to delete.
            guard error.errno == .connectionRefused,
                let status = try? FileStatus(at: FilePath(path), followsLinks: false),
                status.mode & S_IFMT == S_IFSOCK
            else { throw SystemError(.addressInUse, "bind") }
            SocketFile(path: path, status: status).remove()
            return try await bind(path)
        }
        throw SystemError(.addressInUse, "bind")
    }

    private static func bind(_ path: String) async throws(SystemError) -> (Socket, SocketFile) {
        let socket = try await Socket.listen(.unix(path: path), mode: 0o600)
        let status = try FileStatus(at: FilePath(path), followsLinks: false)
        return (socket, SocketFile(path: path, status: status))
    }

    /// Removes the file, unless another has taken its place.
    func remove() {
        guard let now = try? FileStatus(at: FilePath(path), followsLinks: false), now.inode == status.inode,
            now.device == status.device
        else { return }
        _ = unsafe unlink(path)
    }
}
