extension RawSpan {
    /// The big-endian integer at byte `offset`. It must lie inside the span: who reads outside data checks its length
    /// first.
    @inlinable @inline(__always)
    package func loadBigEndian<Value: FixedWidthInteger & BitwiseCopyable>(
        _ type: Value.Type, at offset: Int
    ) -> Value {
        // Sound: the load checks its bounds, and any bytes are a valid integer.
        Value(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Value.self))
    }
}

extension MutableRawSpan {
    /// Stores `value` at byte `offset`, big-endian. It must lie inside the span.
    @inlinable @inline(__always)
    package mutating func storeBigEndian<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: Value.self)
    }
}
