import BlockStorage
import IORuntime

/// The header of a version 1 QCOW image, and the limits within which its tables are trusted to a reader.
///
/// Follows `block/qcow.c` of QEMU, which is what the format is specified by.
struct QCOW1Header: Equatable, Sendable {
    /// Of the header itself, in bytes.
    static let byteCount = 48
    /// The largest L1 table, in bytes.
    private static let largestL1: UInt64 = 32 << 20

    /// The size of the disk, in bytes.
    let size: UInt64
    /// The cluster size is two to this power, 9 to 16.
    let clusterBits: UInt64
    /// An L2 table has two to this power entries of 8 bytes, 6 to 13 bits.
    let l2Bits: UInt64
    /// In bytes from the start of the file.
    let l1TableOffset: UInt64

    var clusterSize: UInt64 { 1 << clusterBits }
    /// In bytes.
    var l2TableSize: UInt64 { 8 << l2Bits }
    /// How many bytes of the disk one L2 table describes.
    var bytesPerL2Table: UInt64 { 1 << (clusterBits + l2Bits) }
    var l1EntryCount: UInt64 { size.addingSaturating(bytesPerL2Table - 1) / bytesPerL2Table }

    /// Reads and checks the header of an image. Encrypted images and those with a backing file are refused here,
    /// before anything else looks at them.
    static func read(from image: any Volume) async throws(StorageError) -> QCOW1Header {
        let fileSize = image.geometry.size
        guard fileSize >= byteCount else { throw corrupt("it is shorter than a header") }
        var buffer = IOBuffer(byteCount: byteCount)
        var target = buffer.mutableBytes
        try await image.read(into: &target, at: 0)
        return try QCOW1Header(buffer.bytes, fileSize: fileSize)
    }

    /// `bytes` are the first `byteCount` of a file of `fileSize` bytes.
    init(_ bytes: RawSpan, fileSize: UInt64) throws(StorageError) {
        guard bytes.loadBigEndian(UInt32.self, at: 0) == 0x5146_49fb, bytes.loadBigEndian(UInt32.self, at: 4) == 1
        else {
            throw StorageError(
                .unsafeImage, "open image", why: "it is declared qcow and is not a version 1 QCOW image")
        }
        let backing = (bytes.loadBigEndian(UInt64.self, at: 8), bytes.loadBigEndian(UInt32.self, at: 16))
        guard backing == (0, 0) else { throw Self.refused("it has a backing file: flatten it first") }
        guard bytes.loadBigEndian(UInt32.self, at: 36) == 0 else { throw Self.refused("it is encrypted") }
        size = bytes.loadBigEndian(UInt64.self, at: 24)
        let bits = bytes.loadBigEndian(UInt16.self, at: 32)
        clusterBits = UInt64(bits >> 8)
        l2Bits = UInt64(bits & 0xff)
        l1TableOffset = bytes.loadBigEndian(UInt64.self, at: 40)
        guard (9...16).contains(clusterBits), (6...13).contains(l2Bits) else {
            throw Self.corrupt("its cluster or table size is out of range")
        }
        guard size > 0, size <= 1 << 62 else { throw Self.corrupt("its disk size is out of range") }
        let l1Size = size.addingSaturating(bytesPerL2Table - 1) / bytesPerL2Table * 8
        guard l1Size <= Self.largestL1 else { throw Self.corrupt("its L1 table is too large") }
        guard l1TableOffset >= Self.byteCount, l1TableOffset.addingSaturating(l1Size) <= fileSize else {
            throw Self.corrupt("its L1 table lies outside the file")
        }
    }

    static func corrupt(_ why: String) -> StorageError { StorageError(.corrupt, "open image", why: why) }
    static func refused(_ why: String) -> StorageError { StorageError(.unsafeImage, "open image", why: why) }
}

/// Where the clusters of a version 1 QCOW image lie, read from its tables when it is asked.
struct QCOW1Map: Sendable {
    private let header: QCOW1Header
    private let image: any Volume
    private let l1: [UInt64]

    /// Reads the L1 table and checks every table of the image, so that a reader meets no offset outside the file.
    init(_ header: QCOW1Header, of image: any Volume) async throws(StorageError) {
        self.header = header
        self.image = image
        l1 = try await Self.words(at: header.l1TableOffset, Int(header.l1EntryCount), of: image)
        let fileSize = image.geometry.size
        let tables = l1.filter { $0 != 0 }
        // Tables do not overlap, so that the time to read them is bounded by the size of the file.
        guard Set(tables).count == tables.count,
            UInt64(tables.count) <= fileSize / header.l2TableSize,
            tables.allSatisfy({
                $0 >= QCOW1Header.byteCount && $0.addingSaturating(header.l2TableSize) <= fileSize
            })
        else { throw QCOW1Header.corrupt("an L2 table lies outside the file, or is used twice") }
        for table in tables {
            for entry in try await words(ofTableAt: table) where entry != 0 {
                let (offset, byteCount) = place(of: entry)
                guard offset >= QCOW1Header.byteCount, offset.addingSaturating(byteCount) <= fileSize else {
                    throw QCOW1Header.corrupt("a cluster lies outside the file")
                }
            }
        }
    }

    /// Which parts of `range` the image holds.
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        var extents: [Extent] = []
        func append(_ end: UInt64, _ kind: Extent.Kind) {
            let start = extents.last?.range.upperBound ?? range.lowerBound
            let end = min(end, range.upperBound)
            guard end > start else { return }
            if let last = extents.last, last.kind == kind {
                extents[extents.count - 1].range = last.range.lowerBound..<end
            } else {
                extents.append(Extent(start..<end, kind))
            }
        }
        var position = range.lowerBound
        while position < range.upperBound {
            let index = position / header.bytesPerL2Table
            let tableEnd = (index + 1) * header.bytesPerL2Table
            if l1[Int(index)] == 0 {
                append(tableEnd, .hole)
            } else {
                let first = position % header.bytesPerL2Table / header.clusterSize
                var end = index * header.bytesPerL2Table + first * header.clusterSize
                for entry in try await words(ofTableAt: l1[Int(index)]).dropFirst(Int(first)) {
                    end += header.clusterSize
                    append(end, entry == 0 ? .hole : .data)
                }
            }
            position = tableEnd
        }
        return extents
    }

    /// Where the bytes lie that an L2 entry points to, and how many there are at most.
    private func place(of entry: UInt64) -> (offset: UInt64, byteCount: UInt64) {
        guard entry >> 63 == 1 else { return (entry, header.clusterSize) }
        let sizeShift = 63 - header.clusterBits
        return (entry & ((1 << sizeShift) - 1), (entry >> sizeShift) & (header.clusterSize - 1))
    }

    private func words(ofTableAt offset: UInt64) async throws(StorageError) -> [UInt64] {
        try await Self.words(at: offset, 1 << Int(header.l2Bits), of: image)
    }

    private static func words(at offset: UInt64, _ count: Int, of image: any Volume) async throws(StorageError)
        -> [UInt64]
    {
        var buffer = IOBuffer(byteCount: count * 8)
        var target = buffer.mutableBytes
        try await image.read(into: &target, at: offset)
        let bytes = buffer.bytes
        return (0..<count).map { bytes.loadBigEndian(UInt64.self, at: $0 * 8) }
    }
}
