import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Frees the clusters that lie in `range` as a whole; they read as zeros from then on. What shares a cluster with
    /// other bytes stays as it is, and so does everything in an image of version 2 that has a backing file, which
    /// would show through.
    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try checkWritable()
        try await inPieces(of: range) { (piece) async throws(StorageError) in
            try await zeroClusters(piece.body, .discard)
        }
    }

    /// Makes `range` read as zeros, by the tables where whole clusters lie in it. Clusters are freed, unless
    /// `.keepAllocated` asks to keep those that the image has. With `.fastOnly`, `range` must consist of clusters.
    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try checkWritable()
        if options.contains(.fastOnly) {
            let (head, _, tail) = try state.withLock { state throws(StorageError) in try state.parts(of: range) }
            guard head.isEmpty, tail.isEmpty, !isVersion2, !hasExternalData else {
                throw StorageError(
                    .notSupported, "write zeros", at: "bytes \(range)",
                    why: "only whole clusters, in version 3, become zeros without writing them")
            }
        }
        let mode: ZeroMode = options.contains(.keepAllocated) ? .keep : .free
        try await inPieces(of: range) { (piece) async throws(StorageError) in
            try await writeZeroBytes(piece.head)
            try await zeroClusters(piece.body, mode)
            try await writeZeroBytes(piece.tail)
        }
        if options.contains(.forceUnitAccess) { try await flush() }
    }

    /// Runs `body` inside the gate for each piece of `range`, as large as the tables in memory have room for.
    private func inPieces(
        of range: Range<UInt64>, _ body: (ZeroParts) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        try state.withLock { state throws(StorageError) in _ = try state.parts(of: range) }
        let slicesAtOnce = UInt64(max(dirtyLimit / layout.sliceByteCount / 2, 1))
        let step = slicesAtOnce << UInt64(layout.sliceEntryBits + layout.clusterBits)
        var position = range.lowerBound
        while position < range.upperBound {
            let end = min(range.upperBound, position - position % step + step)
            try await change { () async throws(StorageError) in
                let parts = try state.withLock { state throws(StorageError) in try state.parts(of: position..<end) }
                try await body(parts)
            }
            position = end
        }
    }

    /// Writes zeros like any other data, where `range` does not read as zeros already; the caller is inside the gate.
    func writeZeroBytes(_ range: Range<UInt64>) async throws(StorageError) {
        if range.isEmpty { return }
        if try await isKnownZero(range) { return }
        var zeros = IOBuffer(byteCount: Int(min(range.upperBound - range.lowerBound, 1 << 20)))
        zeros.zero()
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(range.upperBound - position, UInt64(zeros.byteCount)))
            var vector = IOVector()
            vector.append(IOSegment(pinning: zeros.bytes.extracting(0..<count), at: position))
            try await writeMapped(vector)
            position += UInt64(count)
        }
    }

    /// Makes whole clusters read as zeros; the caller is inside the gate.
    func zeroClusters(_ range: Range<UInt64>, _ mode: ZeroMode) async throws(StorageError) {
        var position = range.lowerBound
        if hasExternalData {
            let end = min(range.upperBound, state.withLock { $0.dataSize })
            if position < end {
                try await data.writeZeroes(position..<end, options: mode == .keep ? .keepAllocated : [])
            }
        }
        let backingSize = backing?.geometry.size ?? 0
        while position < range.upperBound {
            switch state.withLock({ $0.zero(position..<range.upperBound, mode, backingSize: backingSize) }) {
            case .done(let byteCount): position += byteCount
            case .write(let byteCount):
                try await writeZeroBytes(position..<position + byteCount)
                position += byteCount
            case .load(let piece): try await load(piece)
            case .prepareTable(let index): try await prepareTable(index)
            case .wait(let cluster):
                await withCheckedContinuation { continuation in
                    state.withLock { $0.allocations.wait(for: cluster, continuation) }
                }
            case .invalid(let error): throw error
            }
        }
    }
}

/// A range that is to read as zeros: its whole clusters, and what lies before and after them.
typealias ZeroParts = (head: Range<UInt64>, body: Range<UInt64>, tail: Range<UInt64>)

/// What becomes of clusters that are to read as zeros.
enum ZeroMode {
    /// They are freed, and need not read as zeros where that is not possible.
    case discard
    case free
    /// Those that the image has stay its own.
    case keep
}

