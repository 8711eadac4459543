extension [UInt8] {
    /// The bytes, to read.
    package var rawBytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // Sound: bytes have no padding.
            let bytes = unsafe span.bytes
            return unsafe _overrideLifetime(bytes, borrowing: self)
        }
    }

    /// The bytes, to change.
    package var mutableRawBytes: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            // Sound: the array's own storage, which stays where it is while the span exists; any byte is a valid one.
            let memory = unsafe withUnsafeMutableBytes { unsafe $0 }
            let bytes = unsafe MutableRawSpan(_unsafeBytes: memory)
            return unsafe _overrideLifetime(bytes, mutating: &self)
        }
    }
}
