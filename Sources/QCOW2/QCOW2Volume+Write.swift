import BlockStorage
import IORuntime

extension QCOW2Volume {
    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        let byteCount = bytes.byteCount
        let direct = try state.withLock { state throws(StorageError) -> Direct? in
            try state.check(offset, byteCount)
            try checkWritable()
            guard byteCount > 0, !state.requests.isShut, state.isReadyForWriting,
                let host = state.lookupInPlace(offset, UInt64(byteCount))
            else { return nil }
            return Direct(host: host, token: state.requests.enter())
        }
        guard let direct else {
            var vector = IOVector()
            vector.append(IOSegment(pinning: bytes, at: offset))
            return try await writev(vector, options: options)
        }
        do {
            defer { leave(direct.token) }
            try await data.write(bytes, at: direct.host, options: [])
        }
        if options.contains(.forceUnitAccess) { try await flush() }
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        try checkWritable()
        try await change { () async throws(StorageError) in
            for index in 0..<vector.count {
                try state.withLock { state throws(StorageError) in
                    try state.check(vector[index].offset, vector[index].byteCount)
                }
            }
            try await writeMapped(vector)
        }
        if options.contains(.forceUnitAccess) { try await flush() }
    }

    /// Runs a request that changes the disk inside the gate, and then does what its changes of the tables ask for.
    func change(_ body: () async throws(StorageError) -> Void) async throws(StorageError) {
        do {
            let token = try await enter()
            defer { leave(token) }
            try await prepareForWriting()
            try await body()
        }
        // Outside the gate: whoever holds the tables may be waiting for the requests in it.
        let round = state.withLock { state in
            state.needsFlush(dirtyLimit) ? state.flush.nextRound : nil
        }
        if let round { try await flush(round) }
    }

    /// Writes `vector` by the tables as they are, changing them where it must; the caller is inside the gate.
    func writeMapped(_ vector: IOVector) async throws(StorageError) {
        var inPlace = IOVector()
        for index in 0..<vector.count {
            let segment = vector[index]
            var done = 0
            while done < segment.byteCount {
                let offset = segment.offset + UInt64(done)
                let left = UInt64(segment.byteCount - done)
                switch state.withLock({ $0.planWrite(offset, left) }) {
                case .inPlace(let host, let byteCount):
                    if inPlace.isFull {
                        try await data.writev(inPlace, options: [])
                        inPlace.removeAll()
                    }
                    inPlace.appendJoining(segment.part(done..<done + Int(byteCount), at: host))
                    done += Int(byteCount)
                case .allocate(let allocation):
                    let end = Int(allocation.data.upperBound - segment.offset)
                    try await perform(allocation, segment.part(done..<end, at: offset))
                    done = end
                case .load(let piece): try await load(piece)
                case .prepareTable(let index): try await prepareTable(index)
                case .wait(let cluster):
                    await withCheckedContinuation { continuation in
                        state.withLock { $0.allocations.wait(for: cluster, continuation) }
                    }
                case .grow(let size): try await grow(to: size)
                case .invalid(let error): throw error
                }
            }
        }
        if inPlace.count > 0 { try await data.writev(inPlace, options: []) }
    }

    /// Writes the data of an allocation and what surrounds it, in one request, and links it.
    private func perform(_ allocation: Allocation, _ bytes: IOSegment) async throws(StorageError) {
        do {
            let end = allocation.host(of: allocation.whole.upperBound, layout)
            if allocation.isFresh { try await growBase(to: layout.roundedUp(end)) }
            try await writeWithSurroundings(allocation, bytes)
        } catch {
            state.withLock { $0.abandon(allocation) }
            throw error
        }
        state.withLock { $0.link(allocation) }
    }

    private func writeWithSurroundings(_ allocation: Allocation, _ bytes: IOSegment) async throws(StorageError) {
        let headRange = allocation.whole.lowerBound..<allocation.data.lowerBound
        let tailRange = allocation.data.upperBound..<allocation.whole.upperBound
        var head = IOBuffer(byteCount: headRange.count)
        var tail = IOBuffer(byteCount: tailRange.count)
        var headBytes = head.mutableBytes
        var tailBytes = tail.mutableBytes

        var vector = IOVector()
        if try await copy(headRange, into: &headBytes, allocation) {
            vector.append(
                IOSegment(pinning: &headBytes, at: allocation.host(of: headRange.lowerBound, layout)))
        }
        vector.append(bytes.part(0..<bytes.byteCount, at: allocation.host(of: allocation.data.lowerBound, layout)))
        if try await copy(tailRange, into: &tailBytes, allocation) {
            vector.append(
                IOSegment(pinning: &tailBytes, at: allocation.host(of: tailRange.lowerBound, layout)))
        }
        try await data.writev(vector, options: [])
    }

    /// Fills `bytes` with what the guest bytes of `range` are. Returns whether they have to be written.
    private func copy(
        _ range: Range<UInt64>, into bytes: inout MutableRawSpan, _ allocation: Allocation
    ) async throws(StorageError) -> Bool {
        if range.isEmpty { return false }
        if try await isKnownZero(range) {
            if allocation.isZeroed { return false }
            bytes.zero()
            return true
        }
        var vector = IOVector()
        vector.append(IOSegment(pinning: &bytes, at: range.lowerBound))
        try await readMapped(vector)
        return true
    }

    /// Whether `range` reads as zeros without a look at any data.
    func isKnownZero(_ range: Range<UInt64>) async throws(StorageError) -> Bool {
        var position = range.lowerBound
        while position < range.upperBound {
            let mapping = try await mapping(position, range.upperBound - position)
            switch mapping.place {
            case .zero: break
            case .unallocated: if let backing, position < backing.geometry.size { return false }
            case .host, .compressed: return false
            }
            position += mapping.byteCount
        }
        return true
    }
}
