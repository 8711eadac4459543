import IORuntime

/// A volume in memory: sparse, resizable, for tests and as a scratch base for formats.
public final class MemoryVolume: ResizableVolume {
    /// The unit in which space is allocated, in bytes.
    fileprivate static let chunkSize: UInt64 = 64 << 10

    fileprivate struct State {
        var size: UInt64
        /// Allocated chunks by index; what is missing reads as zeros.
        var chunks: [UInt64: [UInt8]] = [:]
        var isClosed = false
    }

    private let state: Locked<State>
    private let isReadOnly: Bool

    /// An all-zero volume of `size` bytes.
    public init(size: UInt64, isReadOnly: Bool = false) {
        state = Locked(State(size: size))
        self.isReadOnly = isReadOnly
    }

    /// A volume that holds `contents`.
    public convenience init(_ contents: [UInt8], isReadOnly: Bool = false) {
        self.init(size: UInt64(contents.count), isReadOnly: isReadOnly)
        state.withLock { unsafe $0.write(contents.span.bytes, at: 0) }
    }

    /// A copy of all bytes; the volume must fit in memory.
    public var contents: [UInt8] {
        state.withLock { state in
            var result = [UInt8](repeating: 0, count: Int(state.size))
            var span = result.mutableSpan
            var bytes = unsafe span.mutableBytes
            state.read(into: &bytes, at: 0)
            return result
        }
    }

    public var geometry: VolumeGeometry {
        VolumeGeometry(size: state.withLock { $0.size }, isReadOnly: isReadOnly)
    }

    public var stack: String { "memory" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try check(offset..<offset.addingSaturating(UInt64(buffer.byteCount)))
        state.withLock { $0.read(into: &buffer, at: offset) }
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try checkWritable(offset..<offset.addingSaturating(UInt64(bytes.byteCount)))
        state.withLock { $0.write(bytes, at: offset) }
    }

    public func flush() async throws(StorageError) { try checkOpen() }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try await writeZeroes(range, options: [])
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try checkWritable(range)
        state.withLock { $0.zero(range) }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try check(range)
        return state.withLock { state in
            var extents: [Extent] = []
            Self.forEachChunk(of: range) { chunk, part in
                let kind: Extent.Kind = state.chunks[chunk] == nil ? .hole : .data
                if let last = extents.last, last.kind == kind {
                    extents[extents.count - 1].range = last.range.lowerBound..<part.upperBound
                } else {
                    extents.append(Extent(part, kind))
                }
            }
            return extents
        }
    }

    public func resize(to size: UInt64) async throws(StorageError) {
        try checkWritable(0..<0)
        state.withLock { state in
            if size < state.size { state.zero(size..<state.size) }
            state.size = size
        }
    }

    public func close() async throws(StorageError) {
        state.withLock { $0.isClosed = true }
    }

    private func check(_ range: Range<UInt64>) throws(StorageError) {
        try checkOpen()
        try geometry.check(range)
    }

    private func checkWritable(_ range: Range<UInt64>) throws(StorageError) {
        try check(range)
        try geometry.checkWritable()
    }

    private func checkOpen() throws(StorageError) {
        if state.withLock({ $0.isClosed }) {
            throw StorageError(.notAttached, "access volume", at: stack, why: "the volume is closed")
        }
    }

    /// Calls `body` with each chunk's index and the part of `range` inside it, in order.
    fileprivate static func forEachChunk(of range: Range<UInt64>, _ body: (UInt64, Range<UInt64>) -> Void) {
        var start = range.lowerBound
        while start < range.upperBound {
            let chunk = start / chunkSize
            let end = min(range.upperBound, (chunk + 1) * chunkSize)
            body(chunk, start..<end)
            start = end
        }
    }
}

extension MemoryVolume.State {
    fileprivate func read(into buffer: inout MutableRawSpan, at offset: UInt64) {
        var done = 0
        while done < buffer.byteCount {
            let position = offset + UInt64(done)
            let inChunk = Int(position % MemoryVolume.chunkSize)
            let count = min(buffer.byteCount - done, Int(MemoryVolume.chunkSize) - inChunk)
            let chunk = chunks[position / MemoryVolume.chunkSize]
            for index in 0..<count {
                buffer.storeBytes(of: chunk?[inChunk + index] ?? 0, toByteOffset: done + index, as: UInt8.self)
            }
            done += count
        }
    }

    fileprivate mutating func write(_ bytes: RawSpan, at offset: UInt64) {
        var done = 0
        while done < bytes.byteCount {
            let position = offset + UInt64(done)
            let inChunk = Int(position % MemoryVolume.chunkSize)
            let count = min(bytes.byteCount - done, Int(MemoryVolume.chunkSize) - inChunk)
            let source = bytes.extracting(done..<done + count)
            unsafe source.withUnsafeBytes { source in
                unsafe chunks[position / MemoryVolume.chunkSize, default: Self.emptyChunk]
                    .replaceSubrange(inChunk..<inChunk + count, with: source)
            }
            done += count
        }
    }

    fileprivate mutating func zero(_ range: Range<UInt64>) {
        MemoryVolume.forEachChunk(of: range) { chunk, part in
            if part.count == Int(MemoryVolume.chunkSize) {
                chunks[chunk] = nil
            } else if chunks[chunk] != nil {
                let start = Int(part.lowerBound % MemoryVolume.chunkSize)
                for index in start..<start + part.count { chunks[chunk]?[index] = 0 }
            }
        }
    }

    private static var emptyChunk: [UInt8] { Array(repeating: 0, count: Int(MemoryVolume.chunkSize)) }
}
