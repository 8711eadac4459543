/// A request in the 64 bits that the scheduler keeps for it: which stream issued it, its size and its direction.
struct RequestCode: Sendable {
    /// Larger requests are cut to this.
    static let largestByteCount: UInt64 = 1 << 30

    var rawValue: UInt64

    init(rawValue: UInt64) { self.rawValue = rawValue }

    @inline(__always)
    init(stream: Int, byteCount: UInt64, isWrite: Bool) {
        rawValue = UInt64(stream) << 32 | min(byteCount, Self.largestByteCount) << 1 | (isWrite ? 1 : 0)
    }

    @inline(__always) var stream: Int { Int(rawValue >> 32) }
    @inline(__always) var byteCount: UInt64 { (rawValue & 0xffff_ffff) >> 1 }
    @inline(__always) var isWrite: Bool { rawValue & 1 == 1 }
}
