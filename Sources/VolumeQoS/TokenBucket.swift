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
    private var time: UInt64

    static let scale: Int128 = 1_000_000_000

    /// Begins with `level` units.
    init(rate: Int64, depth: Int64, level: Int64, now: UInt64) {
        self.rate = max(1, rate)
        self.depth = Int128(depth) * Self.scale
        self.level = min(Int128(level) * Self.scale, self.depth)
        time = now
    }

    /// Adds what has come since. A clock that goes back adds nothing.
    mutating func refill(now: UInt64) {
        guard now > time else { return }
        level = min(depth, level + Int128(rate) * Int128(now - time))
        time = now
    }

    mutating func take(_ cost: Int64) { level -= Int128(cost) * Self.scale }

    /// Pays what is owed as far as `other` has it.
    mutating func payDebt(from other: inout Int128) {
        guard level < 0, other > 0 else { return }
        let payment = min(other, -level)
        level += payment
        other -= payment
    }

    /// When nothing is owed any more, rounded up; the time of the last refill where nothing is.
    var ready: UInt64 {
        guard level < 0 else { return time }
        let wait = (-level + Int128(rate) - 1) / Int128(rate)
        let (ready, overflow) = time.addingReportingOverflow(UInt64(clamping: wait))
        return overflow ? .max : ready
    }

    /// Takes over what another bucket has saved or owes, as far as it fits.
    mutating func inherit(_ old: TokenBucket?) {
        guard let old else { return }
        level = min(old.level, depth)
        time = old.time
    }
}
