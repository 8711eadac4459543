import BlockStorage

/// What was served divided by a rate: a time in nanoseconds, exact.
struct ServiceTag: Sendable {
    private(set) var value: UInt64 = 0
    /// What of a nanosecond was left over.
    private var remainder: Int64 = 0

    /// Adds the time in which `cost` comes at `rate`.
    mutating func advance(by cost: Int64, rate: Int64) {
        let (quotient, rest) = TokenBucket.quotient(Int128(cost) * TokenBucket.scale + Int128(remainder), rate)
        value = value.addingSaturating(quotient)
        remainder = rest
    }

    /// No earlier than `time`.
    mutating func advance(to time: UInt64) {
        if time > value { (value, remainder) = (time, 0) }
    }

    /// Earlier by `time`, if it is later than that.
    mutating func recede(by time: UInt64) { value -= min(value, time) }

    /// Another rate from `time` on: what is beyond that time was counted at the old one.
    mutating func rescale(from old: Int64, to new: Int64, at time: UInt64) {
        guard value > time else { return }
        let ahead = TokenBucket.quotient(Int128(value - time) * Int128(old), max(1, new)).quotient
        (value, remainder) = (time.addingSaturating(ahead), 0)
    }
}
