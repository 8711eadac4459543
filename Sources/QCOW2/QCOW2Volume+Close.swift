import BlockStorage
import IORuntime

extension QCOW2Volume {
    public func close() async throws(StorageError) {
        let wasClosed = state.withLock { state in
            defer { state.isClosed = true }
            return state.isClosed
        }
        if wasClosed { return }
        var failure: StorageError?
        do {
            try await exclusively { () async throws(StorageError) in
                if !isReadOnly { try await finishSession() }
            }
        } catch {
            failure = error
        }
        for volume in volumesBelow {
            do {
                try await volume.close()
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    private var volumesBelow: [any Volume] {
        var volumes: [any Volume] = [base]
        if hasExternalData { volumes.append(data) }
        if let backing { volumes.append(backing) }
        return volumes
    }

    /// Runs `body` while no request is in flight and nobody else writes metadata.
    func exclusively(_ body: () async throws(StorageError) -> Void) async throws(StorageError) {
        // Metadata first: a flush in progress does not wait for requests, and no request waits for a flush.
        while true {
            let round = state.withLock { $0.flush.nextRound }
            let turn = try state.withLock { state throws(StorageError) in try state.flush.turn(round) }
            if case .lead = turn { break }
            await withCheckedContinuation { continuation in
                state.withLock { $0.flush.wait(continuation) }
            }
        }
        try await leading { () async throws(StorageError) in
            state.withLock { $0.requests.shut() }
            defer { state.withLock { $0.requests.open() } }
            await withCheckedContinuation { continuation in
                state.withLock { $0.requests.waitForDrain(continuation) }
            }
            try await body()
        }
    }

    /// Leaves the image as small and as tidy as it can be; the caller is alone.
    private func finishSession() async throws(StorageError) {
        try await settle()
        try await endSession()
        if let end = try await lastUsedByte() {
            try await base.resize(to: end)
        }
    }

    /// Writes all metadata and frees what can be freed; the caller is alone.
    func settle() async throws(StorageError) {
        repeat {
            try await writeMetadata()
            await releaseFreed()
        } while state.withLock { $0.hasUnwrittenMetadata }
    }

    /// Where the last cluster in use ends, if this session has made the file longer than that.
    private func lastUsedByte() async throws(StorageError) -> UInt64? {
        while true {
            switch state.withLock({ $0.lastUsedByte() }) {
            case .found(let end): return end
            case .missing(let piece): try await load(piece)
            case .invalid(let error): throw error
            }
        }
    }
}

extension QCOW2State {
    var hasUnwrittenMetadata: Bool {
        slices.dirtyCount > 0 || !dirtyL1Sectors.isEmpty || !refcounts.dirtyBlocks.isEmpty
            || !refcounts.dirtyEntries.isEmpty || freed.count > 0
    }

    func lastUsedByte() -> Lookup<UInt64?> {
        guard hasGrown else { return .found(nil) }
        do throws(Refcounts.Obstacle) {
            let end = try layout.offset(ofCluster: refcounts.lastUsedCluster() + 1)
            return .found(end < baseSize ? end : nil)
        } catch {
            switch error {
            case .blockNotLoaded(let index): return .missing(.refcountBlock(index))
            case .failed(let error): return .invalid(error)
            }
        }
    }
}