/// What making clusters zero needs next.
enum ZeroStep {
    /// So many bytes are done.
    case done(UInt64)
    /// So many bytes cannot be zeroed but by writing them.
    case write(UInt64)
    case load(MetadataPiece)
    case prepareTable(Int)
    case wait(UInt64)
    case invalid(StorageError)
}

extension QCOW2State {
    /// Makes the first of the clusters in `range` read as zeros, as many as one slice maps.
    mutating func zero(_ range: Range<UInt64>, _ mode: ZeroMode, backingSize: UInt64) -> ZeroStep {
        let cluster = layout.cluster(of: range.lowerBound)
        let slice = layout.slice(of: cluster)
        let index = layout.l1Index(ofSlice: slice)
        guard index < l1.count else { return .done(range.upperBound - range.lowerBound) }
        let table = L1Entry(l1[index])
        if table.offset == 0, range.lowerBound >= backingSize {
            let next = (UInt64(index) + 1) * layout.l2Coverage
            return .done(min(next, range.upperBound) - range.lowerBound)
        }
        if isVersion2WithBacking(range.lowerBound, backingSize) {
            let end = min(range.upperBound, layout.roundedUp(backingSize))
            return mode == .discard ? .done(end - range.lowerBound) : .write(end - range.lowerBound)
        }
        if !table.isCopied { return .prepareTable(index) }
        guard let slot = slices.find(slice) else { return .load(.slice(slice)) }

        let sliceEnd = (slice + 1) << UInt64(layout.sliceEntryBits)
        let wanted = cluster..<min(layout.cluster(of: range.upperBound), sliceEnd)
        let clusters = allocations.freePrefix(of: wanted)
        if clusters.isEmpty { return .wait(cluster) }
        for cluster in clusters {
            if let error = zeroCluster(cluster, mode, hasBacking: layout.offset(ofCluster: cluster) < backingSize, slot)
            {
                return .invalid(error)
            }
        }
        return .done(UInt64(clusters.count) << UInt64(layout.clusterBits))
    }

    private func isVersion2WithBacking(_ offset: UInt64, _ backingSize: UInt64) -> Bool {
        header.version == 2 && offset < backingSize
    }

    private mutating func zeroCluster(_ cluster: UInt64, _ mode: ZeroMode, hasBacking: Bool, _ slot: Int)
        -> StorageError?
    {
        let word = layout.word(of: cluster)
        let old = L2Entry(slices.slots[slot].words[word])
        let oldBitmap = layout.hasExtendedL2 ? SubclusterBitmap(slices.slots[slot].words[word + 1]) : .none
        if !old.isCompressed, old.word & invalidEntryBits != 0 {
            return invalidEntry(old, layout.offset(ofCluster: cluster))
        }
        if !hasBacking, old == .unallocated, oldBitmap == .none { return nil }
        // The data file holds zeros now.
        if header.hasExternalData, old.hasCluster, !layout.hasExtendedL2 || oldBitmap == .allAllocated { return nil }

        let canKeep = header.version == 3 && !old.isCompressed && old.offset != 0 && old.isCopied
        let isKept = mode == .keep && canKeep || header.hasExternalData
        var new = isKept ? L2Entry(old.word & ~L2Entry.zeroFlag) : .unallocated
        var bitmap = SubclusterBitmap.none
        if layout.hasExtendedL2 {
            bitmap = .allZero
        } else if header.version == 3 {
            new.word |= L2Entry.zeroFlag
        }
        if new == old && bitmap == oldBitmap { return nil }
        if !isKept { unlink(old) }
        setEntry(new, bitmap, at: cluster, slot)
        return nil
    }

    /// The whole clusters in `range`, and what lies before and after them. The end of the disk counts as the end of
    /// its cluster. Throws `outOfRange` for what the disk does not have.
    func parts(of range: Range<UInt64>) throws(StorageError) -> ZeroParts {
        try check(range.lowerBound, Int(clamping: range.upperBound - range.lowerBound))
        let start = layout.roundedUp(range.lowerBound)
        let end = range.upperBound == size ? layout.roundedUp(size) : range.upperBound & ~layout.clusterMask
        let nothing = range.upperBound..<range.upperBound
        guard start < end else { return (range, nothing, nothing) }
        return (range.lowerBound..<start, start..<end, min(end, range.upperBound)..<range.upperBound)
    }
}
