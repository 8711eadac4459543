import BlockStorage
import VolumeQoS

/// What is simulated: a cluster, volumes with policies and workloads, and what happens to them.
///
/// All times are nanoseconds from the beginning.
public struct Scenario: Sendable {
    /// Who decides which request goes next.
    public enum Discipline: String, Sendable, CaseIterable {
        /// Sluice's scheduler.
        case qos
        /// Whoever came first, as a device without a scheduler does: policies hold nobody back, unless a limiter in the
        /// hypervisor does.
        case fifo
    }

    public var name: String
    public var seed: UInt64 = 1
    public var duration: UInt64
    /// Rates, minimums and percentiles are taken over windows of this length.
    public var window: UInt64 = 1_000_000_000
    public var discipline = Discipline.qos
    public var scheduler = QoSScheduler.Options()
    /// What a request costs in hundredths of a 4 KiB operation, to policies and to nodes that have no curve of their own.
    public var curve = CostCurve.element
    public var cluster: Cluster
    public var volumes: [VolumeGroup]
    public var events: [ScheduledEvent] = []
    public var checks: [Check] = []

    /// A scenario with the scheduler's defaults, a window of a second and the seed 1.
    public init(name: String, duration: UInt64, cluster: Cluster, volumes: [VolumeGroup]) {
        (self.name, self.duration, self.cluster, self.volumes) = (name, duration, cluster, volumes)
    }
}

/// Volumes that are alike.
public struct VolumeGroup: Sendable {
    /// With a count above 1 the volumes are called `name-1`, `name-2` and so on.
    public var name: String
    public var count = 1
    public var policy: VolumePolicy
    public var workloads: [Workload]

    /// A group of one volume.
    public init(name: String, policy: VolumePolicy, workloads: [Workload]) {
        (self.name, self.policy, self.workloads) = (name, policy, workloads)
    }

    /// The name of one volume of the group.
    func volumeName(_ index: Int) -> String { count == 1 ? name : "\(name)-\(index + 1)" }
}

/// The limits of a volume, and who enforces them.
public struct VolumePolicy: Sendable, Equatable {
    public enum Enforcement: Sendable, Equatable {
        /// The scheduler of the scenario.
        case scheduler
        /// QEMU's throttle in front of it.
        case qemu(QEMULimits)
    }

    public var name: String?
    public var qos: QoSPolicy
    /// Burst that is saved at the beginning, in seconds.
    public var creditSeconds: Int64 = 0
    public var enforcement = Enforcement.scheduler

    /// A policy without credit that the scheduler enforces.
    public init(_ qos: QoSPolicy, name: String? = nil) { (self.qos, self.name) = (qos, name) }
}

/// QEMU's `throttling.iops-total` and what goes with it.
public struct QEMULimits: Sendable, Equatable {
    /// `iops-total`, in requests a second.
    public var average: UInt64
    /// `iops-total-max`; nil for none.
    public var burst: UInt64?
    /// `iops-total-max-length`, in seconds.
    public var burstSeconds: UInt64 = 1
    /// `iops-size`: larger requests count in proportion; nil where each counts once.
    public var requestSize: UInt64?

    /// Limits as QEMU takes them.
    public init(average: UInt64, burst: UInt64? = nil, burstSeconds: UInt64 = 1, requestSize: UInt64? = nil) {
        (self.average, self.burst, self.burstSeconds, self.requestSize) = (average, burst, burstSeconds, requestSize)
    }
}

/// The nodes that serve requests together: a request goes to the node that is free first.
public struct Cluster: Sendable {
    public var nodes: [NodeGroup]
    /// What a write costs the nodes, in times what it costs its volume: 2 where each is kept twice.
    public var copies: Int64 = 1
    /// Bytes on the nodes, with all copies: what has to be moved when nodes come and go.
    public var storedBytes: UInt64 = 0
    /// The part of every node that recovery takes while there is something to move, in percent.
    public var recoveryPercent: UInt64 = 25
    /// Bytes that recovery moves by one request.
    public var recoveryRequestSize: UInt64 = 262_144
    /// How long until requests that were on a lost node go to another one.
    public var failover: UInt64 = 0

    /// A cluster that stores nothing that has to be moved.
    public init(nodes: [NodeGroup]) { self.nodes = nodes }
}

/// Nodes that are alike.
public struct NodeGroup: Sendable {
    /// With a count above 1 the nodes are called `name-1`, `name-2` and so on.
    public var name: String
    public var count = 1
    /// Operations of 4 KiB that one node does in a second.
    public var iops: UInt64
    /// What other sizes cost the node; nil for the scenario's curve.
    public var curve: CostCurve?
    /// Requests that one node works on at the same time.
    public var slots = 128
    /// What a request takes beside its share of the node's operations.
    public var readLatency: ClosedRange<UInt64> = 200_000...200_000
    public var writeLatency: ClosedRange<UInt64> = 200_000...200_000
    /// The data on one node, in relation to the others.
    public var weight: UInt64 = 1

    /// A group of one node.
    public init(name: String, iops: UInt64) { (self.name, self.iops) = (name, iops) }

    /// The name of one node of the group.
    func nodeName(_ index: Int) -> String { count == 1 ? name : "\(name)-\(index + 1)" }
}

/// What happens at a given time.
public struct ScheduledEvent: Sendable {
    public enum Change: Sendable {
        /// The node dies: its data has to be copied again from the others.
        case lose(node: String)
        /// A lost node comes back empty.
        case restore(node: String)
        /// Nodes join, and get their part of the data.
        case expand(NodeGroup)
        /// The volumes of a group get another policy.
        case setPolicy(group: String, VolumePolicy)
    }

    public var time: UInt64
    public var change: Change

    /// A change at `time`.
    public init(at time: UInt64, _ change: Change) { (self.time, self.change) = (time, change) }
}
