import BlockStorage
import IORuntime

/// A volume in memory with a block size that it insists on, and a switch that makes requests fail.
final class StrictVolume: ResizableVolume {
    enum Operation: Hashable { case read, write, zero, extents, flush }

    private struct State {
        /// How many more requests of a kind succeed before every later one fails.
        var allowed: [Operation: Int] = [:]
        var running = 0
        var log: [Operation] = []
    }

    let memory: MemoryVolume
    private let blockSize: UInt32
    private let isReadOnly: Bool
    private let state = Locked(State())

    init(_ contents: [UInt8], blockSize: UInt32 = 1, isReadOnly: Bool = false) {
        memory = MemoryVolume(contents)
        self.blockSize = blockSize
        self.isReadOnly = isReadOnly
    }

    init(size: UInt64, blockSize: UInt32 = 1) {
        memory = MemoryVolume(size: size)
        self.blockSize = blockSize
        isReadOnly = false
    }

    /// Makes requests of one kind fail after `count` more of them.
    func fail(_ operation: Operation, after count: Int) { state.withLock { $0.allowed[operation] = count } }

    /// Requests that have begun and not ended.
    var running: Int { state.withLock { $0.running } }

    func count(of operation: Operation) -> Int { state.withLock { $0.log.count { $0 == operation } } }

    var geometry: VolumeGeometry {
        VolumeGeometry(size: memory.geometry.size, blockSize: blockSize, isReadOnly: isReadOnly)
    }

    var stack: String { "strict" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try geometry.check(offset, buffer.byteCount)
        try begin(.read)
        defer { end() }
        await Task.yield()
        try await memory.read(into: &buffer, at: offset)
        await Task.yield()
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try geometry.checkWritable()
        try geometry.check(offset, bytes.byteCount)
        try begin(.write)
        defer { end() }
        await Task.yield()
        try await memory.write(bytes, at: offset, options: options)
        await Task.yield()
    }

    func flush() async throws(StorageError) {
        try begin(.flush)
        defer { end() }
        try await memory.flush()
    }

    func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try geometry.check(range)
        try await memory.discard(range)
    }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try geometry.check(range)
        try begin(.zero)
        defer { end() }
        try await memory.writeZeroes(range, options: options)
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try geometry.check(range)
        try begin(.extents)
        defer { end() }
        return try await memory.extents(in: range)
    }

    func resize(to size: UInt64) async throws(StorageError) { try await memory.resize(to: size) }
    func close() async throws(StorageError) { try await memory.close() }

    private func begin(_ operation: Operation) throws(StorageError) {
        try state.withLock { state throws(StorageError) in
            state.log.append(operation)
            if let allowed = state.allowed[operation] {
                guard allowed > 0 else { throw StorageError(.inputOutput, "injected", at: "\(operation)") }
                state.allowed[operation] = allowed - 1
            }
            state.running += 1
        }
    }

    private func end() { state.withLock { $0.running -= 1 } }
}
