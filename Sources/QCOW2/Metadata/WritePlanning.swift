import BlockStorage
import IORuntime

/// Guest clusters that get host clusters: first the data is written there, then the entries are linked.
struct Allocation {
    /// In one slice, neighbours, kept from other allocations until this one ends.
    let clusters: Range<UInt64>
    let slice: UInt64
    /// Of the first cluster; the others follow.
    let host: UInt64
    /// The host clusters are new: a failure frees them again, and success frees what was mapped before.
    let isFresh: Bool
    /// The host clusters read as zeros already.
    let isZeroed: Bool
    /// The guest bytes that the request writes.
    let data: Range<UInt64>
    /// The guest bytes that must be written: `data` and what shares its clusters or subclusters.
    let whole: Range<UInt64>

    func host(of guest: UInt64, _ layout: QCOW2Layout) -> UInt64 {
        host + (guest - layout.offset(ofCluster: clusters.lowerBound))
    }
}

/// What a write at some offset needs first.
enum WriteStep {
    /// Nothing: these bytes are in place.
    case inPlace(host: UInt64, byteCount: UInt64)
    /// Write to clusters that were taken for it, and link them.
    case allocate(Allocation)
    case load(MetadataPiece)
    /// An L2 table of its own.
    case prepareTable(Int)
    /// That another allocation of this guest cluster ends.
    case wait(UInt64)
    /// That the file reaches so far.
    case grow(UInt64)
    case invalid(StorageError)
}

extension QCOW2State {
    /// The most that one allocation writes, in bytes.
    private static let largestAllocation: UInt64 = 16 << 20

    /// The host offset of `byteCount` bytes at `offset` if all of them can be overwritten where they are.
    @inline(__always)
    mutating func lookupInPlace(_ offset: UInt64, _ byteCount: UInt64) -> UInt64? {
        guard let slot = slices.find(layout.slice(of: layout.cluster(of: offset))), !slices.slots[slot].isSuspect,
            !isUnsafeMapping(slot),
            L1Entry(l1[layout.l1Index(ofSlice: slices.slots[slot].slice)]).isCopied,
            let (host, count) = inPlace(offset, byteCount, slot), count == byteCount, host + count <= dataSize
        else { return nil }
        return host
    }

    /// Whether the death of the process could take back what maps the cluster: then a write to it is not to be
    /// acknowledged before a flush.
    @inline(__always)
    private func isUnsafeMapping(_ slot: Int) -> Bool {
        (commitsTables || journal?.hasOverflowed == true) && slices.slots[slot].isDirty
    }

    /// The run of bytes from `offset` on that can be overwritten where they are.
    @inline(__always)
    private func inPlace(_ offset: UInt64, _ limit: UInt64, _ slot: Int) -> (host: UInt64, byteCount: UInt64)? {
        let word = layout.word(of: layout.cluster(of: offset))
        let entry = L2Entry(slices.slots[slot].words[word])
        let inCluster = offset & layout.clusterMask
        guard !entry.isCompressed, !entry.isZero, entry.hasCluster, layout.isAligned(entry.offset),
            entry.isCopied || header.hasExternalData
        else { return nil }
        if layout.hasExtendedL2 {
            let allocated = SubclusterBitmap(slices.slots[slot].words[word + 1]).allocated
            let first = layout.subcluster(of: offset)
            var end = first
            while end < 32, allocated >> UInt32(end) & 1 != 0 { end += 1 }
            guard end > first else { return nil }
            let byteCount = min(UInt64(end) << UInt64(layout.subclusterBits) - inCluster, limit)
            return (entry.offset + inCluster, byteCount)
        }
        var end = layout.clusterSize - inCluster
        var next = word + 1
        while end < limit, next < layout.wordsPerSlice {
            guard slices.slots[slot].words[next] == entry.word + end + inCluster else { break }
            end += layout.clusterSize
            next += 1
        }
        return (entry.offset + inCluster, min(end, limit))
    }

    /// The next step of a write of at most `limit` bytes at `offset`; registers the allocation that it returns.
    mutating func planWrite(_ offset: UInt64, _ limit: UInt64) -> WriteStep {
        let cluster = layout.cluster(of: offset)
        let slice = layout.slice(of: cluster)
        let index = layout.l1Index(ofSlice: slice)
        guard index < l1.count else {
            return .invalid(StorageError(.corrupt, "write", why: "the L1 table does not reach offset \(offset)"))
        }
        if !L1Entry(l1[index]).isCopied { return .prepareTable(index) }
        guard let slot = slices.find(slice) else { return .load(.slice(slice)) }
        if slices.slots[slot].isSuspect, let error = overlap(offset, limit, slot) { return .invalid(error) }
        if let (host, byteCount) = inPlace(offset, limit, slot) {
            let end = host + byteCount
            return end > dataSize ? .grow(layout.roundedUp(end)) : .inPlace(host: host, byteCount: byteCount)
        }
        let free = allocations.freePrefix(of: cluster..<cluster + 1)
        if free.isEmpty { return .wait(cluster) }
        return planAllocation(offset, min(limit, Self.largestAllocation), slot)
    }

