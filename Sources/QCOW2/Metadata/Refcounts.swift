import BlockStorage

/// The refcount table and the refcount blocks in memory, and the allocation of clusters from them.
///
/// A pure value: what it misses it names, and the owner reads it and tries again. Counts in memory run ahead of those
/// in the image for new clusters, and behind the mappings for freed ones: a cluster counts until nothing durable refers
/// to it.
struct Refcounts {
    struct Block {
        var bytes: [UInt8]
        /// Changes since the block was loaded; tells a flush whether it wrote the latest.
        var version: UInt64 = 0
        var isDirty = false
    }

    /// Why a change was not made; nothing was changed then.
    enum Obstacle: Error {
        /// This block must be loaded first.
        case blockNotLoaded(Int)
        case failed(StorageError)
    }

    let layout: QCOW2Layout
    /// Offsets of refcount blocks, 0 where there is none. May be longer than what the image has room for at present.
    private(set) var table: [UInt64]
    private(set) var blocks: [Int: Block] = [:]
    /// Table entries that a flush has to write, by index.
    private(set) var dirtyEntries: Set<Int> = []
    private(set) var dirtyBlocks: Set<Int> = []
    /// No cluster below is free.
    private(set) var firstFree: UInt64 = 0
    /// Clusters from here on do not fit the file; `nil` while it can grow.
    var clusterLimit: UInt64?
    /// Where metadata lies, by cluster number: never to be given out, whatever the refcounts say.
    var metadataClusters: Set<UInt64> = []
    /// Blocks that are kept when nothing needs them.
    private let blockLimit: Int

    init(layout: QCOW2Layout, table: [UInt64], memoryLimit: Int) {
        self.layout = layout
        self.table = table
        blockLimit = max(4, memoryLimit >> layout.clusterBits)
    }

    private var bits: UInt64 { UInt64(layout.refcountBlockBits) }
    func blockIndex(of cluster: UInt64) -> Int { Int(cluster >> bits) }
    private func index(of cluster: UInt64) -> Int { Int(cluster & (layout.clustersPerRefcountBlock - 1)) }

    /// The entries of `table` that an image with a table of `clusterCount` clusters has room for.
    func capacity(clusterCount: UInt32) -> Int { Int(UInt64(clusterCount) << UInt64(layout.clusterBits)) / 8 }
    /// The entries up to the last one in use.
    var usedEntryCount: Int { (table.lastIndex { $0 != 0 } ?? -1) + 1 }

    mutating func insertBlock(_ bytes: [UInt8], at index: Int) {
        guard blocks[index] == nil else { return }
        if blocks.count >= blockLimit, let victim = blocks.first(where: { !$0.value.isDirty })?.key {
            blocks[victim] = nil
        }
        blocks[index] = Block(bytes: bytes)
    }

    /// The refcount of `cluster`.
    func count(of cluster: UInt64) throws(Obstacle) -> UInt64 {
        let block = blockIndex(of: cluster)
        guard block < table.count, table[block] != 0 else { return 0 }
        guard let bytes = blocks[block]?.bytes else { throw .blockNotLoaded(block) }
        return RefcountFields.value(at: index(of: cluster), in: bytes, order: layout.refcountOrder)
    }

    /// Adds `change` to the refcount of `cluster`, which must have a block. Throws `corrupt` where the result is out
    /// of range.
    mutating func add(_ change: Int, to cluster: UInt64) throws(Obstacle) {
        let old = try count(of: cluster)
        let new =
            change < 0 ? old.subtractingReportingOverflow(UInt64(-change)) : old.addingReportingOverflow(UInt64(change))
        guard !new.overflow, new.partialValue <= layout.largestRefcount,
            table.indices.contains(blockIndex(of: cluster)),
            table[blockIndex(of: cluster)] != 0
        else {
            throw .failed(
                StorageError(
                    new.overflow || change < 0 ? .corrupt : .noSpace, "change refcount", at: "cluster \(cluster)",
                    why: "the refcount is \(old), to be changed by \(change)"))
        }
        set(new.partialValue, of: cluster)
        if new.partialValue == 0 { firstFree = min(firstFree, cluster) }
    }

    private mutating func set(_ value: UInt64, of cluster: UInt64) {
        let block = blockIndex(of: cluster)
        let index = index(of: cluster)
        guard let position = blocks.index(forKey: block) else { return }
        RefcountFields.set(value, at: index, in: &blocks.values[position].bytes, order: layout.refcountOrder)
        blocks.values[position].version += 1
        blocks.values[position].isDirty = true
        dirtyBlocks.insert(block)
    }

    /// Finds the first free clusters, up to `count` in a row, and gives each a refcount of 1.
    mutating func allocate(upTo count: UInt64) throws(Obstacle) -> Range<UInt64> {
        while try self.count(ofUsable: firstFree) != 0 { firstFree += 1 }
        let start = firstFree
        var end = start + 1
        while end - start < count, isFree(ifLoaded: end) { end += 1 }
        return try take(start..<end)
    }

