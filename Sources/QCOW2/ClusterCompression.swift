import BlockStorage
import CZlib
import CZstd

extension QCOW2CompressionType {
    /// QEMU's window for clusters that it writes; readers take any.
    private static let deflateWindowBits: Int32 = 12
    /// A window of 8 MiB, more than any cluster needs: what a hostile frame may make the decoder allocate.
    private static let largestZstdWindowBits: Int32 = 23

    /// Expands `data` into exactly `cluster`. What follows the compressed data, up to the end of its last sector, is
    /// ignored, as QEMU does.
    ///
    /// Throws `corrupt` for data that is not valid or does not expand to exactly that many bytes. Never writes more
    /// than `cluster`, and takes memory that does not depend on `data`.
    func decompress(_ data: RawSpan, into cluster: inout MutableRawSpan) throws(StorageError) {
        let why =
            switch self {
            case .zlib: Self.inflate(data, into: &cluster)
            case .zstd: Self.decodeZstd(data, into: &cluster)
            }
        if let why { throw StorageError(.corrupt, "decompress cluster", why: why) }
    }

    /// Compresses `cluster` into `data` and returns the number of bytes used, or `nil` where they would not fit.
    func compress(_ cluster: RawSpan, into data: inout MutableRawSpan) throws(StorageError) -> Int? {
        switch self {
        case .zlib: try Self.deflate(cluster, into: &data)
        case .zstd: try Self.encodeZstd(cluster, into: &data)
        }
    }

    // Sound, all four below: the streams get the addresses and lengths of spans that outlive the call, write nothing
    // outside them, and are ended on every path.

    private static func inflate(_ data: RawSpan, into cluster: inout MutableRawSpan) -> String? {
        var stream = unsafe z_stream()
        guard
            unsafe inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK
        else { return "zlib cannot start" }
        defer { unsafe inflateEnd(&stream) }
        return unsafe cluster.withUnsafeMutableBytes { output in
            unsafe data.withUnsafeBytes { input in
                let start = unsafe input.bindMemory(to: Bytef.self).baseAddress
                unsafe stream.next_in = UnsafeMutablePointer(mutating: start)
                unsafe stream.avail_in = uInt(input.count)
                unsafe stream.next_out = output.bindMemory(to: Bytef.self).baseAddress
                unsafe stream.avail_out = uInt(output.count)
                var status = unsafe CZlib.inflate(&stream, Z_FINISH)
                if unsafe stream.avail_out > 0 && status == Z_STREAM_END { return "it expands to less than a cluster" }
                if unsafe status == Z_BUF_ERROR && stream.avail_out == 0 {
                    // The cluster is full, but the decoder may not have seen the end of the data: give it room for one
                    // byte more, which it must not use.
                    var extra: UInt8 = 0
                    status = unsafe withUnsafeMutablePointer(to: &extra) { extra in
                        unsafe stream.next_out = extra
                        unsafe stream.avail_out = 1
                        return unsafe CZlib.inflate(&stream, Z_FINISH)
                    }
                    if unsafe stream.avail_out == 0 { return "it expands to more than a cluster" }
                }
                return status == Z_STREAM_END ? nil : "the data is no valid deflate stream"
            }
        }
    }

    private static func deflate(_ cluster: RawSpan, into data: inout MutableRawSpan) throws(StorageError) -> Int? {
        var stream = unsafe z_stream()
        let started = unsafe deflateInit2_(
            &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -deflateWindowBits, 9, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard started == Z_OK else { throw StorageError(.internalError, "compress cluster", why: "zlib cannot start") }
        defer { unsafe deflateEnd(&stream) }
        let status = unsafe data.withUnsafeMutableBytes { output in
            unsafe cluster.withUnsafeBytes { input in
                let start = unsafe input.bindMemory(to: Bytef.self).baseAddress
                unsafe stream.next_in = UnsafeMutablePointer(mutating: start)
                unsafe stream.avail_in = uInt(input.count)
                unsafe stream.next_out = output.bindMemory(to: Bytef.self).baseAddress
                unsafe stream.avail_out = uInt(output.count)
                return unsafe CZlib.deflate(&stream, Z_FINISH)
            }
        }
        return status == Z_STREAM_END ? unsafe data.byteCount - Int(stream.avail_out) : nil
    }

    private static func decodeZstd(_ data: RawSpan, into cluster: inout MutableRawSpan) -> String? {
        guard let context = unsafe ZSTD_createDCtx() else { return "zstd cannot start" }
        defer { unsafe ZSTD_freeDCtx(context) }
        unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, largestZstdWindowBits)
        return unsafe cluster.withUnsafeMutableBytes { memory in
            unsafe data.withUnsafeBytes { source in
                var output = unsafe ZSTD_outBuffer(dst: memory.baseAddress, size: memory.count, pos: 0)
                var input = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: 0)
                while true {
                    let before = unsafe (input.pos, output.pos)
                    let left = unsafe ZSTD_decompressStream(context, &output, &input)
                    if ZSTD_isError(left) != 0 { return "the data is no valid zstd frame" }
                    if left == 0 {
                        return unsafe output.pos == output.size ? nil : "it expands to less than a cluster"
                    }
                    if unsafe before == (input.pos, output.pos) {
                        return unsafe output.pos == output.size
                            ? "it expands to more than a cluster" : "the zstd frame is cut short"
                    }
                }
            }
        }
    }

    private static func encodeZstd(_ cluster: RawSpan, into data: inout MutableRawSpan) throws(StorageError) -> Int? {
        guard let context = unsafe ZSTD_createCCtx() else {
            throw StorageError(.internalError, "compress cluster", why: "zstd cannot start")
        }
        defer { unsafe ZSTD_freeCCtx(context) }
        return unsafe data.withUnsafeMutableBytes { memory in
            unsafe cluster.withUnsafeBytes { source in
                let count = unsafe ZSTD_compress2(
                    context, memory.baseAddress, memory.count, source.baseAddress, source.count)
                // The only error of a compressor with valid parameters is a destination that is too small.
                return ZSTD_isError(count) != 0 ? nil : Int(count)
            }
        }
    }
}
