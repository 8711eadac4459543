import Foundation
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
        for line in try String(contentsOfFile: "/proc/locks", encoding: .utf8).split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 8, fields[1] == "OFDLCK", fields[5].split(separator: ":").last == "\(inode)",
                let first = UInt64(fields[6]), let last = UInt64(fields[7])
            else { continue }
            bytes.formUnion(first...last)
        }
        return bytes
    }
}
