/// What other schedulers have granted one volume since this one last heard of it: dmClock's delta and rho, in cost units
/// instead of requests.
///
/// A volume that is served in several places at once (paths to several nodes, readers on several hosts) has one policy.
/// Whoever sends its requests counts with a `ServiceTracker` what each place has served, and passes to each with the next
/// request what the others have done meanwhile; each scheduler books that as its own service.
///
/// **How exact that is.** With `n` places, of which each hears of the others at least every `τ` seconds while it has
/// requests of the volume, and requests of at most `c` (all in cost units, rates a second):
/// - no window of `W` seconds has more than `M·W + T·(B − M) + 3·c·n + (n − 1)·(B·(τ + δ) + 3·c)`: each place keeps the
///   limit exactly as far as it knows, and what it does not know of are at most `τ` seconds of the others, each at no more
///   than the burst rate;
/// - a backlogged volume is late by no more than `τ` plus what one scheduler is late by, and gets `m·W − m·τ − n·c·(2 + N·m/C)`
///   where every place's minimums fit its capacity, as the reservation of one place may be used up by service elsewhere
///   that was not asked for here.
///
/// It is not exact for any `τ > 0`: a limit across places without a round trip for each request can be passed by what is
/// on its way (dmclock's issue 21). Splitting the capacity, as `CapacityShare` does, errs towards less instead.
public struct ServiceElsewhere: Sendable, Equatable, Codable {
    /// All that was served: delta.
    public var total: Int64
    /// What of it went because the minimum asked for it: rho.
    public var reserved: Int64
    public var byteCount: Int64

    /// Negative values count as none, and no more is reserved than there is.
    public init(total: Int64 = 0, reserved: Int64 = 0, byteCount: Int64 = 0) {
        self.total = max(0, total)
        self.reserved = min(max(0, reserved), self.total)
        self.byteCount = max(0, byteCount)
    }

    /// As `init(total:reserved:byteCount:)`, whatever another host has written.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            total: try values.decode(Int64.self, forKey: .total),
            reserved: try values.decode(Int64.self, forKey: .reserved),
            byteCount: try values.decode(Int64.self, forKey: .byteCount))
    }

    private enum CodingKeys: String, CodingKey { case total, reserved, byteCount }

    static func + (one: ServiceElsewhere, other: ServiceElsewhere) -> ServiceElsewhere {
        ServiceElsewhere(
            total: one.total.addingSaturating(other.total), reserved: one.reserved.addingSaturating(other.reserved),
            byteCount: one.byteCount.addingSaturating(other.byteCount))
    }
}

/// Counts, where a volume's requests are sent from, what each of several schedulers has granted.
public struct ServiceTracker: Sendable {
    /// By place, what the others have granted since its last request.
    private var unreported: [ServiceElsewhere]

    /// For schedulers 0 to `count` − 1.
    public init(count: Int) { unreported = Array(repeating: .init(), count: max(0, count)) }

    /// A request has been served in one place: the others are to hear of it.
    public mutating func completed(_ grant: QoSScheduler.Grant, byteCount: Int64 = 0, at place: Int) {
        let service = ServiceElsewhere(
            total: grant.cost, reserved: grant.isReservation ? grant.cost : 0, byteCount: byteCount)
        for other in unreported.indices where other != place { unreported[other] = unreported[other] + service }
    }

    /// What goes with the next request to a place.
    public mutating func report(to place: Int) -> ServiceElsewhere {
        defer { unreported[place] = .init() }
        return unreported[place]
    }
}

extension Int64 {
    fileprivate func addingSaturating(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }
}
