import BlockStorage
import IORuntime

// Metadata goes to the image in stages, each made durable before the next begins:
//
// 1. refcount blocks and a larger refcount table, which count new clusters and none that anything durable refers to
//    is left out; with them all guest data written so far,
// 2. what makes new blocks reachable: entries of the refcount table, or the header that names the larger table,
// 3. L2 tables and the L1 table, which refer to the data and the clusters of the first stage.
//
// Power loss at any point leaves clusters that are counted and not used, never the reverse.

extension QCOW2Volume {
    public func flush() async throws(StorageError) {
        let round = try state.withLock { state throws(StorageError) in
            try state.check(0, 0)
            return state.flush.nextRound
        }
        if !isReadOnly { try await flush(round) }
    }

    /// Returns when a flush of this round or a later one has succeeded.
    func flush(_ round: UInt64) async throws(StorageError) {
        while try await !take(round) {
            await withCheckedContinuation { continuation in
                state.withLock { $0.flush.wait(continuation) }
            }
        }
    }

    /// Leads the round if nobody else writes metadata. Returns whether the caller's round is over.
    private func take(_ round: UInt64) async throws(StorageError) -> Bool {
        switch try state.withLock({ state throws(StorageError) in try state.flush.turn(round) }) {
        case .done: return true
        case .wait: return false
        case .lead:
            try await leading { () async throws(StorageError) in
                try await writeMetadata()
                await releaseFreed()
            }
            return true
        }
    }

    /// Runs `body`, which writes metadata, and ends the round. After a failure the next round writes everything again,
    /// unless it was of a kind that is final.
    func leading(_ body: () async throws(StorageError) -> Void) async throws(StorageError) {
        do {
            try await body()
        } catch {
            state.withLock { $0.flush.end(isComplete: false) }
            throw error
        }
        state.withLock { $0.flush.end(isComplete: true) }
    }

    /// Makes everything durable that was written and linked before; the caller leads the round.
    func writeMetadata() async throws(StorageError) {
        let work = try await takeFlushWork()
        do {
            try await write(work)
        } catch {
            state.withLock { $0.abandon(work) }
            throw error
        }
    }

    private func write(_ work: FlushWork) async throws(StorageError) {
        try await growBase(to: work.end)

        var pieces = work.blocks.map { MetadataWrite(offset: $0.offset, content: .bytes($0.bytes)) }
        if let table = work.newTable {
            pieces.append(MetadataWrite(offset: table.offset, content: .words(table.words)))
        }
        try await write(pieces)
        try await synchronize()
        if hasExternalData { try await synchronize(data) }

        let oldTable = state.withLock { $0.refcountTableClusters }
        if let table = work.newTable {
            try await commitHeader { header in
                header.refcountTableOffset = table.offset
                header.refcountTableClusterCount = table.clusterCount
            }
        } else if !work.tableSectors.isEmpty {
            try await write(work.tableSectors)
            try await synchronize()
        }

        if !work.tables.isEmpty {
            try await write(work.tables)
            try await synchronize()
        }
        state.withLock { $0.finish(work, oldTable: oldTable) }
    }

    /// Makes what was written durable. Fails for good: after a failed flush nobody knows what the volume holds.
    func synchronize(_ volume: (any Volume)? = nil) async throws(StorageError) {
        do {
            try await (volume ?? base).flush()
        } catch {
            if error.code != .cancelled { state.withLock { $0.flush.fail(error) } }
            throw error
        }
    }

    private func takeFlushWork() async throws(StorageError) -> FlushWork {
        while true {
            switch try state.withLock({ state throws(StorageError) in try state.takeFlushWork() }) {
            case .found(let work): return work
            case .missing(let piece): try await load(piece)
            case .invalid(let error): throw error
            }
        }
    }

    /// Writes pieces of metadata, several in one request.
    func write(_ pieces: [MetadataWrite]) async throws(StorageError) {
        let largest = max(1 << 20, Int(layout.clusterSize))
        var first = 0
        while first < pieces.count {
            var end = first
            var byteCount = 0
            while end < pieces.count, end - first < IOVector.capacity,
                end == first || byteCount + pieces[end].byteCount <= largest
            {
                byteCount += pieces[end].byteCount
                end += 1
            }
            var buffer = IOBuffer(byteCount: byteCount)
            var bytes = buffer.mutableBytes
            var position = 0
            for piece in pieces[first..<end] {
                piece.store(into: &bytes, at: position)
                position += piece.byteCount
            }
            let all = IOSegment(pinning: &bytes, at: 0)
            var vector = IOVector()
            position = 0
            for piece in pieces[first..<end] {
                vector.append(all.part(position..<position + piece.byteCount, at: piece.offset))
                position += piece.byteCount
            }
            do {
                try await base.writev(vector, options: [])
            } catch {
                // What the image holds there is not known: only when nothing was lost it is written again.
                if ![.cancelled, .noSpace, .quotaExceeded].contains(error.code) {
                    state.withLock { $0.flush.fail(error) }
                }
                throw error
            }
            first = end
        }
    }

    /// Writes the header and makes it durable: from then on other tables count. A failure is final, since nobody knows
    /// which do, and cancellation does not reach here.
    func commitHeader(_ update: @escaping @Sendable (inout QCOW2Header) -> Void) async throws(StorageError) {
        let result = await Task { () -> Result<Void, StorageError> in
            do throws(StorageError) {
                try await writeHeader(update)
                try await synchronize()
                return .success(())
            } catch {
                state.withLock { $0.flush.fail(error) }
                return .failure(error)
            }
        }.value
        try result.get()
    }

    /// Writes the header's fields in its first sector, which storage writes whole or not at all, and takes them over.
    func writeHeader(_ update: (inout QCOW2Header) -> Void) async throws(StorageError) {
        var (header, sector) = state.withLock { ($0.header, $0.headerSector) }
        update(&header)
        header.store(into: &sector)
        try await base.writeBytes(sector, at: 0)
        state.withLock { state in
            state.header = header
            state.headerSector = sector
        }
    }

    /// Lowers the refcounts of clusters that nothing uses any more, and gives their space back to the volume below; the
    /// caller leads the round. What fails here only loses space.
    func releaseFreed() async {
        let ranges = state.withLock { state in
            state.requests.isEarlierEpochDrained ? state.freed.takeReleasable() : []
        }
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            var position = range.lowerBound
            while position < range.upperBound {
                switch state.withLock({ $0.release(position..<range.upperBound) }) {
                case .kept(let clusters): position = clusters.upperBound
                case .unused(let clusters):
                    let start = layout.offset(ofCluster: clusters.lowerBound)
                    let end = min(layout.offset(ofCluster: clusters.upperBound), state.withLock { $0.baseSize })
                    // The clusters still count, so that nobody takes them before the punch has ended.
                    if start < end { try? await base.discard(start..<end) }
                    position = clusters.lowerBound
                    while position < clusters.upperBound {
                        let (end, missing) = state.withLock { $0.lower(position..<clusters.upperBound) }
                        position = end
                        guard let missing else { continue }
                        do { try await load(missing) } catch { position = clusters.upperBound }
                    }
                case .load(let piece):
                    do { try await load(piece) } catch { position = range.upperBound }
                }
            }
        }
    }
}

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
