import BlockStorage
import IORuntime

/// A volume that takes only aligned requests, and no large ones.
final class BlockSizedVolume: Volume {
    private let memory: MemoryVolume
    private let blockSize: UInt32
    private let largestTransfer: UInt32

    init(blockSize: UInt32, largestTransfer: UInt32 = 1 << 20, size: UInt64 = 1 << 20) {
        memory = MemoryVolume(size: size)
        self.blockSize = blockSize
        self.largestTransfer = largestTransfer
    }

    var geometry: VolumeGeometry {
        VolumeGeometry(size: memory.geometry.size, blockSize: blockSize, largestTransfer: largestTransfer)
    }
    var stack: String { "blocks" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try check(offset, buffer.byteCount)
        try await memory.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try check(offset, bytes.byteCount)
        try await memory.write(bytes, at: offset, options: options)
    }

    func flush() async throws(StorageError) {}
    func discard(_ range: Range<UInt64>) async throws(StorageError) { try await memory.discard(range) }
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await memory.writeZeroes(range, options: options)
    }
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await memory.extents(in: range)
    }
    func close() async throws(StorageError) {}

    private func check(_ offset: UInt64, _ byteCount: Int) throws(StorageError) {
        try geometry.check(offset, byteCount)
        if byteCount > Int(largestTransfer) {
            throw StorageError(.invalidArgument, "access volume", why: "the transfer is too large")
        }
    }
}
