/// Big-endian integers in byte arrays: the byte order of everything in a QCOW2 image.
extension [UInt8] {
    /// The integer at byte `offset`, which must lie inside the array.
    func bigEndian<Integer: FixedWidthInteger & UnsignedInteger>(at offset: Int, as: Integer.Type = Integer.self)
        -> Integer
    {
        var value: Integer = 0
        for index in offset..<offset + Integer.bitWidth / 8 { value = value << 8 | Integer(self[index]) }
        return value
    }

    /// Stores `value` at byte `offset`; all of it must lie inside the array.
    mutating func setBigEndian<Integer: FixedWidthInteger & UnsignedInteger>(_ value: Integer, at offset: Int) {
        let width = Integer.bitWidth / 8
        for index in 0..<width {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> ((width - 1 - index) * 8))
        }
    }

    /// Appends `value`, most significant byte first.
    mutating func appendBigEndian<Integer: FixedWidthInteger & UnsignedInteger>(_ value: Integer) {
        for shift in stride(from: Integer.bitWidth - 8, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// Appends zero bytes until the count is a multiple of `alignment`.
    mutating func pad(to alignment: Int) {
        let excess = count % alignment
        // An array, because copying one is fast in unoptimised code too.
        if excess > 0 { append(contentsOf: [UInt8](repeating: 0, count: alignment - excess)) }
    }
}
