import BlockStorage
import IORuntime

// L2 tables that are made when they are first needed, and the file that gets longer.

extension QCOW2Volume {
    /// Makes sure that the L2 table of an L1 entry exists and belongs to the active state alone.
    func prepareTable(_ index: Int) async throws(StorageError) {
        enum Step {
            case ready, wait
            case load(MetadataPiece)
            case make(host: UInt64, isZeroed: Bool, old: UInt64)
        }
        let step = try state.withLock { state throws(StorageError) -> Step in
            let entry = L1Entry(state.l1[index])
            if entry.isCopied { return .ready }
            if state.preparingTables[index] != nil { return .wait }
            if entry.offset != 0 { try state.checkMetadata(entry.offset, "L2 table", entry.hasReservedBits) }
            switch try state.allocateMetadata(1) {
            case .missing(let piece): return .load(piece)
            case .invalid(let error): throw error
            case .found(let clusters):
                let host = layout.offset(ofCluster: clusters.lowerBound)
                let isZeroed = host >= state.zeroFrom
                state.zeroFrom = max(state.zeroFrom, host + layout.clusterSize)
                state.preparingTables[index] = []
                return .make(host: host, isZeroed: isZeroed, old: entry.offset)
            }
        }
        switch step {
        case .ready: return
        case .load(let piece): try await load(piece)
        case .wait:
            await withCheckedContinuation { continuation in
                state.withLock { state in
                    if state.preparingTables[index] == nil {
                        continuation.resume()
                    } else {
                        state.preparingTables[index]?.append(continuation)
                    }
                }
            }
        case .make(let host, let isZeroed, let old):
            do {
                try await growBase(to: host + layout.clusterSize)
                try await writeTable(host, isZeroed: isZeroed, old: old)
            } catch {
                state.withLock { $0.finishTable(index, nil, host) }
                throw error
            }
            state.withLock { $0.finishTable(index, old, host) }
        }
    }

    /// Writes a new L2 table, empty or a copy; nothing refers to it yet.
    private func writeTable(_ host: UInt64, isZeroed: Bool, old: UInt64) async throws(StorageError) {
        if old == 0 && isZeroed { return }
        var table = [UInt8](repeating: 0, count: Int(layout.clusterSize))
        if old != 0 {
            let size = base.geometry.size
            let available = Int(min(layout.clusterSize, size - min(old, size)))
            table = try await base.readBytes(at: old, count: available, padTo: Int(layout.clusterSize))
        }
        try await base.writeBytes(table, at: host)
    }

    /// Makes the file reach to `size`, where the data is.
    func grow(to size: UInt64) async throws(StorageError) {
        if !hasExternalData { return try await growBase(to: size) }
        let isLongEnough = state.withLock { $0.dataSize >= size }
        if isLongEnough { return }
        try await growOne { () async throws(StorageError) in
            let target = state.withLock { max($0.dataSize, size) }
            try await data.resize(to: target)
            state.withLock { $0.dataSize = max($0.dataSize, target) }
        }
    }

    /// Makes the file that holds the image reach to `size`, and a step further, so that this is seldom needed.
    func growBase(to size: UInt64) async throws(StorageError) {
        while state.withLock({ $0.baseSize < size }) {
            try await growOne { () async throws(StorageError) in
                let current = state.withLock { $0.baseSize }
                if current >= size { return }
                // The volume below syncs at each step, so that steps get longer as the file does; they take no space,
                // and closing takes back what was not needed.
                let step = min(max(current, 4 << 20), 256 << 20)
                var target = layout.roundedUp(size.addingSaturating(step))
                do throws(StorageError) {
                    try await base.resize(to: target)
                } catch {
                    switch error.code {
                    case .noSpace, .quotaExceeded, .outOfRange:
                        // Without the step further.
                        target = layout.roundedUp(size)
                        try await base.resize(to: target)
                    case .notSupported:
                        state.withLock { $0.refcounts.clusterLimit = layout.cluster(of: current) }
                        throw StorageError(.noSpace, "grow image", at: base.stack, why: error.why)
                    default: throw error
                    }
                }
                state.withLock { $0.didGrow(to: target) }
            }
        }
    }

    /// Runs `body`, or waits for another growth to end without running it.
    private func growOne(_ body: () async throws(StorageError) -> Void) async throws(StorageError) {
        let isOurs = state.withLock { state in
            defer { state.growth.isRunning = true }
            return !state.growth.isRunning
        }
        guard isOurs else {
            return await withCheckedContinuation { continuation in
                state.withLock { $0.growth.wait(continuation) }
            }
        }
        defer { state.withLock { $0.growth.end() } }
        try await body()
    }
}

extension QCOW2State {
    /// Clusters in a row for metadata: no data is ever put there.
    mutating func allocateMetadata(_ count: UInt64) throws(StorageError) -> Lookup<Range<UInt64>> {
        do throws(Refcounts.Obstacle) {
            let clusters = try refcounts.allocateContiguous(count)
            refcounts.metadataClusters.formUnion(clusters)
            return .found(clusters)
        } catch {
            switch error {
            case .blockNotLoaded(let index): return .missing(.refcountBlock(index))
            case .failed(let error): return .invalid(error)
            }
        }
    }

    /// Frees metadata clusters that nothing in the image refers to.
    mutating func giveBackMetadata(_ clusters: Range<UInt64>) {
        refcounts.metadataClusters.subtract(clusters)
        for cluster in clusters { giveBack(cluster) }
    }

    /// The L2 table at `host` was written (`old` not nil: the offset of the one that it replaces, or 0), or not.
    mutating func finishTable(_ index: Int, _ old: UInt64?, _ host: UInt64) {
        if let old {
            l1[index] = L1Entry(offset: host, isCopied: true).word
            dirtyL1Sectors.insert(index / 64)
            if old != 0 { freed.append(layout.cluster(of: old)) }
        } else {
            let cluster = layout.cluster(of: host)
            giveBackMetadata(cluster..<cluster + 1)
        }
        for waiter in preparingTables.removeValue(forKey: index) ?? [] { waiter.resume() }
    }

    mutating func didGrow(to size: UInt64) {
        baseSize = max(baseSize, size)
        if !header.hasExternalData { dataSize = baseSize }
        hasGrown = true
    }

    /// Whether so much is unwritten, or waits to be freed, that it should not wait for a flush.
    func needsFlush(_ dirtyLimit: Int) -> Bool {
        journal?.isHalfFull == true || commitsTables && (slices.dirtyCount > 0 || !dirtyL1Sectors.isEmpty)
            || slices.dirtyCount * layout.sliceByteCount > dirtyLimit
            || freed.count > 16384 && freed.count << UInt64(layout.clusterBits) > 1 << 30
    }
}

extension Growth {
    /// Resumes `continuation` when the growth that is running has ended.
    mutating func wait(_ continuation: CheckedContinuation<Void, Never>) {
        if isRunning { waiters.append(continuation) } else { continuation.resume() }
    }
}
