import IORuntime
import Synchronization
import SystemPackage

/// A regular file or a block device as a volume.
public final class FileVolume: ResizableVolume {
    private let file: File
    /// The same file past the page cache, for requests that are aligned for it. The kernel keeps both views the same.
    private let direct: File?
    private let size: Atomic<UInt64>
    private let isClosed = Atomic(false)
    /// The first failed flush: the kernel has dropped the pages and would answer the next one with success.
    private let flushFailure = Locked<StorageError?>(nil)
    private let limits: VolumeGeometry
    private let isRegularFile: Bool
    /// The path that the file was opened by.
    private let place: String

    /// Takes over an open file. `isDirect` says that it was opened with `.direct`: requests that are not aligned then
    /// go through the page cache.
    public init(_ file: File, isReadOnly: Bool, isDirect: Bool = false) async throws(StorageError) {
        place = file.path.string
        do {
            let status = try await file.status()
            guard status.isRegularFile || status.isBlockDevice else {
                throw StorageError(
                    .invalidArgument, "open file", at: place, why: "it is neither a file nor a block device")
            }
            isRegularFile = status.isRegularFile
            if isDirect {
                direct = file
                self.file = try await file.opened(again: isReadOnly ? [] : .write)
            } else {
                direct = nil
                self.file = file
            }
            size = Atomic(try await file.size())
        } catch let error as SystemError {
            throw StorageError(error, "open file", at: place)
        } catch let error as StorageError {
            throw error
        } catch {
            throw StorageError(.internalError, "open file", at: place, why: "\(error)")
        }
        limits = VolumeGeometry(
            size: 0, largestTransfer: 1 << 30, isReadOnly: isReadOnly)
    }

    /// Opens the file or block device at `path`.
    public static func open(
        _ path: FilePath, isReadOnly: Bool = false, isDirect: Bool = false, blocking: BlockingPool = .shared
    ) async throws(StorageError) -> FileVolume {
        var options: File.Options = []
        if !isReadOnly { options.insert(.write) }
        if isDirect { options.insert(.direct) }
        let file: File
        do throws(SystemError) {
            file = try await File.open(path, options, blocking: blocking)
        } catch {
            throw StorageError(error, "open file", at: path.string)
        }
        return try await FileVolume(file, isReadOnly: isReadOnly, isDirect: isDirect)
    }

    public var geometry: VolumeGeometry {
        var geometry = limits
        geometry.size = size.load(ordering: .acquiring)
        return geometry
    }

    public var stack: String { "file:\(place)" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let byteCount = buffer.byteCount
        try checkOpen(offset, byteCount)
        let done: Int
        do throws(SystemError) {
            let file = view(IOSegment(pinning: &buffer, at: offset))
            done = try await file.read(into: &buffer, at: offset)
        } catch {
            throw failure(error, "read")
        }
        if done < byteCount { throw cutShort(at: offset + UInt64(done)) }
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try checkOpen(offset, bytes.byteCount)
        try limits.checkWritable()
        do throws(SystemError) {
            try await view(IOSegment(pinning: bytes, at: offset)).write(bytes, at: offset)
        } catch {
            throw failure(error, "write")
        }
        if options.contains(.forceUnitAccess) { try await flush() }
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        try checkOpen(vector)
        let done: Int
        do throws(SystemError) {
            done = try await view(vector).readv(vector)
        } catch {
            throw failure(error, "read")
        }
        if done < vector.byteCount { throw cutShort(at: size.load(ordering: .acquiring)) }
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        try checkOpen(vector)
        try limits.checkWritable()
        do throws(SystemError) {
            try await view(vector).writev(vector)
        } catch {
            throw failure(error, "write")
        }
        if options.contains(.forceUnitAccess) { try await flush() }
    }

    public func flush() async throws(StorageError) {
        try checkOpen(0, 0)
        if limits.isReadOnly { return }
        if let failure = flushFailure.withLock({ $0 }) { throw failure }
        do throws(SystemError) {
            try await file.synchronize()
        } catch {
            let failure = failure(error, "flush")
            // A cancelled flush has told nothing about the pages.
            if failure.code != .cancelled { flushFailure.withLock { $0 = $0 ?? failure } }
            throw failure
        }
    }

