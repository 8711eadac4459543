/// A run of memory, and where in a file or volume it goes.
@safe
public struct IOSegment: @unchecked Sendable {
    /// Valid for as long as the request that carries the segment: see `IOVector`.
    package let memory: UnsafeMutableRawBufferPointer
    /// In bytes, from the start of the file or volume.
    public let offset: UInt64

    public var byteCount: Int { unsafe memory.count }
    public var range: Range<UInt64> { offset..<offset + UInt64(byteCount) }

    /// Whether the segment can go past the page cache: any disk's block size divides its place and length, and memory
    /// needs less.
    package var isAlignedForDirectIO: Bool {
        (offset | UInt64(byteCount)) % UInt64(IOBuffer.alignment) == 0
            && (unsafe UInt(bitPattern: memory.baseAddress)) % 512 == 0
    }

    package init(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        unsafe self.memory = memory
        self.offset = offset
    }
}

/// Up to `capacity` segments that one request reads or writes together.
///
/// A format uses it to split a request over several host ranges, or to gather the head, the data and the tail of a
/// copy-on-write into one write. No allocation. The memory is pinned by whoever builds the vector (a span or an
/// `IOBuffer` that it holds until the request returns), which is why only this package can build one; anyone can take
/// one apart with `withBytes`.
@safe
public struct IOVector: @unchecked Sendable {
    public static let capacity = 16

    private var segments: InlineArray<16, IOSegment>
    public private(set) var count = 0
    /// The sum of all segments, in bytes.
    public private(set) var byteCount = 0

    public init() {
        let empty = unsafe IOSegment(UnsafeMutableRawBufferPointer(start: nil, count: 0), at: 0)
        segments = .init(repeating: empty)
    }

    public var isFull: Bool { count == Self.capacity }

    public subscript(index: Int) -> IOSegment {
        precondition(index < count, "index past the last segment")
        return segments[index]
    }

    /// Adds a segment; there must be room for it.
    package mutating func append(_ segment: IOSegment) {
        precondition(!isFull, "no room for another segment")
        segments[count] = segment
        count += 1
        byteCount += segment.byteCount
    }

    /// Makes the last segment longer by bytes that follow it in memory.
    mutating func extendLast(by more: Int) {
        let last = segments[count - 1]
        let memory = unsafe UnsafeMutableRawBufferPointer(
            start: last.memory.baseAddress, count: last.byteCount + more)
        segments[count - 1] = unsafe IOSegment(memory, at: last.offset)
        byteCount += more
    }

    package mutating func append(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        append(unsafe IOSegment(memory, at: offset))
    }

    /// Calls `body` with the bytes of segment `index`, to fill or to read.
    public func withBytes<Result, Failure: Error>(
        of index: Int, _ body: (inout MutableRawSpan) async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        var span = unsafe MutableRawSpan(_unsafeBytes: self[index].memory)
        return try await body(&span)
    }
}

extension RawSpan {
    /// The address of these bytes, for a request that returns before the span's owner may move or free them.
    package var pinned: UnsafeMutableRawBufferPointer {
        unsafe withUnsafeBytes { unsafe UnsafeMutableRawBufferPointer(mutating: $0) }
    }
}

extension MutableRawSpan {
    /// The address of these bytes, for a request that returns before the span's owner may move or free them.
    package var pinned: UnsafeMutableRawBufferPointer {
        mutating get { unsafe withUnsafeMutableBytes { unsafe $0 } }
    }
}