    private func overlap(_ offset: UInt64, _ limit: UInt64, _ slot: Int) -> StorageError? {
        var cluster = layout.cluster(of: offset)
        let last = layout.cluster(of: offset + limit - 1)
        repeat {
            let entry = L2Entry(slices.slots[slot].words[layout.word(of: cluster)])
            if !entry.isCompressed, entry.hasCluster, !header.hasExternalData,
                refcounts.metadataClusters.contains(layout.cluster(of: entry.offset))
            {
                return StorageError(
                    .corrupt, "write", at: "guest offset \(layout.offset(ofCluster: cluster))",
                    why: "it is mapped to offset \(entry.offset), where metadata is: repair the image")
            }
            cluster += 1
        } while cluster <= last && layout.slice(of: cluster) == slices.slots[slot].slice
        return nil
    }

    /// What a guest cluster has before an allocation, which decides how it is allocated.
    private enum Former: Equatable {
        /// Nothing to copy but what the cluster reads as, by subclusters where the image has them.
        case nothing
        /// Data in a cluster that must not be overwritten, to be copied whole.
        case shared
        /// A host cluster that may be overwritten, without data in it.
        case owned(UInt64)
    }

    private func former(_ cluster: UInt64, _ slot: Int) -> Former {
        let entry = L2Entry(slices.slots[slot].words[layout.word(of: cluster)])
        if entry.isCompressed { return .shared }
        if entry.offset == 0 || header.hasExternalData { return .nothing }
        return entry.isCopied ? .owned(entry.offset) : .shared
    }

    private mutating func planAllocation(_ offset: UInt64, _ limit: UInt64, _ slot: Int) -> WriteStep {
        let cluster = layout.cluster(of: offset)
        let slice = slices.slots[slot].slice
        let kind = former(cluster, slot)
        if case .invalid(let error) = lookup(offset, 1) { return .invalid(error) }

        // As many neighbours as are of the same kind and nobody else's.
        var end = cluster + 1
        if kind == .nothing || kind == .shared && !layout.hasExtendedL2 {
            let last = layout.cluster(of: offset + limit - 1)
            let sliceEnd = (slice + 1) << UInt64(layout.sliceEntryBits)
            while end <= last, end < sliceEnd, former(end, slot) == kind, needsAllocation(end, slot) { end += 1 }
        }
        var clusters = allocations.freePrefix(of: cluster..<end)

        let host: UInt64
        var isZeroed = false
        if case .owned(let owned) = kind {
            host = owned
            if host + layout.clusterSize > dataSize { return .grow(host + layout.clusterSize) }
        } else if header.hasExternalData {
            host = layout.offset(ofCluster: cluster)
            // The file is as long as the disk, not longer.
            let end = min(layout.offset(ofCluster: clusters.upperBound), size)
            if end > dataSize { return .grow(end) }
        } else {
            do throws(Refcounts.Obstacle) {
                let taken = try refcounts.allocate(upTo: UInt64(clusters.count))
                host = layout.offset(ofCluster: taken.lowerBound)
                clusters = cluster..<cluster + UInt64(taken.count)
                isZeroed = host >= zeroFrom
                zeroFrom = max(zeroFrom, layout.offset(ofCluster: taken.upperBound))
            } catch {
                switch error {
                case .blockNotLoaded(let index): return .load(.refcountBlock(index))
                case .failed(let error): return .invalid(error)
                }
            }
        }

        var dataEnd = min(offset + limit, layout.offset(ofCluster: clusters.upperBound))
        let grain = kind == .shared ? layout.clusterMask : layout.subclusterSize - 1
        if case .owned = kind, layout.hasExtendedL2 {
            // Up to the next subcluster that has data.
            let allocated = SubclusterBitmap(slices.slots[slot].words[layout.word(of: cluster) + 1]).allocated
            var next = layout.subcluster(of: offset) + 1
            while next < 32, allocated >> UInt32(next) & 1 == 0 { next += 1 }
            dataEnd = min(dataEnd, layout.offset(ofCluster: cluster) + UInt64(next) << UInt64(layout.subclusterBits))
        }
        var wholeEnd = dataEnd.addingSaturatingMask(grain)
        if header.hasExternalData { wholeEnd = min(wholeEnd, size) }
        allocations.begin(clusters)
        slices.pin(slot)
        return .allocate(
            Allocation(
                clusters: clusters, slice: slice, host: host,
                isFresh: !header.hasExternalData && host != ownedHost(kind), isZeroed: isZeroed, data: offset..<dataEnd,
                whole: offset & ~grain..<wholeEnd))
    }

