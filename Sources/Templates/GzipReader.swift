import BlockStorage
import CZlib
import IORuntime

/// Unpacks a gzip source, all of its members, through zlib: libarchive does not compare gzip's checksums.
///
/// Not safe for concurrent calls, and all calls block: it belongs to one piece of work on a blocking thread at a time.
@safe
final class GzipReader: @unchecked Sendable {
    private let source: SourceStream
    // Sound: owned by this object alone, from `init` to `deinit`; zlib demands that it stays in its place.
    private let stream: UnsafeMutablePointer<z_stream>
    /// Whether a member has begun and not ended.
    private var isInsideMember = false
    private var isAtEnd = false

    init(_ source: SourceStream) throws(StorageError) {
        self.source = source
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // 16 more than the largest window: with the gzip header and trailer, and nothing else.
        let windowBits = MAX_WBITS + 16
        let result = unsafe inflateInit2_(stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else { throw StorageError(.internalError, "unpack gzip", why: "out of memory") }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Fills `buffer` with the next unpacked bytes. Returns fewer than fit only at the end, where every checksum has
    /// been compared and all of the source read.
    func read(into buffer: inout MutableRawSpan) throws(StorageError) -> Int {
        let memory = unsafe buffer.pinned
        var done = 0
        while done < buffer.byteCount, !isAtEnd {
            if unsafe stream.pointee.avail_in == 0, try !provide() { break }
            // Sound: zlib reads the source's block, which stays in place, and writes to what is left of the buffer.
            unsafe stream.pointee.next_out = unsafe memory.baseAddress?.advanced(by: done).assumingMemoryBound(
                to: UInt8.self)
            unsafe stream.pointee.avail_out = UInt32(clamping: memory.count - done)
            let room = unsafe Int(stream.pointee.avail_out)
            isInsideMember = true
            let result = unsafe inflate(stream, Z_NO_FLUSH)
            done += unsafe room - Int(stream.pointee.avail_out)
            switch result {
            case Z_OK, Z_BUF_ERROR: break
            case Z_STREAM_END:
                isInsideMember = false
                unsafe inflateReset(stream)
            default:
                throw damaged(unsafe stream.pointee.msg.map { unsafe String(cString: $0) } ?? "zlib error \(result)")
            }
        }
        return done
    }

    /// Gives zlib the next block of the source; false at its end.
    private func provide() throws(StorageError) -> Bool {
        guard try source.next() else {
            isAtEnd = true
            if isInsideMember || source.bytesRead == 0 { throw damaged("it ends too early") }
            return false
        }
        let memory = unsafe source.withBlock { unsafe $0.pinned }
        unsafe stream.pointee.next_in = unsafe memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.pointee.avail_in = UInt32(clamping: memory.count)
        return true
    }

    private func damaged(_ why: String) -> StorageError {
        StorageError(.corrupt, "unpack gzip", at: source.name, why: why)
    }
}
