import IORuntime
import SystemPackage

/// The small files in which the kernel tells about itself.
enum SystemFiles {
    /// The text of the file at `path`, at most `limit` bytes of it.
    static func text(of path: String, limit: Int = 4 << 20) async throws(SystemError) -> String {
        let file = try await File.open(FilePath(path))
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while text.count < limit {
            var bytes = buffer.mutableRawBytes
            // Such files end where a read says so: their size is 0.
            let count = try await file.read(into: &bytes, at: UInt64(text.count))
            if count == 0 { break }
            text += buffer[..<count]
        }
        try await file.close()
        return String(decoding: text, as: UTF8.self)
    }

    /// What tells this run of the kernel from any other, on any host: eight hexadecimal digits of its boot id.
    static func bootTag() async throws(SystemError) -> String {
        String(try await text(of: "/proc/sys/kernel/random/boot_id").prefix(8))
    }

    /// The processes that have the file open, as `name (process id)`; only those that this user may look into.
    static func holders(of file: FileStatus) async -> [String] {
        guard let proc = try? await Directory.open("/proc"), let entries = try? await proc.entries() else { return [] }
        var holders: [String] = []
        for entry in entries where entry.name.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            let directory = "\(entry.name)/fd"
            for link in (try? await proc.entries(in: directory)) ?? [] {
                guard let status = try? await proc.status(of: "\(directory)/\(link.name)", followsLinks: true),
                    status.device == file.device, status.inode == file.inode
                else { continue }
                let name = (try? await text(of: "/proc/\(entry.name)/comm"))?.split(separator: "\n").first ?? "process"
                holders.append("\(name) (\(entry.name))")
                break
            }
        }
        return holders
    }
}
