import IORuntime

/// A volume in memory: sparse, resizable, for tests and as a scratch base for formats.
public final class MemoryVolume: ResizableVolume {
    /// The unit in which space is allocated, in bytes.
    fileprivate static let chunkSize: UInt64 = 4 << 10

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
        state.withLock { $0.write(contents.rawBytes, at: 0) }
    }

    private init(_ state: State, isReadOnly: Bool) {
        self.state = Locked(state)
        self.isReadOnly = isReadOnly
    }

    /// A writable volume with the same contents, which change apart from now on. Takes time and memory for what is
    /// written to either later, not for what they share.
    public func copy() -> MemoryVolume {
        var state = state.withLock { $0 }
        state.isClosed = false
        return MemoryVolume(state, isReadOnly: false)
    }

    /// A copy of all bytes; the volume must fit in memory.
    public var contents: [UInt8] {
        state.withLock { state in
            var result = [UInt8](repeating: 0, count: Int(state.size))
            var bytes = result.mutableRawBytes
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
            func append(upTo end: UInt64, _ kind: Extent.Kind) {
                let start = extents.last?.range.upperBound ?? range.lowerBound
                guard end > start else { return }
                if let last = extents.last, last.kind == kind {
                    extents[extents.count - 1].range = last.range.lowerBound..<end
                } else {
                    extents.append(Extent(start..<end, kind))
                }
            }
            for chunk in state.allocatedChunks(touching: range) {
                append(upTo: max(range.lowerBound, chunk * Self.chunkSize), .hole)
                append(upTo: min(range.upperBound, chunk * Self.chunkSize + Self.chunkSize), .data)
            }
            append(upTo: range.upperBound, .hole)
            return extents
        }
    }

    public func resize(to size: UInt64) async throws(StorageError) {
        try checkWritable(0..<0)
        state.withLock { $0.resize(to: size) }
    }

    public func close() async throws(StorageError) {
        state.withLock { $0.isClosed = true }
    }

    /// Does to the bytes what a recorded request did, to the part of it that lies in `range` and inside the volume.
    func apply(_ operation: RecordingVolume.Entry.Operation, in range: Range<UInt64> = 0..<UInt64.max) {
        state.withLock { state in
            let range = range.clamped(to: 0..<state.size)
            switch operation {
            case .write(let offset, let bytes):
                let part = range.clamped(to: offset..<offset + UInt64(bytes.count))
                guard !part.isEmpty else { return }
                let start = Int(part.lowerBound - offset)
                state.write(bytes.rawBytes.extracting(start..<start + part.count), at: part.lowerBound)
            case .writeZeroes(let zeroed), .discard(let zeroed): state.zero(range.clamped(to: zeroed))
            case .resize(let size): state.resize(to: size)
            case .flush, .durable: break
            }
        }
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
}

extension MemoryVolume.State {
    fileprivate func read(into buffer: inout MutableRawSpan, at offset: UInt64) {
        var done = 0
        while done < buffer.byteCount {
            let position = offset + UInt64(done)
            let inChunk = Int(position % MemoryVolume.chunkSize)
            let count = min(buffer.byteCount - done, Int(MemoryVolume.chunkSize) - inChunk)
            var part = buffer._mutatingExtracting(done..<done + count)
            if let chunk = chunks[position / MemoryVolume.chunkSize] {
                part.copy(from: chunk.rawBytes.extracting(inChunk..<inChunk + count))
            } else {
                part.zero()
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
            Self.copy(source, to: inChunk, of: &chunks[position / MemoryVolume.chunkSize, default: Self.emptyChunk])
            done += count
        }
    }

    fileprivate mutating func zero(_ range: Range<UInt64>) {
        for chunk in allocatedChunks(touching: range) {
            let start = chunk * MemoryVolume.chunkSize
            let part = range.clamped(to: start..<start + MemoryVolume.chunkSize)
            if part.count == Int(MemoryVolume.chunkSize) {
                chunks[chunk] = nil
            } else {
                Self.zero(
                    Int(part.lowerBound - start)..<Int(part.upperBound - start),
                    of: &chunks[chunk, default: Self.emptyChunk])
            }
        }
    }

    fileprivate mutating func resize(to newSize: UInt64) {
        if newSize < size { zero(newSize..<size) }
        size = newSize
    }

    /// In order. Takes time for what is allocated or for the length of `range`, whichever is less.
    fileprivate func allocatedChunks(touching range: Range<UInt64>) -> [UInt64] {
        guard !range.isEmpty else { return [] }
        let touched = range.lowerBound / MemoryVolume.chunkSize...(range.upperBound - 1) / MemoryVolume.chunkSize
        if touched.upperBound - touched.lowerBound < UInt64(chunks.count) {
            return touched.filter { chunks[$0] != nil }
        }
        return chunks.keys.filter { touched.contains($0) }.sorted()
    }

    private static func copy(_ source: RawSpan, to offset: Int, of chunk: inout [UInt8]) {
        var bytes = chunk.mutableRawBytes
        bytes.copy(from: source, to: offset)
    }

    private static func zero(_ range: Range<Int>, of chunk: inout [UInt8]) {
        var bytes = chunk.mutableRawBytes
        var zeroed = bytes._mutatingExtracting(range)
        zeroed.zero()
    }

    private static var emptyChunk: [UInt8] { Array(repeating: 0, count: Int(MemoryVolume.chunkSize)) }
}
