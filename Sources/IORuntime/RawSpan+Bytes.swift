import Glibc

extension RawSpan {
    /// Whether every byte is zero. Looks at 256 bytes at a time and stops at the first that are not.
    package var isZero: Bool {
        unsafe withUnsafeBytes { bytes in
            // Sound: every load lies inside `bytes`, which outlives the closure.
            var index = 0
            while index + 256 <= bytes.count {
                let a = unsafe bytes.loadUnaligned(fromByteOffset: index, as: SIMD8<UInt64>.self)
                let b = unsafe bytes.loadUnaligned(fromByteOffset: index + 64, as: SIMD8<UInt64>.self)
                let c = unsafe bytes.loadUnaligned(fromByteOffset: index + 128, as: SIMD8<UInt64>.self)
                let d = unsafe bytes.loadUnaligned(fromByteOffset: index + 192, as: SIMD8<UInt64>.self)
                if (a | b) | (c | d) != .zero { return false }
                index += 256
            }
            while index + 8 <= bytes.count {
                if unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) != 0 { return false }
                index += 8
            }
            while index < bytes.count {
                if unsafe bytes[index] != 0 { return false }
                index += 1
            }
            return true
        }
    }

    /// Whether both hold the same bytes.
    package func hasSameBytes(as other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        return unsafe withUnsafeBytes { bytes in
            unsafe other.withUnsafeBytes { others in
                guard let first = bytes.baseAddress, let second = others.baseAddress else { return true }
                // Sound: both hold `byteCount` bytes for as long as the closure runs.
                return unsafe memcmp(first, second, bytes.count) == 0
            }
        }
    }
}

extension MutableRawSpan {
    /// Copies all of `source` to byte `offset`, where it must fit. The two must not overlap.
    package mutating func copy(from source: RawSpan, to offset: Int = 0) {
        precondition(offset >= 0 && offset <= byteCount, "the offset lies outside")
        precondition(source.byteCount <= byteCount - offset, "the source does not fit")
        unsafe withUnsafeMutableBytes { destination in
            // Sound: the source fits, as checked above.
            let destination = unsafe UnsafeMutableRawBufferPointer(rebasing: destination[offset...])
            unsafe source.withUnsafeBytes { unsafe destination.copyMemory(from: $0) }
        }
    }

    /// Sets every byte to zero.
    package mutating func zero() {
        unsafe withUnsafeMutableBytes { bytes in
            // Sound: initialises exactly the bytes of this span.
            _ = unsafe bytes.initializeMemory(as: UInt8.self, repeating: 0)
        }
    }
}
