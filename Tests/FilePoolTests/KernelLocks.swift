import Foundation
import IORuntime
import SystemPackage

/// The locks that the kernel shows for the open files of a process. Its list of all locks is no help: while others
/// come and go, entries are passed over.
enum KernelLocks {
    /// The bytes of the file at `path` that the process has locked.
    static func bytes(of path: String, process: String) throws -> Set<UInt64> {
        let inode = try FileStatus(at: FilePath(path)).inode
        var bytes: Set<UInt64> = []
        let directory = "/proc/\(process)/fdinfo"
        for descriptor in try FileManager.default.contentsOfDirectory(atPath: directory) {
            // Other tests close theirs meanwhile.
            guard let text = try? String(contentsOfFile: "\(directory)/\(descriptor)", encoding: .utf8) else {
                continue
            }
            for line in text.split(separator: "\n") where line.hasPrefix("lock:") {
                let fields = line.split(whereSeparator: \.isWhitespace)
                guard fields.count >= 9, fields[2] == "OFDLCK", fields[6].split(separator: ":").last == "\(inode)",
                    let first = UInt64(fields[7]), let last = UInt64(fields[8])
                else { continue }
                bytes.formUnion(first...last)
            }
        }
        return bytes
    }
}
