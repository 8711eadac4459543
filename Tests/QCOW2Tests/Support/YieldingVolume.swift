import BlockStorage
import IORuntime

/// A volume that lets other tasks run before and after every request, a random number of times, and notices
/// cancellation, as a file does.
final class YieldingVolume: ResizableVolume {
    private let base: any ResizableVolume
    private let generator: Locked<SeededGenerator>

    init(_ base: any ResizableVolume, seed: UInt64) {
        self.base = base
        generator = Locked(SeededGenerator(seed: seed))
    }

    var geometry: VolumeGeometry { base.geometry }
    var stack: String { "yielding(\(base.stack))" }

    private func yield() async {
        let count = generator.withLock { generator in
            Int.random(in: 0..<4, using: &generator) == 0 ? Int.random(in: 0..<30, using: &generator) : 1
        }
        for _ in 0..<count { await Task.yield() }
    }

    private func begin() async throws(StorageError) {
        await yield()
        if Task.isCancelled { throw StorageError(.cancelled, "access volume") }
    }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await begin()
        try await base.read(into: &buffer, at: offset)
        await yield()
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try await begin()
        try await base.write(bytes, at: offset, options: options)
        await yield()
    }

    func flush() async throws(StorageError) {
        try await begin()
        try await base.flush()
        await yield()
    }

    func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try await begin()
        try await base.discard(range)
        await yield()
    }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await begin()
        try await base.writeZeroes(range, options: options)
        await yield()
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await begin()
        return try await base.extents(in: range)
    }

    func resize(to size: UInt64) async throws(StorageError) {
        try await begin()
        try await base.resize(to: size)
        await yield()
    }

    func close() async throws(StorageError) { try await base.close() }
}
