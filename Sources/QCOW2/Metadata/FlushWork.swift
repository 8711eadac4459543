import BlockStorage
import IORuntime

/// A piece of metadata on its way to the image.
struct MetadataWrite {
    enum Content {
        case bytes([UInt8])
        /// To be written big-endian.
        case words([UInt64])
    }

    let offset: UInt64
    let content: Content

    var byteCount: Int {
        switch content {
        case .bytes(let bytes): bytes.count
        case .words(let words): words.count * 8
        }
    }

    func store(into target: inout MutableRawSpan, at offset: Int) {
        switch content {
        case .bytes(let bytes): target.copy(from: bytes.rawBytes, to: offset)
        case .words(let words):
            for (index, word) in words.enumerated() { target.storeBigEndian(word, at: offset + index * 8) }
        }
    }
}

/// What one flush writes: the tables as they were at one moment.
struct FlushWork {
    var blocks: [(index: Int, offset: UInt64, bytes: [UInt8], version: UInt64)] = []
    var tableSectors: [MetadataWrite] = []
    var tableEntries: Set<Int> = []
    /// A larger refcount table in a new place.
    var newTable: (offset: UInt64, clusterCount: UInt32, words: [UInt64])?
    /// Slices of L2 tables and sectors of the L1 table.
    var tables: [MetadataWrite] = []
    var slices: [SliceCache.Slot] = []
    /// Sectors of the L1 table that `tables` has.
    var l1Sectors: Set<Int> = []
    /// How far the file must reach for all this, in bytes.
    var end: UInt64 = 0

    func newTableClusters(_ layout: QCOW2Layout) -> Range<UInt64> {
        guard let newTable else { return 0..<0 }
        let first = layout.cluster(of: newTable.offset)
        return first..<first + UInt64(newTable.clusterCount)
    }
}

extension QCOW2State {
    /// Copies what has to be written, closes the epoch if the earlier one has drained.
    mutating func takeFlushWork() throws(StorageError) -> Lookup<FlushWork> {
        var work = FlushWork()
        while refcounts.usedEntryCount
            > refcounts.capacity(clusterCount: work.newTable?.clusterCount ?? header.refcountTableClusterCount)
        {
            // Half as large again, so that it does not happen at every step.
            let entries = UInt64(refcounts.usedEntryCount)
            let count = min(
                layout.clusterCount(forSize: (entries + entries / 2 + 8) * 8),
                QCOW2Limits.refcountTable >> UInt64(layout.clusterBits))
            giveBackMetadata(work.newTableClusters(layout))
            switch try allocateMetadata(count) {
            case .found(let clusters):
                work.newTable = (layout.offset(ofCluster: clusters.lowerBound), UInt32(count), [])
            case .missing(let piece): return .missing(piece)
            case .invalid(let error): return .invalid(error)
            }
        }
        if work.newTable != nil { refcounts.markAllEntriesDirty() }

        for index in refcounts.dirtyBlocks.sorted() {
            guard let block = refcounts.blocks[index] else { continue }
            work.blocks.append((index, refcounts.table[index], block.bytes, block.version))
            work.end = max(work.end, refcounts.table[index] + layout.clusterSize)
        }
        work.tableEntries = refcounts.dirtyEntries
        if let table = work.newTable {
            let capacity = refcounts.capacity(clusterCount: table.clusterCount)
            let used = Array(refcounts.table.prefix(capacity))
            work.newTable?.words = used + repeatElement(0, count: capacity - used.count)
            work.end = max(work.end, table.offset + UInt64(capacity) * 8)
        } else {
            for sector in Set(work.tableEntries.map { $0 / 64 }).sorted() {
                work.tableSectors.append(
                    sectorWrite(sector, of: refcounts.table, at: header.refcountTableOffset))
            }
        }

        work.slices = slices.dirtySlots
        for slot in work.slices {
            let table = L1Entry(l1[layout.l1Index(ofSlice: slot.slice)]).offset
            work.tables.append(
                MetadataWrite(offset: table + layout.offsetInTable(ofSlice: slot.slice), content: .words(slot.words)))
            work.end = max(work.end, table + layout.clusterSize)
        }
        work.tables.sort { $0.offset < $1.offset }
        for sector in dirtyL1Sectors.sorted() {
            work.tables.append(sectorWrite(sector, of: l1, at: header.l1TableOffset))
            for entry in l1[sector * 64..<min(l1.count, sector * 64 + 64)] where L1Entry(entry).offset != 0 {
                work.end = max(work.end, L1Entry(entry).offset + layout.clusterSize)
            }
        }
        work.l1Sectors = dirtyL1Sectors
        dirtyL1Sectors = []
        work.end = min(work.end, QCOW2Limits.hostOffset)
        journal?.beginFlush()

        if requests.isEarlierEpochDrained, !freed.hasClosed {
            freed.close()
            requests.advance()
            closedEpochInFlush = true
        }
        return .found(work)
    }

