import BlockStorage
import IORuntime

/// What an image is to become: everything that is not named stays.
struct Structure {
    var size: UInt64
    var l1: [UInt64]
    /// Where the L1 table is; `nil` for a new place.
    var l1TableOffset: UInt64?
    var snapshots: [QCOW2Snapshot]
}

// Structural changes build the new tables beside the old ones and switch by writing the first sector of the header.
// Before the switch the image is what it was, after it what it was to become; no state in between needs a repair or
// has lost a cluster.

extension QCOW2Volume {
    /// Takes the image from one structure to another; the caller is alone and has settled everything. `counts` has
    /// the references that the change adds and drops, but not yet the clusters of new tables.
    func switchStructure(to new: Structure, _ counts: RefcountImage) async throws(StorageError) {
        let old = state.withLock { $0.header }
        var counts = counts
        var structure = new

        var header = old
        try await rewriteTables(&structure, &counts)
        if structure.l1TableOffset == nil {
            let clusterCount = layout.clusterCount(forSize: UInt64(structure.l1.count) * 8)
            // A disk of no size has no table.
            header.l1TableOffset = 0
            if clusterCount > 0 {
                let clusters = try counts.allocate(clusterCount)
                header.l1TableOffset = layout.offset(ofCluster: clusters.lowerBound)
                try await writeNew([
                    MetadataWrite(offset: header.l1TableOffset, content: .words(padded(structure.l1, clusters)))
                ])
            }
            header.l1EntryCount = UInt32(structure.l1.count)
        }
        header.size = structure.size
        let snapshotTableByteCount = try await writeSnapshots(structure.snapshots, &header, &counts)
        try await writeRefcounts(&header, &counts)
        try await synchronize()

        let switched = header
        try await commitHeader { $0 = switched }
        state.withLock { $0.adopt(structure, counts.lastCluster, snapshotTableByteCount: snapshotTableByteCount) }
        try await readRefcountTable()
        for range in counts.freed {
            let end = min(layout.offset(ofCluster: range.upperBound), state.withLock { $0.baseSize })
            let start = layout.offset(ofCluster: range.lowerBound)
            if start < end { try? await base.discard(start..<end) }
        }
    }

    /// The words of a table, with zeros to the end of its clusters.
    private func padded(_ words: [UInt64], _ clusters: Range<UInt64>) -> [UInt64] {
        words + repeatElement(0, count: clusters.count * Int(layout.clusterSize) / 8 - words.count)
    }

    /// Writes to clusters that were free until now.
    private func writeNew(_ pieces: [MetadataWrite]) async throws(StorageError) {
        for piece in pieces { try await growBase(to: layout.roundedUp(piece.offset + UInt64(piece.byteCount))) }
        try await write(pieces)
    }

    /// Makes the COPIED flags of the new active tables true: tables in which they are not get a copy.
    private func rewriteTables(_ structure: inout Structure, _ counts: inout RefcountImage) async throws(StorageError) {
        var l1 = structure.l1
        for index in l1.indices {
            let entry = L1Entry(l1[index])
            if entry.offset == 0 { continue }
            var words = try await readTable(entry)
            var isChanged = false
            for word in stride(from: 0, to: words.count, by: layout.wordsPerEntry) {
                let entry = L2Entry(words[word])
                if entry.isCompressed || entry.offset == 0 { continue }
                let isCopied = counts.count(of: layout.cluster(of: entry.offset)) == 1
                if entry.isCopied == isCopied { continue }
                words[word] ^= L2Entry.copiedFlag
                isChanged = true
            }
            var offset = entry.offset
            if isChanged {
                let cluster = try counts.allocate(1)
                try counts.add(-1, to: layout.cluster(of: offset))
                offset = layout.offset(ofCluster: cluster.lowerBound)
                try await writeNew([MetadataWrite(offset: offset, content: .words(words))])
            }
            let isCopied = counts.count(of: layout.cluster(of: offset)) == 1
            l1[index] = L1Entry(offset: offset, isCopied: isCopied).word
        }
        if l1 == structure.l1 { return }
        structure.l1 = l1
        // The L1 table itself moves, unless it does so already.
        if let offset = structure.l1TableOffset {
            let first = layout.cluster(of: offset)
            let clusterCount = layout.clusterCount(forSize: UInt64(l1.count) * 8)
            for cluster in first..<first + clusterCount { try counts.add(-1, to: cluster) }
            structure.l1TableOffset = nil
        }
    }

    /// Writes another snapshot table if it changes. Returns the bytes that the table takes.
    private func writeSnapshots(
        _ snapshots: [QCOW2Snapshot], _ header: inout QCOW2Header, _ counts: inout RefcountImage
    ) async throws(StorageError) -> UInt64 {
        let (old, oldByteCount) = state.withLock { ($0.snapshots, $0.snapshotTableByteCount) }
        if snapshots == old { return oldByteCount }
        if !old.isEmpty {
            let first = layout.cluster(of: header.snapshotTableOffset)
            for cluster in first..<first + layout.clusterCount(forSize: oldByteCount) {
                try counts.add(-1, to: cluster)
            }
        }
        header.snapshotCount = UInt32(snapshots.count)
        header.snapshotTableOffset = 0
        if snapshots.isEmpty { return 0 }
        var bytes = try SnapshotTable.encoded(snapshots)
        let byteCount = UInt64(bytes.count)
        let clusters = try counts.allocate(layout.clusterCount(forSize: byteCount))
        bytes.pad(to: Int(layout.clusterSize))
        header.snapshotTableOffset = layout.offset(ofCluster: clusters.lowerBound)
        try await writeNew([MetadataWrite(offset: header.snapshotTableOffset, content: .bytes(bytes))])
        return byteCount
    }

