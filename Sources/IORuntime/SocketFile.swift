import Glibc
import SystemPackage

/// The file of a Unix socket that this process listens on.
public struct SocketFile: Sendable {
    private let path: String
    /// Which file it was: another may have taken its place.
    private let status: FileStatus

    /// Listens on `path` with mode 0600. A socket file that nobody listens on is replaced; throws `EADDRINUSE` for one
    /// that somebody does, and for any other kind of file.
    public static func listen(_ path: String) async throws(SystemError) -> (Socket, SocketFile) {
        let lock = try await lockDirectory(of: path)
        defer { try? lock.close() }
        do throws(SystemError) {
            return try await bind(path)
        } catch {
            guard error.errno == .addressInUse else { throw error }
        }
        guard let stale = await stale(path) else { throw SystemError(.addressInUse, "bind") }
        stale.remove()
        return try await bind(path)
    }

    /// Removes a socket file that nobody listens on, or whose server died just now; leaves anything else at `path` as it
    /// is.
    public static func removeStale(_ path: String) async {
        guard let lock = try? await lockDirectory(of: path) else { return }
        defer { try? lock.close() }
        // The kernel takes a ring apart after its process is gone, and its sockets listen until then.
        for _ in 0..<40 {
            guard (try? FileStatus(at: FilePath(path), followsLinks: false)) != nil else { return }
            if let stale = await stale(path) { return stale.remove() }
            await IOExecutor.sleep(for: .milliseconds(25))
        }
    }

    /// The socket file at `path` that nobody listens on.
    private static func stale(_ path: String) async -> SocketFile? {
        guard let status = try? FileStatus(at: FilePath(path), followsLinks: false), status.mode & S_IFMT == S_IFSOCK,
            await !hasListener(path)
        else { return nil }
        return SocketFile(path: path, status: status)
    }

    /// Two servers that replace the same stale file would delete each other's, so one goes first: whoever locks the
    /// directory.
    private static func lockDirectory(of path: String) async throws(SystemError) -> FileDescriptor {
        let directory = FilePath(path).removingLastComponent()
        return try await BlockingPool.shared.run { () throws(SystemError) in
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
    }

    /// Whether anyone may be listening: only a connection that is refused says that nobody is.
    private static func hasListener(_ path: String) async -> Bool {
        await withTaskGroup { group in
            group.addTask {
                do throws(SystemError) {
                    try await Socket.connect(to: .unix(path: path)).close()
                    return true
                } catch {
                    return error.errno != .connectionRefused
                }
            }
            // A listener whose queue is full keeps us waiting.
            group.addTask {
                await IOExecutor.sleep(for: .seconds(1))
                return true
            }
            let answer = await group.next() ?? true
            group.cancelAll()
            return answer
        }
    }

    private static func bind(_ path: String) async throws(SystemError) -> (Socket, SocketFile) {
        let socket = try await Socket.listen(.unix(path: path), mode: 0o600)
        let status = try FileStatus(at: FilePath(path), followsLinks: false)
        return (socket, SocketFile(path: path, status: status))
    }

    /// Removes the file, unless another has taken its place.
    public func remove() {
        guard let now = try? FileStatus(at: FilePath(path), followsLinks: false), now.inode == status.inode,
            now.device == status.device
        else { return }
        _ = unsafe unlink(path)
    }
}