    private func sectorWrite(_ sector: Int, of table: [UInt64], at offset: UInt64) -> MetadataWrite {
        let words = Array(table[sector * 64..<min(table.count, sector * 64 + 64)])
        return MetadataWrite(
            offset: offset + UInt64(sector) * QCOW2Limits.sector,
            content: .words(words + repeatElement(0, count: 64 - words.count)))
    }

    /// Not all of `work` is durable: what it took is given back, and the next flush writes everything again.
    mutating func abandon(_ work: FlushWork) {
        dirtyL1Sectors.formUnion(work.l1Sectors)
        if header.refcountTableOffset != work.newTable?.offset { giveBackMetadata(work.newTableClusters(layout)) }
    }

    /// Everything in `work` is durable; `oldTable` is where the refcount table was before.
    mutating func finish(_ work: FlushWork, oldTable: Range<UInt64>) {
        if work.newTable != nil { freed.append(oldTable) }
        refcounts.markWritten(
            blocks: Dictionary(uniqueKeysWithValues: work.blocks.map { ($0.index, $0.version) }),
            entries: work.tableEntries)
        slices.markWritten(work.slices)
        journal?.endFlush()
        if closedEpochInFlush {
            closedEpochInFlush = false
            freed.markDurable()
        }
    }

    /// What became of clusters that lost a reference.
    enum Released {
        /// They had other references; the counts are right now.
        case kept(Range<UInt64>)
        /// They had only this one, and still count it.
        case unused(Range<UInt64>)
        case load(MetadataPiece)
    }

    /// Looks at the first of `clusters` that are alike, at most a few thousand.
    mutating func release(_ clusters: Range<UInt64>) -> Released {
        var end = clusters.lowerBound
        var isLast = false
        do throws(Refcounts.Obstacle) {
            isLast = try refcounts.count(of: end) <= 1
            while end < clusters.upperBound, end - clusters.lowerBound < 8192,
                try (refcounts.count(of: end) <= 1) == isLast
            {
                if !isLast { try refcounts.add(-1, to: end) }
                end += 1
            }
        } catch {
            if end == clusters.lowerBound {
                if case .blockNotLoaded(let index) = error { return .load(.refcountBlock(index)) }
                return .kept(end..<end + 1)
            }
        }
        return isLast ? .unused(clusters.lowerBound..<end) : .kept(clusters.lowerBound..<end)
    }

    /// Takes the last reference from `clusters`. Returns how far it came and what it misses.
    mutating func lower(_ clusters: Range<UInt64>) -> (end: UInt64, missing: MetadataPiece?) {
        for cluster in clusters {
            do throws(Refcounts.Obstacle) {
                try refcounts.add(-1, to: cluster)
            } catch {
                if case .blockNotLoaded(let index) = error { return (cluster, .refcountBlock(index)) }
            }
            refcounts.metadataClusters.remove(cluster)
        }
        return (clusters.upperBound, nil)
    }

    /// Where the refcount table is.
    var refcountTableClusters: Range<UInt64> {
        let first = layout.cluster(of: header.refcountTableOffset)
        return first..<first + UInt64(header.refcountTableClusterCount)
    }
}
