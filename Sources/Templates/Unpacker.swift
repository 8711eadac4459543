import BlockStorage
import IORuntime
import SystemPackage

/// Unpacks a source into a scratch file: zeros become holes, and limits hold at every step.
///
/// Not safe for concurrent calls, and all calls block: it belongs to one piece of work on a blocking thread at a time.
final class Unpacker: @unchecked Sendable {
    private static let chunkSize = 1 << 20
    /// Chunks a call of `step`: few enough that a cancelled import ends soon.
    private static let chunksPerStep = 8
    private static let sparseUnit = 4096
    /// What may come out before the ratio counts, in bytes.
    private static let ratioStart: UInt64 = 64 << 20

    private let source: SourceStream
    private let read: (inout MutableRawSpan) throws(StorageError) -> Int
    private let compression: Compression?
    private let target: File
    private let limits: ImportLimits
    private let deadline: ContinuousClock.Instant
    private var buffer = IOBuffer(byteCount: chunkSize)
    /// Bytes that came out so far: the size of the result.
    private(set) var size: UInt64 = 0
    /// Those that are not in a run of zeros.
    private var dataSize: UInt64 = 0

    /// `compression` nil copies the source as it is.
    init(
        _ source: SourceStream, _ compression: Compression?, to target: File, limits: ImportLimits
    ) throws(StorageError) {
        self.source = source
        self.compression = compression
        self.target = target
        self.limits = limits
        deadline = .now + limits.unpackTime
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

    /// Unpacks everything, and calls `progress` with the bytes of the source that were read so far.
    func run(progress: (UInt64) -> Void = { _ in }) async throws(StorageError) {
        if let compression {
            try await blockingWork.run { () throws(StorageError) in try self.source.expect(compression) }
        }
        while try await blockingWork.run({ () throws(StorageError) in try self.step() }) {
            if Task.isCancelled { throw StorageError(.cancelled, "unpack", at: source.name) }
            progress(source.bytesRead)
        }
        progress(source.bytesRead)
    }

    /// Unpacks a few megabytes; false when all is done, and the target has its final size.
    private func step() throws(StorageError) -> Bool {
        for _ in 0..<Self.chunksPerStep {
            let memory = unsafe buffer.memory
            // Sound: the buffer lives as long as this object, and nothing else uses it during the call.
            var chunk = unsafe MutableRawSpan(_unsafeBytes: memory)
            let count = try read(&chunk)
            if count > 0 { try write(chunk.bytes.extracting(first: count)) }
            if count < Self.chunkSize {
                guard size > 0 else {
                    throw StorageError(.corrupt, "unpack", at: source.name, why: "there is nothing in it")
                }
                try system("ftruncate") { try target.descriptor.resize(to: Int64(size)) }
                return false
            }
        }
        guard ContinuousClock.now < deadline else {
            throw StorageError(
                .unsafeImage, "unpack", at: source.name, why: "it takes longer than \(limits.unpackTime)")
        }
        return true
    }

    private func write(_ bytes: RawSpan) throws(StorageError) {
        for run in bytes.runs(granularity: Self.sparseUnit) where run.isData {
            dataSize += UInt64(run.range.count)
            try checkLimits(size + UInt64(run.range.upperBound))
            let start = Int64(size) + Int64(run.range.lowerBound)
            // Sound: the call reads memory of this span only, and returns before the span ends.
            let memory = unsafe UnsafeRawBufferPointer(bytes.extracting(run.range).pinned)
            try system("pwrite") { _ = unsafe try target.descriptor.writeAll(toAbsoluteOffset: start, memory) }
        }
        size += UInt64(bytes.byteCount)
        try checkLimits(size)
    }

    private func checkLimits(_ size: UInt64) throws(StorageError) {
        guard size <= limits.largestSize else {
            throw StorageError(
                .unsafeImage, "unpack", at: source.name, why: "it unpacks to more than \(limits.largestSize) bytes")
        }
        let (allowed, overflow) = source.bytesRead.multipliedReportingOverflow(by: limits.largestRatio)
        guard dataSize <= Self.ratioStart || overflow || dataSize - Self.ratioStart <= allowed else {
            throw StorageError(
                .unsafeImage, "unpack", at: source.name,
                why: "it unpacks to more than \(limits.largestRatio) times its size")
        }
    }

    private func system(_ call: String, _ body: () throws -> Void) throws(StorageError) {
        do {
            try body()
        } catch {
            throw StorageError(SystemError(error as? Errno ?? .ioError, call), "unpack", at: "scratch file")
        }
    }
}
