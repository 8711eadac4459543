import IORuntime

/// Random-access bytes with a size: a file, an image in a format, a LUN, or a decorator around any of them.
///
/// The promises are those of the NBD protocol. Any number of requests may be in flight, in any order; overlapping ones
/// are unordered. A completed write is visible to every read that starts later. A completed `flush` makes every write
/// completed before it durable, and a write with `.forceUnitAccess` is durable when it completes. After a failed flush
/// every later flush fails until the volume is reopened.
///
/// Ranges past `geometry.size` throw `outOfRange`, and any request after `close` throws `notAttached`; neither changes
/// anything. Requests need not be aligned unless `geometry.blockSize` says so. Cancelling a task ends its request with
/// `cancelled`, once nothing uses its memory any more; whether a cancelled write landed is unknown.
///
/// A request runs on the caller's executor. On an `IOExecutor` it never changes threads.
public protocol Volume: Sendable {
    /// The size and the transfer limits, as they are now.
    var geometry: VolumeGeometry { get }

    /// Fills `buffer` with the bytes at `offset`.
    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError)

    /// Fills `part` of `buffer` with the bytes at `offset`; the rest of the buffer is unspecified then.
    ///
    /// A volume whose requests may outlive their callers gives the memory that it has read into in exchange, and so saves
    /// a copy.
    func read(into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64) async throws(StorageError)

    /// Writes `bytes` at `offset`.
    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError)

    /// Fills the memory of every segment from its own offset, in parallel where the volume can. The caller keeps the
    /// memory alive until the call returns.
    func readv(_ vector: IOVector) async throws(StorageError)

    /// Writes the memory of every segment to its own offset, in no order, in parallel where the volume can. The caller
    /// keeps the memory alive until the call returns.
    func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError)

    /// Makes every write that completed before this call durable.
    func flush() async throws(StorageError)

    /// Says that the bytes of `range` are no longer needed. What reads find there is unspecified (old bytes or zeros,
    /// never bytes of another volume) unless the volume documents more.
    func discard(_ range: Range<UInt64>) async throws(StorageError)

    /// Makes `range` read as zeros.
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError)

    /// What backs each part of `range`, in order, without gaps or overlap. Neighbouring extents of one kind may be
    /// reported apart.
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent]

    /// Flushes, releases locks and resources. Requests in flight end first. Closing again succeeds.
    func close() async throws(StorageError)

    /// One line that names this volume and what it is built on: `throttled(qcow2(file:/pool/web))`.
    var stack: String { get }
}

/// A volume whose size can change.
public protocol ResizableVolume: Volume {
    /// Sets the size in bytes. New bytes read as zeros, even where the volume had been longer once. Durable when it
    /// returns.
    func resize(to size: UInt64) async throws(StorageError)
}

/// The size of a volume and the limits of its requests.
public struct VolumeGeometry: Equatable, Sendable {
    /// In bytes.
    public var size: UInt64
    /// What offsets and lengths must be a multiple of, a power of two in bytes; 1 where anything goes.
    public var blockSize: UInt32
    /// The request size that performs best, a power of two in bytes.
    public var preferredTransfer: UInt32
    /// The largest request, in bytes.
    public var largestTransfer: UInt32
    public var isReadOnly: Bool

    public init(
        size: UInt64, blockSize: UInt32 = 1, preferredTransfer: UInt32 = 64 << 10, largestTransfer: UInt32 = 32 << 20,
        isReadOnly: Bool = false
    ) {
        self.size = size
        self.blockSize = blockSize
        self.preferredTransfer = preferredTransfer
        self.largestTransfer = largestTransfer
        self.isReadOnly = isReadOnly
    }

    /// Throws `outOfRange` unless `byteCount` bytes at `offset` lie inside the volume, and `invalidArgument` unless
    /// they are aligned to `blockSize`.
    @inline(__always)
    public func check(_ offset: UInt64, _ byteCount: Int) throws(StorageError) {
        let mask = UInt64(blockSize) &- 1
        guard offset <= size, UInt64(byteCount) <= size - offset, (offset | UInt64(byteCount)) & mask == 0 else {
            throw rejection(offset..<offset.addingSaturating(UInt64(byteCount)))
        }
    }

    /// As `check(_:_:)`, for a range.
    @inline(__always)
    public func check(_ range: Range<UInt64>) throws(StorageError) {
        let mask = UInt64(blockSize) &- 1
        guard range.upperBound <= size, (range.lowerBound | range.upperBound) & mask == 0 else {
            throw rejection(range)
        }
    }

    @inline(never)
    private func rejection(_ range: Range<UInt64>) -> StorageError {
        if range.upperBound > size {
            return StorageError(.outOfRange, "access volume", at: "bytes \(range)", why: "the volume has \(size) bytes")
        }
        return StorageError(
            .invalidArgument, "access volume", at: "bytes \(range)", why: "must be aligned to \(blockSize) bytes")
    }

    /// Throws `readOnly` for a volume that cannot be written.
    @inline(__always)
    public func checkWritable() throws(StorageError) {
        if isReadOnly { throw StorageError(.readOnly, "write volume", why: "it is open for reading only") }
    }
}

extension UInt64 {
    /// The sum, or the largest number where it does not fit.
    package func addingSaturating(_ other: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}

/// How a write is done.
public struct WriteOptions: OptionSet, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The write is durable when it completes.
    public static let forceUnitAccess = WriteOptions(rawValue: 1)
}

/// How zeros are written.
public struct ZeroOptions: OptionSet, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// The zeros are durable when the call completes.
    public static let forceUnitAccess = ZeroOptions(rawValue: 1)
    /// Keep the space allocated, so that later writes cannot run out of it.
    public static let keepAllocated = ZeroOptions(rawValue: 2)
    /// Throw `notSupported` rather than write zeros byte by byte; nothing has changed then.
    public static let fastOnly = ZeroOptions(rawValue: 4)
}

/// A run of bytes of one kind.
public struct Extent: Equatable, Hashable, Sendable, Codable {
    /// What backs the bytes.
    public enum Kind: String, Sendable, Codable {
        /// Bytes are stored.
        case data
        /// Known to read as zeros, and space is allocated for them or in the chain above.
        case zero
        /// Nothing is allocated in this volume or its chain; reads as zeros.
        case hole
    }

    public var range: Range<UInt64>
    public var kind: Kind

    public init(_ range: Range<UInt64>, _ kind: Kind) {
        self.range = range
        self.kind = kind
    }
}

extension Volume {
    /// Writes `bytes` at `offset`; durable after the next flush.
    public func write(_ bytes: RawSpan, at offset: UInt64) async throws(StorageError) {
        try await write(bytes, at: offset, options: [])
    }

    /// Makes `range` read as zeros; durable after the next flush.
    public func writeZeroes(_ range: Range<UInt64>) async throws(StorageError) {
        try await writeZeroes(range, options: [])
    }

    public func read(
        into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64
    ) async throws(StorageError) {
        var bytes = buffer.mutableBytes
        var target = bytes._mutatingExtracting(part)
        try await read(into: &target, at: offset)
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        for index in 0..<vector.count {
            try await vector.withBytes(of: index) { (bytes) async throws(StorageError) in
                try await read(into: &bytes, at: vector[index].offset)
            }
        }
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        for index in 0..<vector.count {
            try await vector.withBytes(of: index) { (bytes) async throws(StorageError) in
                try await write(bytes.bytes, at: vector[index].offset, options: options)
            }
        }
    }
}
