import BlockStorage

/// Where the directory of dirty bitmaps lies: the contents of its header extension.
struct BitmapDirectory: Equatable, Sendable {
    /// QEMU's limits (`block/qcow2-bitmap.c`).
    static let countLimit = 65535
    static let byteCountLimit: UInt64 = 65535 * 1024

    var count: Int
    /// In bytes from the start of the file.
    var offset: UInt64
    var byteCount: UInt64
}

/// An entry of that directory: where a bitmap's table lies.
struct BitmapDirectoryEntry: Equatable, Sendable {
    /// QEMU's limit.
    static let tableEntryLimit: UInt64 = 0x800_0000

    /// In bytes from the start of the file.
    let tableOffset: UInt64
    let tableEntryCount: UInt64
    let flags: UInt32
    /// Where the next entry begins in the directory, in bytes.
    let end: Int

    /// The entry at byte `position`; `nil` where the directory is too short for it or its table is too large.
    init?(_ directory: [UInt8], at position: Int) {
        guard directory.count - position >= 24 else { return nil }
        tableOffset = directory.bigEndian(at: position)
        tableEntryCount = UInt64(directory.bigEndian(at: position + 8, as: UInt32.self))
        flags = directory.bigEndian(at: position + 12)
        let nameByteCount = Int(directory.bigEndian(at: position + 18, as: UInt16.self))
        let extraByteCount: UInt32 = directory.bigEndian(at: position + 20)
        let byteCount = 24 + Int(extraByteCount) + nameByteCount
        end = position + (byteCount + 7) / 8 * 8
        guard byteCount <= directory.count - position, tableEntryCount <= Self.tableEntryLimit else { return nil }
    }
}

extension QCOW2Header {
    /// Throws `corrupt` for an extension that cannot be right.
    func bitmapDirectory() throws(StorageError) -> BitmapDirectory? {
        guard let data = data(of: .bitmaps) else { return nil }
        guard data.count == 24 else { throw Self.invalid("the bitmaps extension has \(data.count) bytes, not 24") }
        let directory = BitmapDirectory(
            count: Int(data.bigEndian(at: 0, as: UInt32.self)), offset: data.bigEndian(at: 16),
            byteCount: data.bigEndian(at: 8))
        guard (1...BitmapDirectory.countLimit).contains(directory.count) else {
            throw Self.invalid("\(directory.count) bitmaps are not 1 to \(BitmapDirectory.countLimit)")
        }
        guard directory.byteCount <= BitmapDirectory.byteCountLimit else {
            throw Self.invalid("a bitmap directory of \(directory.byteCount) bytes is too large")
        }
        guard layout.isAligned(directory.offset), directory.offset > 0, directory.offset < QCOW2Limits.hostOffset else {
            throw Self.invalid("the bitmap directory cannot be at offset \(directory.offset)")
        }
        return directory
    }
}
