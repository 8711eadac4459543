/// Tokens that come at a rate, up to a depth, and may be owed.
///
/// Exact: amounts are kept in billionths of a cost unit, which is what a rate of one unit a second brings in a nanosecond.
struct TokenBucket: Sendable, Equatable {
    /// In cost units a second, at least 1.
    private(set) var rate: Int64
    /// In billionths of a unit; negative where tokens are owed.
    private(set) var level: Int128
    /// The most that is saved, in billionths of a unit.
    private(set) var depth: Int128
    /// When `level` was true, in nanoseconds.
    private(set) var time: UInt64

    static let scale: Int128 = 1_000_000_000

    /// Begins with nothing.
    init(rate: Int64, depth: Int64, now: UInt64) {
        self.rate = max(1, rate)
        self.depth = Int128(depth) * Self.scale
        level = 0
        time = now
    }

    /// Adds what has come since, and returns what does not fit. A clock that goes back adds nothing.
    @discardableResult
    mutating func refill(now: UInt64) -> Int128 {
        guard now > time else { return 0 }
        level += Int128(rate) * Int128(now - time)
        time = now
        guard level > depth else { return 0 }
        defer { level = depth }
        return level - depth
    }

    mutating func take(_ cost: Int64) { level -= Int128(cost) * Self.scale }

    /// Takes billionths of a unit.
    mutating func take(billionths amount: Int128) { level -= amount }

    /// When no more than `debt` billionths of a unit are owed, rounded up; the time of the last refill where that is so.
    func ready(owing debt: Int128 = 0) -> UInt64 {
        let missing = -level - debt
        guard missing > 0 else { return time }
        let (ready, overflow) = time.addingReportingOverflow(Self.quotient(missing + Int128(rate) - 1, rate).quotient)
        return overflow ? .max : ready
    }

    /// Takes over what another bucket has saved or owes, as far as it fits.
    mutating func inherit(_ old: TokenBucket?) {
        guard let old else { return }
        level = min(old.level, depth)
        time = old.time
    }

    /// Divides a number that is not negative; a quotient beyond 64 bits is the largest number.
    @inline(__always)
    static func quotient(_ value: Int128, _ divisor: Int64) -> (quotient: UInt64, remainder: Int64) {
        // Nearly always it fits one machine word, whose division is several times as fast.
        if let small = UInt64(exactly: value) {
            let (quotient, remainder) = small.quotientAndRemainder(dividingBy: UInt64(divisor))
            return (quotient, Int64(remainder))
        }
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: Int128(divisor))
        return (UInt64(clamping: quotient), Int64(truncatingIfNeeded: remainder))
    }
}
