import IORuntime

/// Some bytes of an image that is read from beginning to end.
final class UnpackedChunk: Sendable {
    /// Where in the image they belong.
    let offset: UInt64
    private let buffer: IOBuffer
    private let count: Int

    init(_ buffer: consuming IOBuffer, count: Int, at offset: UInt64) {
        self.buffer = buffer
        self.count = count
        self.offset = offset
    }

    /// Where the next chunk begins.
    var end: UInt64 { offset + UInt64(count) }

    /// The bytes, to read.
    var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Sound: the buffer lives as long as this object, and nothing writes to it any more.
            let memory = unsafe UnsafeRawBufferPointer(buffer.memory)
            let span = unsafe RawSpan(_unsafeBytes: memory).extracting(first: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }
}
