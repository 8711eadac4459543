import IORuntime
import SystemPackage

/// The locks that the kernel shows in `/proc/locks`.
enum KernelLocks {
    /// The bytes of the file that somebody has locked. The kernel shows its list a page at a time and passes over an
    /// entry when an earlier one goes meanwhile, so what several looks show is put together.
    static func bytes(of path: String) throws -> Set<UInt64> {
        try (0..<10).reduce(into: []) { bytes, _ in bytes.formUnion(try shown(of: path)) }
    }

    private static func shown(of path: String) throws -> Set<UInt64> {
        let inode = try FileStatus(at: FilePath(path)).inode
        var bytes: Set<UInt64> = []
        for line in try list().split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 8, fields[1] == "OFDLCK", fields[5].split(separator: ":").last == "\(inode)",
                let first = UInt64(fields[6]), let last = UInt64(fields[7])
            else { continue }
            bytes.formUnion(first...last)
        }
        return bytes
    }

    /// Read to the end: files without a size are cut by the usual ways of reading whole files.
    private static func list() throws -> String {
        let file = try FileDescriptor.open("/proc/locks", .readOnly)
        return try file.closeAfter {
            var text: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                let count = try piece.withUnsafeMutableBytes { try file.read(into: $0) }
                if count == 0 { return String(decoding: text, as: UTF8.self) }
                text += piece[..<count]
            }
        }
    }
}
