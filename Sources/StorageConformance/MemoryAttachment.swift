import BlockStorage
import IORuntime

/// An open volume of a `MemoryPool`: one holder's way to contents that outlive it.
final class MemoryAttachment: ResizableVolume {
    private let contents: MemoryVolume
    private let defect: MemoryPool.Defect?
    private let isReadOnly: Bool
    private let isClosed = Locked(false)
    private let release: @Sendable () -> Void

    init(_ contents: MemoryVolume, _ pool: MemoryPool, isReadOnly: Bool, release: @escaping @Sendable () -> Void) {
        self.contents = contents
        defect = pool.defect
        self.isReadOnly = isReadOnly
        self.release = release
    }

    var geometry: VolumeGeometry {
        var geometry = contents.geometry
        geometry.isReadOnly = isReadOnly
        return geometry
    }

    var stack: String { "attachment(\(contents.stack))" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try checkOpen()
        if isOutside(offset, buffer.byteCount) { return }
        try await contents.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try checkWritable()
        if isOutside(offset, bytes.byteCount) { return }
        if defect == .writesAreLost && offset % 5 == 0 { return }
        try await contents.write(bytes, at: offset, options: options)
    }

    func flush() async throws(StorageError) { try checkOpen() }

    func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try checkWritable()
        if isOutside(range.lowerBound, range.count) { return }
        try await contents.discard(range)
    }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try checkWritable()
        if defect == .zeroesAreIgnored || isOutside(range.lowerBound, range.count) { return }
        try await contents.writeZeroes(range, options: options)
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try checkOpen()
        if defect == .extentsHideData && range.upperBound <= geometry.size { return [Extent(range, .hole)] }
        return try await contents.extents(in: range)
    }

    func resize(to size: UInt64) async throws(StorageError) {
        try checkWritable()
        try await contents.resize(to: size)
    }

    func close() async throws(StorageError) {
        let wasClosed = isClosed.withLock { isClosed in
            defer { isClosed = true }
            return isClosed
        }
        if !wasClosed { release() }
    }

    private func isOutside(_ offset: UInt64, _ byteCount: Int) -> Bool {
        defect == .boundsAreNotChecked && offset.addingSaturating(UInt64(byteCount)) > contents.geometry.size
    }

    private func checkOpen() throws(StorageError) {
        if isClosed.withLock({ $0 }), defect != .closedVolumesAnswer {
            throw StorageError(.notAttached, "access volume", at: stack, why: "the volume is closed")
        }
    }

    private func checkWritable() throws(StorageError) {
        try checkOpen()
        try geometry.checkWritable()
    }
}
