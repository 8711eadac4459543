import BlockStorage
import VolumeQoS

/// A scenario in virtual time: the scheduler that serves live volumes, on a cluster that is a model.
///
/// The same scenario gives the same result, to the last bit. Memory does not depend on how long it simulates.
public struct Simulation {
    /// How far a simulation is.
    public struct Progress: Sendable {
        /// Simulated, of the scenario's duration, in nanoseconds.
        public var time: UInt64
        public var duration: UInt64
        /// Requests so far.
        public var requests: UInt64
    }

    /// A request that a node works on.
    struct Flight {
        var code: RequestCode
        var arrival: UInt64
        var cost: Int64
        var node: Int32
        var life: UInt32
    }

    /// A request that waits in the order in which it came.
    struct Waiting {
        var code: RequestCode
        var cost: Int64
        var arrival: UInt64
    }

    let scenario: Scenario
    var now: UInt64 = 0
    var events = EventQueue()
    var streams: [RequestStream] = []
    var volumes: [VolumeState] = []
    let groups: [GroupState]
    var scheduler: QoSScheduler
    /// Requests in the order in which they came, without a scheduler.
    var line = Ring<Waiting>()
    var limiters: [Limiter] = []
    var nodes: NodeSet
    let costs: CostTable
    /// When a request may go, as far as is known; `UInt64.max` while none waits.
    var dispatchTime = UInt64.max
    var flights: [Flight] = []
    var freeFlights: [Int] = []
    /// Flights whose node was lost, to be begun again before anything else.
    var again = Ring<Int>()
    var requests: UInt64 = 0
    var records: Records

    /// Prepares a scenario. Throws `invalidArgument` for one that is too large, and what opening a trace throws.
    public init(_ scenario: Scenario) throws(StorageError) {
        self.scenario = scenario
        scheduler = QoSScheduler(scenario.scheduler)
        nodes = NodeSet(scenario)
        costs = CostTable(scenario.curve)
        var first = 0
        groups = scenario.volumes.map { group in
            defer { first += group.count }
            return GroupState(name: group.name, volumes: first..<(first + group.count))
        }
        records = Records(scenario, groups: groups)
        let streamCount = scenario.volumes.reduce(0) { $0 + $1.count * $1.workloads.count }
        guard max(first, streamCount) < EventQueue.largestIndex else {
            throw StorageError(.invalidArgument, "simulate", at: scenario.name, why: "more than a million workloads")
        }
        for group in scenario.volumes {
            for index in 0..<group.count { try add(group.volumeName(index), group) }
        }
        setAllowances()
        for index in streams.indices where streams[index].start < streams[index].stop {
            events.schedule(.activity, index, at: streams[index].start)
        }
    }

    private mutating func add(_ name: String, _ group: VolumeGroup) throws(StorageError) {
        let volume = volumes.count
        volumes.append(VolumeState(name: name, policy: group.policy))
        // Every volume is one of the scheduler's, under the same index.
        _ = scheduler.add(group.policy.schedulerPolicy, creditSeconds: group.policy.creditSeconds, now: 0)
        setLimiter(of: volume, group.policy)
        for workload in group.workloads {
            streams.append(try RequestStream(workload, volume: volume, index: streams.count, seed: scenario.seed))
        }
    }

    /// Simulates to the end. `progress` is called after each window. Throws what reading a trace throws.
    public mutating func run(progress: (Progress) -> Void = { _ in }) throws(StorageError) -> RunResult {
        beginRecords()
        while true {
            let eventTime = events.nextTime
            let time = min(eventTime, dispatchTime)
            if records.nextControl <= time {
                now = records.nextControl
                if control() {
                    progress(Progress(time: now, duration: scenario.duration, requests: requests))
                }
                if now >= scenario.duration { break }
                continue
            }
            now = time
            if eventTime <= now {
                try handleEvent()
            } else {
                dispatch()
            }
        }
        return result()
    }

    private mutating func handleEvent() throws(StorageError) {
        guard let (kind, index) = events.popFirst() else { return }
        switch kind {
        case .completion: complete(index)
        case .arrival: try arrive(index)
        case .activity: try changeActivity(index)
        case .release: release(index)
        }
    }
}
