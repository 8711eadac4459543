import BlockStorage
import VolumeQoS

/// A volume while it is simulated.
struct VolumeState {
    let name: String
    var policy: VolumePolicy
    /// In cost units a second; 0 for none.
    var minimum: Int64
    /// In cost units: how much less than its minimum a window may bring although the scheduler does its duty.
    var allowance: Int64 = 0
    /// Place in the limiters; -1 for none.
    var limiter: Int32 = -1
    /// Place in the tracks that are plotted; -1 for none.
    var track: Int32 = -1
    /// Requests that have not gone to a node yet, and since when there have been some all the time.
    var waiting: Int32 = 0
    var backloggedSince: UInt64 = 0
    /// Cost of what has gone in this window.
    var windowCost: Int64 = 0
    var totals = Totals()
    var latency = LatencyHistogram()
    /// The least of its minimum in a window of full demand, in parts of a million; nil where there was none.
    var lowestAttainment: Int64?
    var missedWindows: UInt64 = 0
    var backloggedWindows: UInt64 = 0

    /// What only ever grows.
    struct Totals {
        var cost: Int64 = 0
        var requests: UInt64 = 0
        var bytes: UInt64 = 0
    }

    init(name: String, policy: VolumePolicy) {
        (self.name, self.policy) = (name, policy)
        minimum = policy.minimumCost
    }
}

/// Where a group's volumes are.
struct GroupState {
    let name: String
    let volumes: Range<Int>
}

/// QEMU's throttle before a volume.
struct Limiter {
    let volume: Int
    var throttle: QEMUThrottle
    var waiting = Ring<Simulation.Waiting>()
    /// When the requests came that the throttle has let go and that wait in the scheduler.
    var arrivals = Ring<UInt64>()
    /// Whether a `release` is scheduled.
    var isArmed = false
}

extension VolumePolicy {
    /// What the scheduler is to enforce.
    var schedulerPolicy: QoSPolicy {
        var policy = qos
        if case .qemu = enforcement { (policy.minIOPS, policy.maxIOPS, policy.burstIOPS) = (nil, nil, nil) }
        return policy
    }

    /// In cost units a second; 0 where nobody guarantees one.
    var minimumCost: Int64 {
        guard let minimum = schedulerPolicy.minIOPS else { return 0 }
        return Int64(clamping: min(minimum, 1 << 40)) * CostCurve.unit
    }
}
