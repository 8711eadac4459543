extension IOSegment {
    /// Memory that the owner of `bytes` keeps in place until the request returns, to be written at `offset`.
    package init(pinning bytes: RawSpan, at offset: UInt64) {
        unsafe self.init(bytes.pinned, at: offset)
    }

    /// Memory that the owner of `bytes` keeps in place until the request returns, to be filled from `offset`.
    package init(pinning bytes: inout MutableRawSpan, at offset: UInt64) {
        unsafe self.init(bytes.pinned, at: offset)
    }

    /// The bytes of `part`, counted from the start of this segment, with another offset.
    package func part(_ part: Range<Int>, at offset: UInt64) -> IOSegment {
        precondition(part.lowerBound >= 0 && part.upperBound <= byteCount, "the part lies outside the segment")
        // Sound: the part lies inside memory that is valid as long as this segment.
        return unsafe IOSegment(UnsafeMutableRawBufferPointer(rebasing: memory[part]), at: offset)
    }

    /// Whether `next` follows in memory and at its offset, so that one segment can stand for both.
    package func isFollowed(by next: IOSegment) -> Bool {
        guard let start = unsafe memory.baseAddress, let other = unsafe next.memory.baseAddress else { return false }
        return unsafe start + byteCount == other && offset + UInt64(byteCount) == next.offset
    }

    /// Sets every byte of the memory to zero.
    package func zero() {
        // Sound: whoever holds the segment may change its memory while the request lasts.
        _ = unsafe memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Fills the memory with the first bytes of `source`, which must have enough.
    package func copy(from source: RawSpan) {
        var target = unsafe MutableRawSpan(_unsafeBytes: memory)
        target.copy(from: source.extracting(0..<byteCount))
    }
}

extension IOVector {
    /// Adds a segment, or makes the last one longer where the new one follows it in memory and at its offset. There
    /// must be room for it.
    package mutating func appendJoining(_ segment: IOSegment) {
        if count > 0, self[count - 1].isFollowed(by: segment) {
            extendLast(by: segment.byteCount)
        } else {
            append(segment)
        }
    }

    package mutating func removeAll() { self = IOVector() }
}
