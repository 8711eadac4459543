import BlockStorage

/// One volume in a `QoSScheduler`: its requests, tags and buckets.
struct QoSMember: Sendable {
    var queue = RequestQueue()
    /// In cost units a second; 0 for none.
    private(set) var minimum: Int64
    /// When the next request is due by the minimum, in nanoseconds, and what of a nanosecond was left over.
    private(set) var reservationTag: UInt64 = 0
    private var reservationRemainder: Int64 = 0
    /// What the volume got beyond its minimum, divided by its weight, in nanoseconds.
    var proportionTag: UInt64 = 0
    private var proportionRemainder: Int64 = 0
    private var weight: Int64
    /// Nil where nothing is limited.
    private var sustained: TokenBucket?
    private var peak: TokenBucket?
    private var accrual: WindowAccrual?

    /// The peak bucket holds this much of a second.
    private static let peakDepthDivisor: Int64 = 100
    /// No rate beyond this is limited: 10 thousand million operations a second.
    private static let largestRate: Int64 = 1_000_000_000_000

    init(_ policy: QoSPolicy, _ options: QoSScheduler.Options, creditSeconds: Int64, now: UInt64) {
        minimum = 0
        weight = 1
        let rates = Rates(policy)
        if let maximum = rates.maximum, let burst = rates.burst {
            let seconds = min(max(0, creditSeconds), options.burstSeconds)
            let credit = (burst - maximum) * seconds
            switch options.mode {
            case .conserving:
                sustained = TokenBucket(
                    rate: maximum, depth: (burst - maximum) * options.burstSeconds + options.largestCost,
                    level: credit, now: now)
            case .element:
                sustained = TokenBucket(
                    rate: maximum, depth: maximum / Self.peakDepthDivisor + options.largestCost, level: 0, now: now)
                accrual = WindowAccrual(
                    maximum: maximum, burst: burst, seconds: options.burstSeconds, credit: credit, now: now)
            }
            peak = TokenBucket(
                rate: burst, depth: burst / Self.peakDepthDivisor + options.largestCost, level: 0, now: now)
        }
        setShares(rates, options)
    }

    /// A policy's rates, in cost units a second.
    private struct Rates {
        var minimum: Int64
        var maximum: Int64?
        var burst: Int64?

        init(_ policy: QoSPolicy) {
            func rate(_ iops: UInt64) -> Int64 {
                Int64(clamping: min(iops, UInt64(QoSMember.largestRate / CostCurve.unit))) * CostCurve.unit
            }
            minimum = policy.minIOPS.map(rate) ?? 0
            maximum = policy.maxIOPS.map(rate)
            burst = policy.burstIOPS.map(rate).map { max($0, maximum ?? 0) } ?? maximum
            if maximum == nil { maximum = burst }
        }
    }

    private mutating func setShares(_ rates: Rates, _ options: QoSScheduler.Options) {
        minimum = rates.minimum
        weight = minimum > 0 ? minimum : Int64(clamping: max(1, options.defaultWeight)) * CostCurve.unit
    }

    mutating func change(_ policy: QoSPolicy, _ options: QoSScheduler.Options, now: UInt64) {
        refill(now: now)
        let old = self
        let fresh = QoSMember(policy, options, creditSeconds: 0, now: now)
        (minimum, weight) = (fresh.minimum, fresh.weight)
        (reservationRemainder, proportionRemainder) = (0, 0)
        (sustained, peak, accrual) = (fresh.sustained, fresh.peak, fresh.accrual)
        // What is saved or owed stays, as far as the new policy allows it.
        sustained?.inherit(old.sustained)
        peak?.inherit(old.peak)
        accrual?.inherit(old.accrual)
    }

    mutating func refill(now: UInt64) {
        sustained?.refill(now: now)
        peak?.refill(now: now)
        accrual?.advance(to: now)
        if accrual != nil { payWithCredit() }
    }

    private mutating func payWithCredit() {
        guard var credit = accrual?.credit else { return }
        sustained?.payDebt(from: &credit)
        accrual?.credit = credit
    }

    /// Makes the reservation tag no earlier than `time`.
    mutating func advanceReservation(to time: UInt64) {
        guard time > reservationTag else { return }
        (reservationTag, reservationRemainder) = (time, 0)
    }

    /// Books a request that goes.
    mutating func charge(_ cost: Int64, isReservation: Bool, now: UInt64) {
        refill(now: now)
        sustained?.take(cost)
        peak?.take(cost)
        accrual?.serve(cost)
        payWithCredit()
        if isReservation {
            Self.advance(&reservationTag, &reservationRemainder, by: cost, rate: minimum)
        } else {
            Self.advance(&proportionTag, &proportionRemainder, by: cost, rate: weight)
        }
    }

    /// Adds the time in which `cost` comes at `rate`, exactly.
    private static func advance(_ tag: inout UInt64, _ remainder: inout Int64, by cost: Int64, rate: Int64) {
        let (quotient, rest) = (Int128(cost) * TokenBucket.scale + Int128(remainder))
            .quotientAndRemainder(dividingBy: Int128(max(1, rate)))
        let (sum, overflow) = tag.addingReportingOverflow(UInt64(clamping: quotient))
        tag = overflow ? .max : sum
        remainder = Int64(truncatingIfNeeded: rest)
    }

    /// When the buckets allow a request, as of the last refill.
    var ready: UInt64 {
        guard let sustained, let peak else { return 0 }
        var time = sustained.ready
        if let accrual, sustained.level < 0 { time = min(time, accrual.windowEnd) }
        return max(time, peak.ready)
    }

    /// In cost units.
    var savedBurst: Int64 {
        let saved = accrual?.credit ?? sustained?.level ?? 0
        return Int64(clamping: max(0, saved) / TokenBucket.scale)
    }
}

/// Element's credit: a window's worth for every window in which less than the maximum was served.
struct WindowAccrual: Sendable {
    /// As Element samples, in nanoseconds.
    private static let window: UInt64 = 500_000_000

    /// In billionths of a cost unit.
    var credit: Int128
    private let largestCredit: Int128
    private let maximumPerWindow: Int64
    /// In billionths of a cost unit.
    private let earnedPerWindow: Int128
    private var served: Int64 = 0
    private(set) var windowEnd: UInt64

    init(maximum: Int64, burst: Int64, seconds: Int64, credit: Int64, now: UInt64) {
        largestCredit = Int128(burst - maximum) * Int128(seconds) * TokenBucket.scale
        self.credit = min(Int128(credit) * TokenBucket.scale, largestCredit)
        maximumPerWindow = maximum / 2
        earnedPerWindow = Int128(burst - maximum) * Int128(Self.window)
        windowEnd = now + Self.window
    }

    mutating func serve(_ cost: Int64) { served += cost }

    /// Ends the windows that are over.
    mutating func advance(to now: UInt64) {
        guard now >= windowEnd else { return }
        let idle = (now - windowEnd) / Self.window
        let earning = Int128(idle) + (served < maximumPerWindow ? 1 : 0)
        credit = min(largestCredit, credit + earnedPerWindow * earning)
        served = 0
        windowEnd += (idle + 1) * Self.window
    }

    mutating func inherit(_ old: WindowAccrual?) {
        guard let old else { return }
        credit = min(old.credit, largestCredit)
        (served, windowEnd) = (old.served, old.windowEnd)
    }
}
