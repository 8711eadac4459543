import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// What a request that lies in one run of host bytes needs.
    struct Direct {
        var host: UInt64
        var token: RequestGate.Token
    }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let byteCount = buffer.byteCount
        let direct = try state.withLock { state throws(StorageError) -> Direct? in
            try state.check(offset, byteCount)
            guard byteCount > 0, !state.requests.isShut,
                case .found(let mapping) = state.lookup(offset, UInt64(byteCount)),
                case .host(let host) = mapping.place, mapping.byteCount == UInt64(byteCount)
            else { return nil }
            return Direct(host: host, token: state.requests.enter())
        }
        if let direct {
            defer { leave(direct.token) }
            return try await data.read(into: &buffer, at: direct.host)
        }
        var vector = IOVector()
        vector.append(IOSegment(pinning: &buffer, at: offset))
        try await readv(vector)
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        let token = try await enter()
        defer { leave(token) }
        for index in 0..<vector.count {
            try state.withLock { state throws(StorageError) in
                try state.check(vector[index].offset, vector[index].byteCount)
            }
        }
        try await readMapped(vector)
    }

    /// Fills `vector` by the tables as they are; the caller is inside the gate.
    func readMapped(_ vector: IOVector) async throws(StorageError) {
        var fromData = IOVector()
        var fromBacking = IOVector()
        for index in 0..<vector.count {
            let segment = vector[index]
            var done = 0
            while done < segment.byteCount {
                let offset = segment.offset + UInt64(done)
                let mapping = try await mapping(offset, UInt64(segment.byteCount - done))
                let part = done..<done + Int(mapping.byteCount)
                switch mapping.place {
                case .host(let host):
                    if fromData.isFull {
                        try await data.readv(fromData)
                        fromData.removeAll()
                    }
                    fromData.appendJoining(segment.part(part, at: host))
                case .zero: segment.part(part, at: offset).zero()
                case .unallocated:
                    if let backing {
                        if fromBacking.isFull {
                            try await backing.readv(fromBacking)
                            fromBacking.removeAll()
                        }
                        if let inside = Self.zeroPast(backing.geometry.size, segment.part(part, at: offset)) {
                            fromBacking.appendJoining(inside)
                        }
                    } else {
                        segment.part(part, at: offset).zero()
                    }
                case .compressed(let entry):
                    try await readCompressed(entry, into: segment.part(part, at: offset))
                }
                done = part.upperBound
            }
        }
        if fromData.count > 0 { try await data.readv(fromData) }
        if let backing, fromBacking.count > 0 { try await backing.readv(fromBacking) }
    }

    /// Zeroes what lies past `size` and returns what does not.
    private static func zeroPast(_ size: UInt64, _ segment: IOSegment) -> IOSegment? {
        if segment.range.upperBound <= size { return segment }
        let inside = segment.offset < size ? Int(size - segment.offset) : 0
        segment.part(inside..<segment.byteCount, at: segment.offset).zero()
        return inside > 0 ? segment.part(0..<inside, at: segment.offset) : nil
    }

    /// Where the guest bytes from `offset` on are, for at most `limit` bytes.
    func mapping(_ offset: UInt64, _ limit: UInt64) async throws(StorageError) -> Mapping {
        while true {
            switch state.withLock({ $0.lookup(offset, limit) }) {
            case .found(let mapping): return mapping
            case .missing(let piece): try await load(piece)
            case .invalid(let error): throw error
            }
        }
    }

    /// Fills `segment`, which lies in one cluster, from the compressed cluster with this entry.
    private func readCompressed(_ entry: L2Entry, into segment: IOSegment) async throws(StorageError) {
        let start = Int(segment.offset & layout.clusterMask)
        let end = start + segment.byteCount
        if let bytes = state.withLock({ $0.decompressed.find(entry) }) {
            return segment.copy(from: bytes.rawBytes.extracting(start..<end))
        }
        let cluster = CompressedCluster(entry, clusterBits: layout.clusterBits)
        let (type, size) = state.withLock { ($0.header.compressionType, $0.baseSize) }
        guard !hasExternalData, cluster.offset < size else {
            throw StorageError(
                .corrupt, "read compressed cluster", at: "guest offset \(segment.offset)",
                why: "it lies at offset \(cluster.offset), past the end of the file")
        }
        // The last sector need not be there whole.
        let byteCount = Int(min(UInt64(cluster.byteCount), size - cluster.offset))
        var compressed = IOBuffer(byteCount: byteCount)
        var input = compressed.mutableBytes
        try await base.read(into: &input, at: cluster.offset)
        var bytes = [UInt8](repeating: 0, count: Int(layout.clusterSize))
        var output = bytes.mutableRawBytes
        try type.decompress(compressed.bytes, into: &output)
        segment.copy(from: bytes.rawBytes.extracting(start..<end))
        state.withLock { state in
            // Only what is still mapped: the place of what is not may get other data.
            guard case .found(let mapping) = state.lookup(segment.offset, 1),
                case .compressed(let current) = mapping.place, current == entry
            else { return }
            state.decompressed.insert(entry, bytes)
        }
    }
}
