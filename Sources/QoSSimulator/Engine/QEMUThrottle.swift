/// QEMU's throttle of one volume (`util/throttle.c`): a bucket that leaks at the average and fills with what goes, and a
/// second one that leaks at the burst rate where bursts may be longer than a second.
///
/// Levels are kept in units of a nanosecond's leak at one unit a second, so that nothing is rounded.
struct QEMUThrottle: Sendable {
    private let limits: QEMULimits
    private var level: Int128 = 0
    private var burstLevel: Int128 = 0
    private var time: UInt64 = 0

    private static let scale: Int128 = 1_000_000_000
    /// A request of one operation counts this, so that larger ones may count in fractions.
    private static let unit: Int128 = 4096

    init(_ limits: QEMULimits, now: UInt64) {
        self.limits = limits
        time = now
    }

    private mutating func leak(now: UInt64) {
        let elapsed = Int128(now - time)
        time = now
        level = max(0, level - elapsed * Int128(limits.average) * Self.unit)
        if let burst = limits.burst, limits.burstSeconds > 1 {
            burstLevel = max(0, burstLevel - elapsed * Int128(burst) * Self.unit)
        }
    }

    /// When the next request may go, `now` at the earliest.
    mutating func ready(now: UInt64) -> UInt64 {
        leak(now: now)
        let second = Self.unit * Self.scale
        let size =
            limits.burst.map { Int128($0) * Int128(limits.burstSeconds) * second }
            ?? Int128(limits.average) * second / 10
        if let wait = Self.wait(level - size, rate: limits.average) { return now + wait }
        if let burst = limits.burst, limits.burstSeconds > 1,
            let wait = Self.wait(burstLevel - Int128(burst) * second / 10, rate: burst)
        {
            return now + wait
        }
        return now
    }

    private static func wait(_ excess: Int128, rate: UInt64) -> UInt64? {
        guard excess > 0 else { return nil }
        let leak = Int128(max(1, rate)) * unit
        return UInt64(clamping: (excess + leak - 1) / leak)
    }

    /// Counts a request that goes.
    mutating func take(byteCount: UInt64) {
        var amount = Self.unit
        if let size = limits.requestSize, byteCount > size { amount = Int128(byteCount) * Self.unit / Int128(size) }
        level += amount * Self.scale
        if limits.burst != nil, limits.burstSeconds > 1 { burstLevel += amount * Self.scale }
    }
}
