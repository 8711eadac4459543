import BlockStorage

/// One volume in a `QoSScheduler`: its requests, tags and buckets.
struct QoSMember: Sendable {
    var queue = RequestQueue()
    /// In cost units a second; 0 for none.
    private(set) var minimum: Int64 = 0
    /// What is left over is shared in proportion to it, in cost units a second.
    private(set) var weight: Int64 = 1
    /// How far the proportion tags of a volume may be behind the others', in nanoseconds: the largest request's time.
    private(set) var patience: UInt64 = 0
    /// When the next request is due by the minimum.
    var reservation = ServiceTag()
    /// What the volume got beyond its minimum, and what it got by credit, by its weight.
    var proportion = ServiceTag()
    var burst = ServiceTag()
    /// Nil where nothing is limited.
    private var limits: Limits?
    private var bandwidth: TokenBucket?

    private struct Limits: Sendable {
        var sustained: TokenBucket
        var credit: BurstCredit
        var peak: TokenBucket

        mutating func refill(now: UInt64) {
            let elapsed = now > sustained.time ? now - sustained.time : 0
            let unused = sustained.refill(now: now)
            credit.accrue(unused: unused, hasSome: sustained.level > 0, elapsed: elapsed, now: now)
            peak.refill(now: now)
        }

        mutating func inherit(_ old: Limits?) {
            guard let old else { return }
            sustained.inherit(old.sustained)
            peak.inherit(old.peak)
            credit.inherit(old.credit)
        }
    }

    /// The peak bucket holds this much of a second.
    private static let peakDepthDivisor: Int64 = 100
    /// No rate beyond this is limited: 10 thousand million operations a second.
    private static let largestRate: Int64 = 1_000_000_000_000

    init(_ policy: QoSPolicy, _ options: QoSScheduler.Options, creditSeconds: Int64, now: UInt64) {
        func rate(_ iops: UInt64) -> Int64 {
            Int64(clamping: min(iops, UInt64(Self.largestRate / CostCurve.unit))) * CostCurve.unit
        }
        minimum = policy.minIOPS.map(rate) ?? 0
        weight = minimum > 0 ? minimum : Int64(clamping: max(1, options.defaultWeight)) * CostCurve.unit
        patience = TokenBucket.quotient(Int128(options.largestCost) * TokenBucket.scale, weight).quotient
        if let maximum = (policy.maxIOPS ?? policy.burstIOPS).map(rate) {
            let burst = max(policy.burstIOPS.map(rate) ?? maximum, maximum)
            let lateness = Int64(clamping: Int128(maximum) * Int128(options.lateness) / TokenBucket.scale)
            limits = Limits(
                sustained: TokenBucket(rate: maximum, depth: options.largestCost + lateness, now: now),
                credit: BurstCredit(
                    maximum: maximum, burst: burst, mode: options.mode, seconds: options.burstSeconds,
                    saved: creditSeconds, now: now),
                peak: TokenBucket(rate: burst, depth: burst / Self.peakDepthDivisor + options.largestCost, now: now))
        }
        if let bytes = policy.maxBytesPerSecond.map({ Int64(clamping: min($0, UInt64(Self.largestRate))) }) {
            bandwidth = TokenBucket(
                rate: bytes, depth: bytes / Self.peakDepthDivisor + QoSScheduler.Options.largestByteCount, now: now)
        }
    }

    /// Another policy from now on, which is `reservationTime` by reservation tags. What is saved or owed stays, as far as
    /// the new one allows it.
    mutating func change(
        _ policy: QoSPolicy, _ options: QoSScheduler.Options, now: UInt64, reservationTime: UInt64
    ) {
        refill(now: now)
        let old = self
        let fresh = QoSMember(policy, options, creditSeconds: 0, now: now)
        (minimum, weight, patience) = (fresh.minimum, fresh.weight, fresh.patience)
        (limits, bandwidth) = (fresh.limits, fresh.bandwidth)
        limits?.inherit(old.limits)
        bandwidth?.inherit(old.bandwidth)
        reservation.rescale(from: old.minimum, to: minimum, at: reservationTime)
        // There is no claim to what was not promised then.
        if minimum > old.minimum { reservation.advance(to: reservationTime) }
    }

    mutating func refill(now: UInt64) {
        limits?.refill(now: now)
        bandwidth?.refill(now: now)
    }

    /// Why a request goes.
    enum Phase { case reservation, proportion, burst }

    /// Books a request that goes, as of the last refill.
    mutating func charge(_ cost: Int64, byteCount: Int64, _ phase: Phase) {
        bandwidth?.take(byteCount)
        limits?.peak.take(cost)
        limits?.credit.serve(cost)
        switch phase {
        case .reservation:
            limits?.sustained.take(cost)
            reservation.advance(by: cost, rate: minimum)
        case .proportion:
            limits?.sustained.take(cost)
            proportion.advance(by: cost, rate: weight)
        case .burst:
            if let missing = limits?.credit.take(cost) { limits?.sustained.take(billionths: missing) }
            burst.advance(by: cost, rate: weight)
        }
    }

    /// Books what other schedulers have served of the volume.
    mutating func chargeElsewhere(_ service: ServiceElsewhere) {
        bandwidth?.take(service.byteCount)
        limits?.peak.take(service.total)
        limits?.credit.serve(service.total)
        limits?.sustained.take(service.total)
        proportion.advance(by: service.total - service.reserved, rate: weight)
        if minimum > 0 { reservation.advance(by: service.reserved, rate: minimum) }
    }

    /// When a request may go within the maximum, as of the last refill.
    var ready: UInt64 {
        var time = bandwidth?.ready() ?? 0
        if let limits { time = max(time, limits.sustained.ready(), limits.peak.ready()) }
        return time
    }

    /// When a request may go by credit, or when there may be some; nil where neither is known.
    var burstReady: UInt64? {
        guard let limits else { return nil }
        guard limits.credit.level > 0 else { return limits.credit.nextWindow }
        return max(bandwidth?.ready() ?? 0, limits.peak.ready())
    }

    /// When a request may go by the minimum. Buckets do not hold it up, but neither may it run them into a debt beyond
    /// the largest request: what was missed while the device was too slow is not made up for at any rate.
    func reservationReady(largestCost: Int64) -> UInt64 {
        var time = bandwidth?.ready() ?? 0
        if let limits {
            let debt = Int128(largestCost) * TokenBucket.scale
            time = max(time, limits.sustained.ready(owing: debt), limits.peak.ready(owing: debt))
        }
        return time
    }

    /// In cost units.
    var savedBurst: Int64 {
        guard let limits else { return 0 }
        return Int64(clamping: limits.credit.level / TokenBucket.scale)
    }

    var savedSeconds: Int64 { limits?.credit.seconds ?? 0 }

    mutating func restoreBurst(_ saved: Int64) { limits?.credit.restore(saved) }

    /// Whether a request goes as soon as the device takes it.
    var isUnlimited: Bool { limits == nil && bandwidth == nil }
}
