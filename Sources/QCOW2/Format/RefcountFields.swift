/// Refcounts of 1 to 64 bits in the bytes of refcount blocks: big-endian, and from the least significant bit of a byte
/// on where several share one.
enum RefcountFields {
    /// The refcount at `index`, which must lie inside `bytes`.
    static func value(at index: Int, in bytes: [UInt8], order: Int) -> UInt64 {
        switch order {
        case 0...2:
            let bit = index << order
            return UInt64(bytes[bit >> 3] >> UInt8(bit & 7)) & ((1 << (1 << UInt64(order))) - 1)
        case 3: return UInt64(bytes[index])
        case 4: return UInt64(bytes[2 * index]) << 8 | UInt64(bytes[2 * index + 1])
        case 5: return UInt64(bytes.bigEndian(at: 4 * index, as: UInt32.self))
        default: return bytes.bigEndian(at: 8 * index)
        }
    }

    /// Stores `value`, which must fit, at `index`, which must lie inside `bytes`.
    static func set(_ value: UInt64, at index: Int, in bytes: inout [UInt8], order: Int) {
        switch order {
        case 0...2:
            let bit = index << order
            let mask = UInt8((1 << (1 << order)) - 1) << UInt8(bit & 7)
            bytes[bit >> 3] = bytes[bit >> 3] & ~mask | UInt8(truncatingIfNeeded: value) << UInt8(bit & 7)
        case 3: bytes[index] = UInt8(truncatingIfNeeded: value)
        case 4: bytes.setBigEndian(UInt16(truncatingIfNeeded: value), at: 2 * index)
        case 5: bytes.setBigEndian(UInt32(truncatingIfNeeded: value), at: 4 * index)
        default: bytes.setBigEndian(value, at: 8 * index)
        }
    }
}
