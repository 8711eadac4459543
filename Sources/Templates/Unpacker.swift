import BlockStorage
import IORuntime

/// Unpacks a source, a chunk at a time; limits hold at every step.
///
/// Not safe for concurrent calls.
final class Unpacker: @unchecked Sendable {
    private static let chunkSize = 1 << 20
    private static let sparseUnit = 4096
    /// What may come out before the ratio counts, in bytes.
    private static let ratioStart: UInt64 = 64 << 20

    private let source: SourceStream
    private let read: (inout MutableRawSpan) throws(StorageError) -> Int
    private let compression: Compression?
    private let limits: ImportLimits
    /// How long unpacking took, with the waiting for the source.
    private var elapsed = Duration.zero
    private var hasBegun = false
    private var isAtEnd = false
    /// Bytes that came out so far: in the end the size of the image.
    private(set) var size: UInt64 = 0
    /// Those that are not in a run of zeros.
    private var dataSize: UInt64 = 0

    /// `compression` nil gives the source as it is.
    init(_ source: SourceStream, _ compression: Compression?, limits: ImportLimits) throws(StorageError) {
        self.source = source
        self.compression = compression
        self.limits = limits
        read = try Self.reader(source, compression)
    }

    private static func reader(
        _ source: SourceStream, _ compression: Compression?
    ) throws(StorageError) -> (inout MutableRawSpan) throws(StorageError) -> Int {
        guard let compression else {
            return { (buffer: inout MutableRawSpan) throws(StorageError) in try source.readDirectly(into: &buffer) }
        }
        if compression == .gzip {
            let reader = try GzipReader(source)
            return { (buffer: inout MutableRawSpan) throws(StorageError) in try reader.read(into: &buffer) }
        }
        #if Archives
            let reader = try ArchiveReader(source, compression)
            return { (buffer: inout MutableRawSpan) throws(StorageError) in try reader.read(into: &buffer) }
        #else
            throw StorageError(
                .notSupported, "unpack \(compression)", at: source.name, why: "this build has no archive support")
        #endif
    }

    /// The next bytes of the image, `chunkSize` of them but at its end; nil after it, when everything is checked.
    func next() async throws(StorageError) -> UnpackedChunk? {
        if isAtEnd { return nil }
        let chunk = try await blockingWork.run { () throws(StorageError) in try self.step() }
        if Task.isCancelled { throw StorageError(.cancelled, "unpack", at: source.name) }
        return chunk
    }

    private func step() throws(StorageError) -> UnpackedChunk? {
        let begin = ContinuousClock.now
        if !hasBegun {
            hasBegun = true
            if let compression { try source.expect(compression) }
        }
        var buffer = IOBuffer(byteCount: Self.chunkSize)
        var bytes = buffer.mutableBytes
        let count = try read(&bytes)
        isAtEnd = count < Self.chunkSize
        for run in buffer.bytes.extracting(first: count).runs(granularity: Self.sparseUnit) where run.isData {
            dataSize += UInt64(run.range.count)
        }
        elapsed += ContinuousClock.now - begin
        let start = size
        size += UInt64(count)
        try checkLimits()
        guard size > 0 else {
            throw StorageError(.corrupt, "unpack", at: source.name, why: "there is nothing in it")
        }
        return count > 0 ? UnpackedChunk(buffer, count: count, at: start) : nil
    }

    private func checkLimits() throws(StorageError) {
        func refused(_ why: String) -> StorageError {
            StorageError(.unsafeImage, "unpack", at: source.name, why: why)
        }
        // A slow source has limits of its own.
        guard elapsed - source.waitingTime < limits.unpackTime else {
            throw refused("it takes longer than \(limits.unpackTime)")
        }
        guard size <= limits.largestSize else {
            throw refused("it unpacks to more than \(limits.largestSize) bytes")
        }
        let (allowed, overflow) = source.bytesRead.multipliedReportingOverflow(by: limits.largestRatio)
        guard dataSize <= Self.ratioStart || overflow || dataSize - Self.ratioStart <= allowed else {
            throw refused("it unpacks to more than \(limits.largestRatio) times its size")
        }
    }
}