    private func ownedHost(_ kind: Former) -> UInt64? {
        if case .owned(let host) = kind { host } else { nil }
    }

    /// Whether a neighbour of a cluster that is being allocated has to be allocated as well.
    private func needsAllocation(_ cluster: UInt64, _ slot: Int) -> Bool {
        let entry = L2Entry(slices.slots[slot].words[layout.word(of: cluster)])
        return entry.isCompressed
            || entry.word & invalidEntryBits == 0 && inPlace(layout.offset(ofCluster: cluster), 1, slot) == nil
    }

    /// The data of `allocation` is in its place: maps it.
    mutating func link(_ allocation: Allocation) {
        guard let slot = slices.find(allocation.slice) else { return }
        for (index, cluster) in allocation.clusters.enumerated() {
            let word = layout.word(of: cluster)
            let old = L2Entry(slices.slots[slot].words[word])
            let host = allocation.host + UInt64(index) << UInt64(layout.clusterBits)
            let hadData = allocation.isFresh && !old.isCompressed && old.offset != 0
            if hadData || old.isCompressed { unlink(old) }
            setEntry(
                L2Entry(ownedCluster: host),
                bitmap(after: allocation, cluster, isReplaced: hadData || old.isCompressed, slot), at: cluster, slot)
        }
        finish(allocation)
    }

    private func bitmap(
        after allocation: Allocation, _ cluster: UInt64, isReplaced: Bool, _ slot: Int
    ) -> SubclusterBitmap {
        guard layout.hasExtendedL2 else { return .none }
        let start = layout.offset(ofCluster: cluster)
        let from = max(allocation.whole.lowerBound, start) - start
        let to =
            min(allocation.whole.upperBound.addingSaturatingMask(layout.subclusterSize - 1), start + layout.clusterSize)
            - start
        let written = SubclusterBitmap.mask(
            Int(from >> UInt64(layout.subclusterBits))..<Int(to >> UInt64(layout.subclusterBits)))
        var bitmap = SubclusterBitmap(slices.slots[slot].words[layout.word(of: cluster) + 1])
        if isReplaced { bitmap = .none }
        return SubclusterBitmap(allocated: bitmap.allocated | written, zero: bitmap.zero & ~written)
    }

    /// Changes an L2 entry in memory, for the next flush and the journal.
    mutating func setEntry(_ entry: L2Entry, _ bitmap: SubclusterBitmap, at cluster: UInt64, _ slot: Int) {
        let word = layout.word(of: cluster)
        slices.set(entry.word, at: word, slot: slot)
        if layout.hasExtendedL2 { slices.set(bitmap.word, at: word + 1, slot: slot) }
        journal?.append(JournalRecord(cluster: cluster, entry: entry, bitmap: bitmap))
    }

    /// An entry that is being replaced no longer refers to its clusters.
    mutating func unlink(_ entry: L2Entry) {
        if entry.isCompressed {
            let hosts = CompressedCluster(entry, clusterBits: layout.clusterBits).hostClusters(layout)
            freed.append(hosts.lowerBound..<hosts.upperBound + 1)
            decompressed.remove(entry)
        } else if entry.offset != 0, !header.hasExternalData {
            freed.append(layout.cluster(of: entry.offset))
        }
    }

    /// The data of `allocation` was not written: gives back what it took.
    mutating func abandon(_ allocation: Allocation) {
        if allocation.isFresh {
            let first = layout.cluster(of: allocation.host)
            for cluster in first..<first + UInt64(allocation.clusters.count) { giveBack(cluster) }
        }
        finish(allocation)
    }

    /// Frees a cluster that was taken in memory and never linked.
    mutating func giveBack(_ cluster: UInt64) {
        // A block that this cluster's count changed stays in memory until it is written, and a clean one was written
        // with the cluster counted: then the cluster is lost until the next repair.
        try? refcounts.add(-1, to: cluster)
    }

    private mutating func finish(_ allocation: Allocation) {
        slices.unpin(allocation.slice)
        allocations.end(allocation.clusters)
    }
}