    /// Frees the space of whole file-system blocks; the range reads as zeros where that was possible.
    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try checkWritable(range)
        do throws(SystemError) {
            try await file.allocate(.punchHole, range)
        } catch  where error.errno == .notSupportedOnSocket || error.errno == .notSupported {
            return
        } catch {
            throw failure(error, "discard")
        }
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try checkWritable(range)
        let mode: File.AllocationMode = options.contains(.keepAllocated) || !isRegularFile ? .zero : .punchHole
        do throws(SystemError) {
            try await file.allocate(mode, range)
        } catch  where error.errno == .notSupportedOnSocket || error.errno == .notSupported {
            if options.contains(.fastOnly) {
                throw StorageError(.notSupported, "write zeros", at: stack, why: "the file system has no fast way")
            }
            try await writeZeroBytes(range)
        } catch {
            throw failure(error, "write zeros")
        }
        if options.contains(.forceUnitAccess) { try await flush() }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try checkOpen(range.lowerBound, Int(clamping: range.upperBound - range.lowerBound))
        guard isRegularFile else { return range.isEmpty ? [] : [Extent(range, .data)] }
        var extents: [Extent] = []
        var position = range.lowerBound
        do throws(SystemError) {
            while position < range.upperBound {
                let data = min(try await file.seekData(from: position) ?? range.upperBound, range.upperBound)
                if data > position { extents.append(Extent(position..<data, .hole)) }
                if data == range.upperBound { break }
                let end = min(try await file.seekHole(from: data) ?? range.upperBound, range.upperBound)
                // A file that shrinks meanwhile must not stop the loop from advancing.
                guard end > data else { break }
                extents.append(Extent(data..<end, .data))
                position = end
            }
        } catch {
            throw failure(error, "map")
        }
        return extents
    }

    public func resize(to size: UInt64) async throws(StorageError) {
        try await resizeBeforeFlush(to: size)
        try await flush()
    }

    /// As `resize`, but durable only after the next flush.
    package func resizeBeforeFlush(to size: UInt64) async throws(StorageError) {
        try checkOpen(0, 0)
        try limits.checkWritable()
        guard isRegularFile else {
            throw StorageError(.notSupported, "resize", at: stack, why: "a block device has the size that it has")
        }
        do throws(SystemError) {
            try await file.truncate(to: size)
        } catch {
            throw failure(error, "resize")
        }
        self.size.store(size, ordering: .releasing)
    }

    public func close() async throws(StorageError) {
        if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
        let earlier = flushFailure.withLock { $0 }
        do throws(SystemError) {
            if !limits.isReadOnly && earlier == nil { try await file.synchronize() }
            try await file.close()
            try await direct?.close()
        } catch {
            try? await file.close()
            try? await direct?.close()
            throw failure(error, "close")
        }
        if let earlier { throw earlier }
    }

    /// The view of the file for a request: past the page cache where the request is aligned for it.
    @inline(__always)
    private func view(_ segment: IOSegment) -> File {
        guard let direct else { return file }
        return segment.isAlignedForDirectIO ? direct : file
    }

    private func view(_ vector: IOVector) -> File {
        guard let direct else { return file }
        for index in 0..<vector.count where !vector[index].isAlignedForDirectIO { return file }
        return direct
    }

    private func writeZeroBytes(_ range: Range<UInt64>) async throws(StorageError) {
        var zeros = IOBuffer(byteCount: Int(min(range.upperBound - range.lowerBound, 1 << 20)))
        zeros.zero()
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(range.upperBound - position, UInt64(zeros.byteCount)))
            try await write(zeros.bytes.extracting(first: count), at: position, options: [])
            position += UInt64(count)
        }
    }

    private func checkOpen(_ offset: UInt64, _ byteCount: Int) throws(StorageError) {
        if isClosed.load(ordering: .acquiring) {
            throw StorageError(.notAttached, "access volume", at: stack, why: "the volume is closed")
        }
        try geometry.check(offset, byteCount)
    }

    private func checkOpen(_ vector: IOVector) throws(StorageError) {
        for index in 0..<vector.count { try checkOpen(vector[index].offset, vector[index].byteCount) }
    }

    private func checkWritable(_ range: Range<UInt64>) throws(StorageError) {
        try limits.checkWritable()
        try checkOpen(0, 0)
        try geometry.check(range)
    }

    private func failure(_ error: SystemError, _ what: String) -> StorageError {
        StorageError(error, what, at: place)
    }

    private func cutShort(at offset: UInt64) -> StorageError {
        StorageError(
            .inputOutput, "read", at: place, why: "the file ends at byte \(offset): something else cut it")
    }
}
