import BlockStorage

/// What a volume may have beyond its maximum, earned while it was below it.
struct BurstCredit: Sendable {
    /// As Element samples, in nanoseconds.
    private static let window: UInt64 = 500_000_000

    /// What was served in the window that ends at `windowEnd`.
    private struct Window: Sendable {
        var served: Int64 = 0
        var end: UInt64
        /// What makes a window one below the maximum, in cost units.
        var maximum: Int64
    }

    /// In billionths of a cost unit, never negative.
    private(set) var level: Int128
    private let largest: Int128
    /// The burst above the maximum, in cost units a second: no more than this is earned in a second.
    private let rate: Int64
    /// Nil where what was not used is what is earned.
    private var window: Window?

    /// Begins with so many seconds of burst.
    init(maximum: Int64, burst: Int64, mode: AccrualMode, seconds: Int64, saved: Int64, now: UInt64) {
        rate = burst - maximum
        largest = Int128(rate) * Int128(seconds) * TokenBucket.scale
        level = min(Int128(rate) * Int128(max(0, saved)) * TokenBucket.scale, largest)
        window = mode == .element ? Window(end: now.addingSaturating(Self.window), maximum: maximum / 2) : nil
    }

    /// When credit may come, other than from what is not used; nil where it comes from nothing else.
    var nextWindow: UInt64? { rate > 0 ? window?.end : nil }

    /// How long it lasts at the burst rate.
    var seconds: Int64 { rate > 0 ? Int64(clamping: level / (Int128(rate) * TokenBucket.scale)) : 0 }

    /// Books `elapsed` nanoseconds until `now` in which `unused` billionths of the maximum were lost; `hasSome` says that some
    /// are left now: a window in which only whole requests did not add up to the maximum is not one below it.
    mutating func accrue(unused: Int128, hasSome: Bool, elapsed: UInt64, now: UInt64) {
        guard let window else {
            if unused > 0 { level = min(largest, level + min(unused, Int128(rate) * Int128(elapsed))) }
            return
        }
        guard now >= window.end else { return }
        let idle = (now - window.end) / Self.window
        let earning = Int128(idle) + (hasSome && window.served < window.maximum ? 1 : 0)
        level = min(largest, level + Int128(rate) * Int128(Self.window) * earning)
        let end = (window.end + idle * Self.window).addingSaturating(Self.window)
        self.window = Window(end: end, maximum: window.maximum)
    }

    /// A request was served, with credit or without.
    mutating func serve(_ cost: Int64) { window?.served += cost }

    /// Takes as much of `cost` as there is, and returns what is missing, in billionths.
    mutating func take(_ cost: Int64) -> Int128 {
        let wanted = Int128(cost) * TokenBucket.scale
        let taken = min(level, wanted)
        level -= taken
        return wanted - taken
    }

    mutating func inherit(_ old: BurstCredit?) {
        guard let old else { return }
        level = min(old.level, largest)
        if let window = old.window, self.window != nil {
            self.window?.served = window.served
            self.window?.end = window.end
        }
    }

    /// Sets what is saved, in cost units, as far as it is allowed.
    mutating func restore(_ saved: Int64) { level = min(Int128(max(0, saved)) * TokenBucket.scale, largest) }
}
