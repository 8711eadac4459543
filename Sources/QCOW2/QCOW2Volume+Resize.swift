import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Sets the size of the disk in bytes, rounded up to whole sectors of 512, since QEMU does not see a part of one. What it gains reads as zeros; what it loses is freed. Power loss in between
    /// leaves the old or the new size.
    ///
    /// Throws `notSupported` for an image of version 2 with snapshots, which do not record their own size there.
    public func resize(to size: UInt64) async throws(StorageError) {
        try checkWritable()
        let size = size.addingSaturatingMask(QCOW2Limits.sector - 1)
        try await change { () async throws(StorageError) in
            try state.withLock { state throws(StorageError) in try state.check(0, 0) }
        }
        try await exclusively { () async throws(StorageError) in
            let old = state.withLock { $0.size }
            if size == old { return }
            let entryCount = layout.l1EntryCount(forSize: size)
            guard size < QCOW2Limits.hostOffset, entryCount * 8 <= QCOW2Limits.l1Table else {
                throw StorageError(
                    .invalidArgument, "resize image", at: base.stack, why: "\(size) bytes need larger clusters")
            }
            if isVersion2, !snapshots.isEmpty {
                throw StorageError(
                    .notSupported, "resize image", at: base.stack,
                    why: "snapshots in version 2 do not record their size: delete them first")
            }
            try await settle()
            if size > old {
                try await extend(from: old, to: size, l1EntryCount: entryCount)
            } else {
                try await shrink(to: size, l1EntryCount: Int(entryCount))
            }
        }
    }

    private func extend(from old: UInt64, to size: UInt64, l1EntryCount: UInt64) async throws(StorageError) {
        if l1EntryCount > UInt64(state.withLock { $0.l1.count }) { try await enlargeL1(to: l1EntryCount) }
        if hasExternalData {
            try await data.resize(to: size)
            state.withLock { $0.dataSize = size }
        }
        // What a longer backing file has there, or what was left of a disk that had been longer, must not show.
        let firstCluster = layout.roundedUp(old)
        try await writeZeroBytes(old..<min(firstCluster, size))
        if firstCluster < size { try await zeroClusters(firstCluster..<layout.roundedUp(size), .free) }
        try await settle()
        try await commitHeader { $0.size = size }
        state.withLock { $0.didResize(to: size) }
    }

    /// Moves the L1 table to where it has room for `count` entries.
    private func enlargeL1(to count: UInt64) async throws(StorageError) {
        let clusterCount = layout.clusterCount(forSize: count * 8)
        let clusters = try await allocateMetadata(clusterCount)
        let offset = layout.offset(ofCluster: clusters.lowerBound)
        do {
            // Counts the new table, while nothing refers to it.
            try await writeMetadata()
            try await growBase(to: offset + clusterCount * layout.clusterSize)
            let room = Int(clusterCount * layout.clusterSize / 8)
            let words = state.withLock { $0.l1 + repeatElement(0, count: room - $0.l1.count) }
            try await write([MetadataWrite(offset: offset, content: .words(words))])
            try await synchronize()
            let old = state.withLock { $0.l1Clusters }
            try await commitHeader { header in
                header.l1TableOffset = offset
                header.l1EntryCount = UInt32(count)
            }
            state.withLock { state in
                state.l1 = Array(words.prefix(Int(count)))
                state.freed.append(old)
            }
        } catch {
            state.withLock { state in
                if state.header.l1TableOffset != offset { state.giveBackMetadata(clusters) }
            }
            throw error
        }
    }

    /// Clusters in a row for metadata; the caller is alone.
    func allocateMetadata(_ count: UInt64) async throws(StorageError) -> Range<UInt64> {
        while true {
            switch try state.withLock({ state throws(StorageError) in try state.allocateMetadata(count) }) {
            case .found(let clusters): return clusters
            case .missing(let piece): try await load(piece)
            case .invalid(let error): throw error
            }
        }
    }

    private func shrink(to size: UInt64, l1EntryCount: Int) async throws(StorageError) {
        try await commitHeader { $0.size = size }
        state.withLock { $0.didResize(to: size) }
        // The last table that stays maps clusters past the end, and the others go as a whole.
        var cluster = layout.clusterCount(forSize: size)
        let end = UInt64(state.withLock { $0.l1.count }) << UInt64(layout.l2Bits)
        while cluster < end {
            switch state.withLock({ $0.unmapSlice(cluster) }) {
            case .done(let next): cluster = next
            case .load(let piece): try await load(piece)
            case .prepareTable(let index): try await prepareTable(index)
            }
            if state.withLock({ $0.needsFlush(dirtyLimit) }) { try await settle() }
        }
        try await settle()
        state.withLock { $0.dropTables(from: l1EntryCount) }
        try await settle()
        if hasExternalData {
            try await data.resize(to: size)
            state.withLock { $0.dataSize = size }
        }
    }
}

/// What unmapping clusters past the end of the disk needs next.
enum UnmapStep {
    /// The first cluster that is still to be unmapped.
    case done(UInt64)
    case load(MetadataPiece)
    case prepareTable(Int)
}

extension QCOW2State {
    var l1Clusters: Range<UInt64> {
        let first = layout.cluster(of: header.l1TableOffset)
        return first..<first + layout.clusterCount(forSize: UInt64(header.l1EntryCount) * 8)
    }

    mutating func didResize(to size: UInt64) {
        self.size = size
        let sliceCount = layout.clusterCount(forSize: size).dividedRoundingUp(by: UInt64(layout.entriesPerSlice))
        slices.limit = max(8, min(cacheByteCount / layout.sliceByteCount, Int(clamping: sliceCount)))
    }

    /// Unmaps the guest clusters from `cluster` to the end of its slice.
    mutating func unmapSlice(_ cluster: UInt64) -> UnmapStep {
        let slice = layout.slice(of: cluster)
        let index = layout.l1Index(ofSlice: slice)
        let entry = L1Entry(l1[index])
        if entry.offset == 0 { return .done((UInt64(index) + 1) << UInt64(layout.l2Bits)) }
        if !entry.isCopied { return .prepareTable(index) }
        guard let slot = slices.find(slice) else { return .load(.slice(slice)) }
        let end = (slice + 1) << UInt64(layout.sliceEntryBits)
        for cluster in cluster..<end {
            let word = layout.word(of: cluster)
            let old = L2Entry(slices.slots[slot].words[word])
            let hasBitmap = layout.hasExtendedL2 && slices.slots[slot].words[word + 1] != 0
            if old == .unallocated && !hasBitmap { continue }
            unlink(old)
            setEntry(.unallocated, .none, at: cluster, slot)
        }
        return .done(end)
    }

    /// Drops the L2 tables from L1 index `first` on, which map nothing; nothing is dirty.
    mutating func dropTables(from first: Int) {
        slices.removeAll()
        for index in l1.indices.dropFirst(first) {
            let entry = L1Entry(l1[index])
            if entry.offset == 0 { continue }
            freed.append(layout.cluster(of: entry.offset))
            l1[index] = 0
            dirtyL1Sectors.insert(index / 64)
        }
    }
}
