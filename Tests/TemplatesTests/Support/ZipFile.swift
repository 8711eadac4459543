import Foundation

/// Writes zip files, good and bad ones, without compression.
struct ZipFile {
    struct Entry {
        var name: String
        var contents: [UInt8]
        /// The Unix mode in the directory.
        var mode: UInt32 = 0o100644
        /// The name in the directory, where it is to differ.
        var directoryName: String?
        var isInDirectory = true
        var isInFile = true
    }

    var entries: [Entry]
    var comment: [UInt8] = []

    var bytes: [UInt8] {
        var file: [UInt8] = []
        var directory: [UInt8] = []
        for entry in entries {
            let name = Array(entry.name.utf8)
            let listed = Array((entry.directoryName ?? entry.name).utf8)
            let offset = file.count
            let sizes =
                little(crc(entry.contents), 4) + little(UInt32(entry.contents.count), 4)
                + little(UInt32(entry.contents.count), 4)
            let common = little(0, 2) + little(0, 2) + little(0, 4) + sizes
            if entry.isInFile {
                file += little(0x0403_4b50, 4) + little(20, 2) + common + little(UInt32(name.count), 2) + little(0, 2)
                file += name + entry.contents
            }
            if entry.isInDirectory {
                directory += little(0x0201_4b50, 4) + little(0x0314, 2) + little(20, 2) + common
                directory += little(UInt32(listed.count), 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 2)
                directory += little(entry.mode << 16, 4) + little(UInt32(offset), 4) + listed
            }
        }
        let count = UInt32(entries.count { $0.isInDirectory })
        let end =
            little(0x0605_4b50, 4) + little(0, 4) + little(count, 2) + little(count, 2)
            + little(UInt32(directory.count), 4) + little(UInt32(file.count), 4) + little(UInt32(comment.count), 2)
        return file + directory + end + comment
    }

    private func little(_ value: UInt32, _ byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
    }

    private func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = .max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
        }
        return ~crc
    }
}
