import BlockStorage
import IORuntime
import SystemPackage

/// The mounts of this process's mount namespace, as `/proc/self/mountinfo` has them (see proc_pid_mountinfo(5)).
struct MountTable: Sendable {
    struct Mount: Equatable, Sendable {
        /// Absolute path.
        var mountPoint: String
        /// As the kernel or the FUSE helper names it: `ext4`, `nfs4`, `fuse.glusterfs`.
        var fileSystem: String
    }

    /// In the order in which they were mounted: of two on one path, the later one is seen.
    var mounts: [Mount]

    /// Skips lines that are not mounts.
    init(_ text: String) {
        mounts = text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ", omittingEmptySubsequences: true)
            // Optional fields end with a lone "-".
            guard let separator = fields.firstIndex(of: "-"), separator >= 6, separator + 1 < fields.count else {
                return nil
            }
            return Mount(
                mountPoint: Self.unescaped(fields[4]), fileSystem: Self.unescaped(fields[separator + 1]))
        }
    }

    /// What is mounted on exactly this path.
    func mount(on path: String) -> Mount? { mounts.last { $0.mountPoint == path } }

    /// Spaces and the like are written as three octal digits after a backslash.
    private static func unescaped(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = field.utf8[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3).map { Int($0) - Int(UInt8(ascii: "0")) }
            if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy((0...7).contains),
                let value = UInt8(exactly: digits[0] * 64 + digits[1] * 8 + digits[2])
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension MountTable {
    /// File systems that several hosts may have mounted at once.
    static let sharedFileSystems: Set<String> = [
        "ocfs2", "gfs2", "nfs", "nfs4", "ceph", "fuse.ceph", "fuse.ceph-fuse", "glusterfs", "fuse.glusterfs", "lustre",
        "beegfs", "gpfs", "orangefs", "pvfs2", "cvfs", "wekafs", "fuse.mfs", "fuse.saunafs", "fuse.juicefs",
        "fuse.moosefs", "virtiofs", "9p", "afs",
    ]

    /// Throws `invalidArgument` unless a file system that several hosts may mount is mounted on `path`; with
    /// `isForced`, any mount will do.
    func checkShared(_ path: String, isForced: Bool) throws(StorageError) {
        guard let mount = mount(on: path) else {
            throw StorageError(
                .invalidArgument, "open pool", at: path,
                why: "nothing is mounted there: a sharedmountpoint pool must be a mount point itself")
        }
        guard Self.sharedFileSystems.contains(mount.fileSystem) || isForced else {
            throw StorageError(
                .invalidArgument, "open pool", at: path,
                why: "\(mount.fileSystem) is not known as a file system that several hosts may mount at once; "
                    + "force=true accepts it on your word")
        }
    }
}
