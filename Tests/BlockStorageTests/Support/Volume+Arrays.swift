import BlockStorage
import IORuntime

extension Volume {
    func write(_ bytes: [UInt8], at offset: UInt64) async throws(StorageError) {
        try await write(bytes.rawBytes, at: offset)
    }

    func read(_ range: Range<UInt64>) async throws(StorageError) -> [UInt8] {
        var buffer = IOBuffer(byteCount: range.count)
        var bytes = buffer.mutableBytes
        try await read(into: &bytes, at: range.lowerBound)
        return (0..<range.count).map { buffer.bytes[$0] }
    }
}

extension RawSpan {
    subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < byteCount, "index past the end")
        // Sound: the index is inside, and any byte is a valid number.
        return unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self)
    }
}