    /// Writes the refcount blocks that change to new places, and a table that has them.
    private func writeRefcounts(_ header: inout QCOW2Header, _ counts: inout RefcountImage) async throws(StorageError) {
        var table = state.withLock { $0.refcounts.table }
        for cluster in state.withLock({ $0.refcountTableClusters }) { try counts.add(-1, to: cluster) }
        let entryCount = max(table.count, (counts.blocks.keys.max() ?? 0) + 1)
        let clusterCount = min(
            layout.clusterCount(forSize: UInt64(entryCount + 8) * 8),
            QCOW2Limits.refcountTable >> UInt64(layout.clusterBits))
        let tableClusters = try counts.allocate(clusterCount)

        // Moving a block changes counts, perhaps in blocks that had not changed yet.
        var moved: [Int: UInt64] = [:]
        while let block = counts.changed.first(where: { moved[$0] == nil }) {
            if block < table.count, table[block] != 0 { try counts.add(-1, to: layout.cluster(of: table[block])) }
            moved[block] = layout.offset(ofCluster: try counts.allocate(1).lowerBound)
        }
        for (block, offset) in moved {
            if block >= table.count { table += repeatElement(0, count: block + 1 - table.count) }
            table[block] = offset
            guard let bytes = counts.blocks[block] else { continue }
            try await writeNew([MetadataWrite(offset: offset, content: .bytes(bytes))])
        }
        let room = tableClusters.count * Int(layout.clusterSize) / 8
        while table.count > room, table.last == 0 { table.removeLast() }
        guard table.count <= room else {
            throw StorageError(.noSpace, "change refcounts", why: "the refcount table cannot grow further")
        }
        header.refcountTableOffset = layout.offset(ofCluster: tableClusters.lowerBound)
        header.refcountTableClusterCount = UInt32(tableClusters.count)
        try await writeNew([
            MetadataWrite(offset: header.refcountTableOffset, content: .words(padded(table, tableClusters)))
        ])
        try await growBase(to: layout.offset(ofCluster: counts.lastCluster + 1))
    }

    /// Takes over the refcount table that the header names now.
    private func readRefcountTable() async throws(StorageError) {
        let header = state.withLock { $0.header }
        let words = try await Self.readWords(
            base, header.refcountTableOffset,
            Int(UInt64(header.refcountTableClusterCount) * layout.clusterSize / 8))
        state.withLock { state in
            state.refcounts.reset(table: words)
            state.collectMetadata()
        }
    }

    /// All words of an L2 table.
    func readTable(_ entry: L1Entry) async throws(StorageError) -> [UInt64] {
        try state.withLock { state throws(StorageError) in
            try state.checkMetadata(entry.offset, "L2 table", entry.hasReservedBits)
        }
        return try await Self.readWords(base, entry.offset, Int(layout.clusterSize / 8))
    }

    /// The refcounts as the image has them; the caller is alone and has settled everything.
    func readRefcounts() async throws(StorageError) -> RefcountImage {
        let (table, metadata) = state.withLock { ($0.refcounts.table, $0.refcounts.metadataClusters) }
        var blocks: [Int: [UInt8]] = [:]
        for (index, offset) in table.enumerated() where offset != 0 {
            try state.withLock { state throws(StorageError) in try state.checkMetadata(offset, "refcount block") }
            let size = base.geometry.size
            blocks[index] = try await base.readBytes(
                at: offset, count: Int(min(layout.clusterSize, size - offset)), padTo: Int(layout.clusterSize))
        }
        return RefcountImage(layout: layout, blocks: blocks, metadataClusters: metadata)
    }

    /// Adds `change` to the refcount of everything that an L1 table refers to: L2 tables and what they map.
    func count(_ l1: [UInt64], _ change: Int, _ counts: inout RefcountImage) async throws(StorageError) {
        for word in l1 {
            let entry = L1Entry(word)
            if entry.offset == 0 { continue }
            let words = try await readTable(entry)
            try counts.add(change, to: layout.cluster(of: entry.offset))
            for index in stride(from: 0, to: words.count, by: layout.wordsPerEntry) {
                for cluster in try references(L2Entry(words[index])) { try counts.add(change, to: cluster) }
            }
        }
    }

    /// The host clusters that an entry refers to.
    private func references(_ entry: L2Entry) throws(StorageError) -> Range<UInt64> {
        if entry.isCompressed {
            let clusters = CompressedCluster(entry, clusterBits: layout.clusterBits).hostClusters(layout)
            return clusters.lowerBound..<clusters.upperBound + 1
        }
        if entry.offset == 0 { return 0..<0 }
        guard layout.isAligned(entry.offset) else {
            throw StorageError(
                .corrupt, "read L2 table", at: "offset \(entry.offset)", why: "a cluster is not aligned")
        }
        let cluster = layout.cluster(of: entry.offset)
        return cluster..<cluster + 1
    }
}

extension QCOW2State {
    /// The image has been switched to `structure`.
    mutating func adopt(_ structure: Structure, _ lastCluster: UInt64, snapshotTableByteCount: UInt64) {
        self.snapshotTableByteCount = snapshotTableByteCount
        l1 = structure.l1
        snapshots = structure.snapshots
        slices.removeAll()
        decompressed.removeAll()
        zeroFrom = max(zeroFrom, layout.offset(ofCluster: lastCluster + 1))
        didResize(to: structure.size)
    }
}
