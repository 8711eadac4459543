import IORuntime

/// Takes requests of any offset and length over a volume with a block size.
///
/// A request that covers a block in part reads the block, changes it and writes it back. Such a request runs alone on
/// its blocks, so writes to neighbouring bytes are never lost, whichever comes first. Aligned requests pass through.
public final class AlignedVolume: Volume {
    private let base: any Volume
    private let blockSize: UInt64
    private let lock = RangeLock()

    /// A view of `base`, whose size is a multiple of its block size.
    public init(_ base: any Volume) {
        self.base = base
        blockSize = UInt64(max(1, base.geometry.blockSize))
    }

    public var geometry: VolumeGeometry {
        var geometry = base.geometry
        geometry.blockSize = 1
        return geometry
    }

    public var stack: String { "aligned(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let range = try checked(offset, buffer.byteCount)
        guard !isAligned(range) else { return try await base.read(into: &buffer, at: offset) }
        for part in parts(of: range) {
            let place = Int(part.lowerBound - offset)..<Int(part.upperBound - offset)
            var target = buffer._mutatingExtracting(place)
            if isAligned(part) {
                try await base.read(into: &target, at: part.lowerBound)
            } else {
                let start = part.lowerBound / blockSize * blockSize
                let block = try await readBlock(at: start)
                target.copy(from: block.bytes.extracting(Int(part.lowerBound - start)..<Int(part.upperBound - start)))
            }
        }
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        let range = try checked(offset, bytes.byteCount)
        try geometry.checkWritable()
        let hold = await acquire(range)
        defer { lock.release(hold) }
        for part in parts(of: range) {
            let source = bytes.extracting(Int(part.lowerBound - offset)..<Int(part.upperBound - offset))
            if isAligned(part) {
                try await base.write(source, at: part.lowerBound, options: options)
            } else {
                let start = part.lowerBound / blockSize * blockSize
                var block = try await readBlock(at: start)
                var blockBytes = block.mutableBytes
                var target = blockBytes._mutatingExtracting(
                    Int(part.lowerBound - start)..<Int(part.upperBound - start))
                target.copy(from: source)
                try await base.write(block.bytes, at: start, options: options)
            }
        }
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        var aligned = true
        for index in 0..<vector.count { aligned = aligned && isAligned(vector[index].range) }
        if aligned { return try await base.readv(vector) }
        for index in 0..<vector.count {
            try await vector.withBytes(of: index) { (bytes) async throws(StorageError) in
                try await read(into: &bytes, at: vector[index].offset)
            }
        }
    }

    public func flush() async throws(StorageError) { try await base.flush() }

    /// Discards the whole blocks inside `range`; the bytes of a block that it covers in part stay.
    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try geometry.check(range)
        let start = range.lowerBound.addingSaturating(blockSize - 1) / blockSize * blockSize
        let end = range.upperBound / blockSize * blockSize
        guard start < end else { return try geometry.checkWritable() }
        let hold = await lock.acquire(start..<end, .shared)
        defer { lock.release(hold) }
        try await base.discard(start..<end)
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try geometry.check(range)
        try geometry.checkWritable()
        let hold = await acquire(range)
        defer { lock.release(hold) }
        let parts = parts(of: range)
        // Whole blocks first: where `.fastOnly` is refused, nothing has changed yet.
        for part in parts where isAligned(part) { try await base.writeZeroes(part, options: options) }
        for part in parts where !isAligned(part) {
            let start = part.lowerBound / blockSize * blockSize
            var block = try await readBlock(at: start)
            var blockBytes = block.mutableBytes
            var target = blockBytes._mutatingExtracting(
                Int(part.lowerBound - start)..<Int(part.upperBound - start))
            target.zero()
            let durable: WriteOptions = options.contains(.forceUnitAccess) ? .forceUnitAccess : []
            try await base.write(block.bytes, at: start, options: durable)
        }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try geometry.check(range)
        return try await base.extents(in: outward(range)).compactMap { extent in
            let part = extent.range.clamped(to: range)
            return part.isEmpty ? nil : Extent(part, extent.kind)
        }
    }

    public func close() async throws(StorageError) { try await base.close() }

    private func checked(_ offset: UInt64, _ byteCount: Int) throws(StorageError) -> Range<UInt64> {
        try geometry.check(offset, byteCount)
        return offset..<offset + UInt64(byteCount)
    }

    private func isAligned(_ range: Range<UInt64>) -> Bool {
        (range.lowerBound | range.upperBound) & (blockSize - 1) == 0
    }

    private func outward(_ range: Range<UInt64>) -> Range<UInt64> {
        let end = range.upperBound.addingSaturating(blockSize - 1) / blockSize * blockSize
        return range.lowerBound / blockSize * blockSize..<max(range.upperBound, end)
    }

    /// The block that begins in part, the whole blocks, and the block that ends in part, as far as there are such.
    private func parts(of range: Range<UInt64>) -> [Range<UInt64>] {
        let headEnd = min(range.upperBound, outward(range.lowerBound..<range.lowerBound).upperBound)
        let tailStart = max(headEnd, range.upperBound / blockSize * blockSize)
        return [range.lowerBound..<headEnd, headEnd..<tailStart, tailStart..<range.upperBound].filter { !$0.isEmpty }
    }

    private func acquire(_ range: Range<UInt64>) async -> RangeLock.Hold {
        await lock.acquire(outward(range), isAligned(range) ? .shared : .exclusive)
    }

    private func readBlock(at offset: UInt64) async throws(StorageError) -> IOBuffer {
        var block = IOBuffer(byteCount: Int(blockSize))
        var bytes = block.mutableBytes
        try await base.read(into: &bytes, at: offset)
        return block
    }
}
