import BlockStorage
import IORuntime

/// Reads an image's tables from the volume under it, without the engine. What lies past the end of the file reads as
/// zeros, as it does for QEMU.
struct MetadataReader: Sendable {
    let volume: any Volume

    func bytes(at offset: UInt64, count: Int) async throws(StorageError) -> [UInt8] {
        let size = volume.geometry.size
        let available = offset < size ? Int(min(UInt64(count), size - offset)) : 0
        return try await volume.readBytes(at: offset, count: available, padTo: count)
    }

    /// `count` big-endian words of 64 bits.
    func words(at offset: UInt64, count: Int) async throws(StorageError) -> [UInt64] {
        let bytes = try await bytes(at: offset, count: count * 8)
        let span = bytes.rawBytes
        var words: [UInt64] = []
        words.reserveCapacity(count)
        for index in 0..<count { words.append(span.loadBigEndian(UInt64.self, at: index * 8)) }
        return words
    }
}

/// A table of 64-bit words, read piece by piece.
struct TablePieces {
    /// In words.
    private static let pieceCount: UInt64 = 8192

    let reader: MetadataReader
    let offset: UInt64
    let count: UInt64
    private var position: UInt64 = 0

    init(_ reader: MetadataReader, at offset: UInt64, count: UInt64) {
        self.reader = reader
        self.offset = offset
        self.count = count
    }

    /// The next words and the index of the first, or `nil` after the last.
    mutating func next() async throws(StorageError) -> (first: UInt64, words: [UInt64])? {
        guard position < count else { return nil }
        let first = position
        let wanted = min(Self.pieceCount, count - position)
        position += wanted
        return (first, try await reader.words(at: offset.addingSaturating(first * 8), count: Int(wanted)))
    }
}

/// The refcounts that an image records, through a small cache of its blocks.
struct RecordedRefcounts {
    private static let cacheLimit = 16

    let reader: MetadataReader
    let layout: QCOW2Layout
    /// Of the refcount table.
    let entries: [UInt64]
    private var cache: [UInt64: [UInt8]] = [:]
    private var cacheOrder: [UInt64] = []

    init(_ reader: MetadataReader, _ header: QCOW2Header) async throws(StorageError) {
        self.reader = reader
        layout = header.layout
        let byteCount = UInt64(header.refcountTableClusterCount) * layout.clusterSize
        entries = try await reader.words(at: header.refcountTableOffset, count: Int(byteCount / 8))
    }

    /// Where block `index` lies, or `nil` where there is none or the entry is damaged.
    func blockOffset(_ index: UInt64) -> UInt64? {
        guard index < UInt64(entries.count) else { return nil }
        let offset = entries[Int(index)] & ~(QCOW2Limits.sector - 1)
        return offset != 0 && layout.isAligned(offset) && offset < QCOW2Limits.hostOffset ? offset : nil
    }

    /// The bytes of block `index`, or `nil` where there is none.
    mutating func block(_ index: UInt64) async throws(StorageError) -> [UInt8]? {
        guard let offset = blockOffset(index) else { return nil }
        if let block = cache[index] { return block }
        let block = try await reader.bytes(at: offset, count: Int(layout.clusterSize))
        if cacheOrder.count == Self.cacheLimit { cache[cacheOrder.removeFirst()] = nil }
        cacheOrder.append(index)
        cache[index] = block
        return block
    }

    /// Notes that block `index` was written with these bytes.
    mutating func update(_ index: UInt64, _ block: [UInt8]) {
        if cache[index] != nil { cache[index] = block }
    }

    mutating func refcount(of cluster: UInt64) async throws(StorageError) -> UInt64 {
        guard let block = try await block(cluster >> UInt64(layout.refcountBlockBits)) else { return 0 }
        let index = Int(cluster & (layout.clustersPerRefcountBlock - 1))
        return RefcountFields.value(at: index, in: block, order: layout.refcountOrder)
    }
}
