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
