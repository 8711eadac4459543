import Foundation
import IORuntime
import SystemPackage

/// The locks that the kernel shows in `/proc/locks`.
enum KernelLocks {
    /// The bytes of the file that somebody has locked.
    static func bytes(of path: String) throws -> Set<UInt64> {
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