    /// Finds `count` free clusters in a row, and gives each a refcount of 1.
    mutating func allocateContiguous(_ count: UInt64) throws(Obstacle) -> Range<UInt64> {
        while try self.count(ofUsable: firstFree) != 0 { firstFree += 1 }
        var start = firstFree
        var end = start
        while end - start < count {
            if try self.count(ofUsable: end) != 0 { start = end + 1 }
            end += 1
        }
        return try take(start..<end)
    }

    /// As `count(of:)`, for a cluster that is to be allocated: makes its refcount block where there is none.
    private mutating func count(ofUsable cluster: UInt64) throws(Obstacle) -> UInt64 {
        let block = blockIndex(of: cluster)
        if block >= table.count || table[block] == 0 { try makeBlock(block) }
        return try count(of: cluster)
    }

    /// Makes sure that `cluster`, which a session before had taken, counts at least once.
    mutating func claim(_ cluster: UInt64) throws(Obstacle) {
        guard try count(ofUsable: cluster) == 0 else { return }
        if metadataClusters.contains(cluster) { throw overlap(cluster) }
        set(1, of: cluster)
    }

    private func isFree(ifLoaded cluster: UInt64) -> Bool {
        let block = blockIndex(of: cluster)
        guard block < table.count, table[block] != 0, cluster < clusterLimit ?? .max,
            let bytes = blocks[block]?.bytes
        else { return false }
        return RefcountFields.value(at: index(of: cluster), in: bytes, order: layout.refcountOrder) == 0
    }

    /// Makes a block where the table has none, in the first cluster that it counts: with no block, all are free.
    private mutating func makeBlock(_ block: Int) throws(Obstacle) {
        let cluster = UInt64(block) << bits
        guard cluster < clusterLimit ?? .max, UInt64(block) * 8 < QCOW2Limits.refcountTable,
            layout.offset(ofCluster: cluster + 1) < QCOW2Limits.hostOffset
        else {
            throw .failed(StorageError(.noSpace, "allocate cluster", why: "the image cannot grow further"))
        }
        guard !metadataClusters.contains(cluster) else { throw overlap(cluster) }
        if block >= table.count { table += repeatElement(0, count: block + 1 - table.count) }
        table[block] = layout.offset(ofCluster: cluster)
        dirtyEntries.insert(block)
        blocks[block] = Block(bytes: [UInt8](repeating: 0, count: Int(layout.clusterSize)))
        metadataClusters.insert(cluster)
        set(1, of: cluster)
    }

    private func overlap(_ cluster: UInt64) -> Obstacle {
        .failed(
            StorageError(
                .corrupt, "allocate cluster", at: "cluster \(cluster)",
                why: "it holds metadata and its refcount is 0: repair the image"))
    }

    private mutating func take(_ clusters: Range<UInt64>) throws(Obstacle) -> Range<UInt64> {
        if clusters.upperBound > clusterLimit ?? .max {
            throw .failed(StorageError(.noSpace, "allocate cluster", why: "the volume below cannot grow"))
        }
        for cluster in clusters where metadataClusters.contains(cluster) { throw overlap(cluster) }
        for cluster in clusters { set(1, of: cluster) }
        if clusters.lowerBound == firstFree { firstFree = clusters.upperBound }
        return clusters
    }

    /// The last cluster with a refcount.
    func lastUsedCluster() throws(Obstacle) -> UInt64 {
        for block in (0..<usedEntryCount).reversed() where table[block] != 0 {
            guard let bytes = blocks[block]?.bytes else { throw .blockNotLoaded(block) }
            guard let byte = bytes.lastIndex(where: { $0 != 0 }) else { continue }
            let last = ((byte + 1) * 8) >> layout.refcountOrder
            let first = (byte * 8) >> layout.refcountOrder
            let used = (first..<max(last, first + 1)).last {
                RefcountFields.value(at: $0, in: bytes, order: layout.refcountOrder) != 0
            }
            if let used { return UInt64(block) << bits + UInt64(used) }
        }
        return 0
    }

    /// Takes over another table; nothing here may be unwritten.
    mutating func reset(table: [UInt64]) {
        self.table = table
        blocks = [:]
        dirtyEntries = []
        dirtyBlocks = []
        firstFree = 0
    }

    /// Moves to a larger table: all entries have to be written.
    mutating func markAllEntriesDirty() { dirtyEntries = Set(0..<usedEntryCount) }

    /// A flush has written these; what changed since stays dirty.
    mutating func markWritten(blocks written: [Int: UInt64], entries: Set<Int>) {
        for (index, version) in written where blocks[index]?.version == version {
            blocks[index]?.isDirty = false
            dirtyBlocks.remove(index)
        }
        dirtyEntries.subtract(entries)
        for index in blocks.keys where blocks.count > blockLimit && blocks[index]?.isDirty == false {
            blocks[index] = nil
        }
    }
}
