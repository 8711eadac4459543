import Synchronization

/// One volume in a `ThrottleGroup`.
final class ThrottleMember: Sendable {
    /// In the group's scheduler; another's once this one has left.
    let index: Int
    let meter: ThrottleMeter?
    private let throttled = Atomic<Bool>(false)
    private let requestCount = Atomic<UInt64>(0)
    private let totalCost = Atomic<UInt64>(0)

    init(index: Int, meter: ThrottleMeter?) {
        self.index = index
        self.meter = meter
    }

    /// Whether requests have to ask the group.
    var isThrottled: Bool {
        get { throttled.load(ordering: .relaxed) }
        set { throttled.store(newValue, ordering: .relaxed) }
    }

    /// Requests that have come, and their cost.
    var requests: UInt64 { requestCount.load(ordering: .relaxed) }
    var cost: UInt64 { totalCost.load(ordering: .relaxed) }

    @inline(__always)
    func count(_ cost: Int64) {
        requestCount.wrappingAdd(1, ordering: .relaxed)
        totalCost.wrappingAdd(UInt64(truncatingIfNeeded: cost), ordering: .relaxed)
    }
}
