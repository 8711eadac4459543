import BlockStorage
import VolumeQoS

/// What is written down while a scenario is simulated.
struct Records {
    /// One volume, or a group of many, whose figures are kept over time.
    struct Track {
        let name: String
        let group: Int
        let volumes: Range<Int>
        /// Of this window.
        var latency = LatencyHistogram()
        var series = ThinnedSeries<TrackPoint>()
    }

    /// A check while it waits for its time, and runs.
    struct Probe {
        let check: Check
        let volumes: Range<Int>
        let start: UInt64
        let end: UInt64
        var isRunning = false
        var totals: [VolumeState.Totals] = []
        var latency: LatencyHistogram?
        var missed: [UInt64] = []
        var cluster = ClusterTotals()
        /// The least of a minimum in a window, in parts of a million; nil where none was wanted whole.
        var lowestAttainment: Int64?
        var result: CheckResult?
    }

    /// What the cluster did since the beginning.
    struct ClusterTotals {
        /// Operations of 4 KiB that there was capacity for.
        var capacity = 0.0
        /// Nanoseconds of the nodes.
        var busy = 0.0
        var possible = 0.0
        var timeRecovering: UInt64 = 0
        var bytesMoved: UInt64 = 0
    }

    /// More lines than this cannot be told apart: where there are more volumes, each group is one track.
    private static let mostVolumes = 8
    private static let mostTracks = 48

    var tracks: [Track] = []
    var cluster = ThinnedSeries<ClusterPoint>()
    var probes: [Probe] = []
    var events: [ScheduledEvent]
    var nextEvent = 0
    var windowStart: UInt64 = 0
    var nextControl: UInt64 = 0
    var settled: UInt64 = 0
    var totals = ClusterTotals()
    /// At the beginning of the window.
    var windowTotals = ClusterTotals()
    /// When each node was lost last.
    var lossTimes: [UInt64]

    init(_ scenario: Scenario, groups: [GroupState]) {
        events = scenario.events.enumerated()
            .sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
        lossTimes = []
        let areMany = scenario.volumes.reduce(0) { $0 + $1.count } > Self.mostVolumes
        for (index, group) in groups.enumerated().prefix(Self.mostTracks) {
            if group.volumes.count == 1 || !areMany {
                for (offset, volume) in group.volumes.enumerated() {
                    let name = scenario.volumes[index].volumeName(offset)
                    tracks.append(Track(name: name, group: index, volumes: volume..<(volume + 1)))
                }
            } else {
                tracks.append(Track(name: group.name, group: index, volumes: group.volumes))
            }
        }
    }
}

extension Simulation {
    // MARK: Beginning

    /// How much less than its minimum a volume may get in a window although the scheduler does its duty: some of its
    /// largest requests, which are not split.
    mutating func setAllowances() {
        var largest = [Int64](repeating: CostCurve.unit, count: volumes.count)
        for stream in streams {
            largest[stream.volume] = max(largest[stream.volume], costs.cost(of: stream.largestSize))
        }
        let capacity = max(1, Int128(nodes.capacity * Double(CostCurve.unit)))
        for index in volumes.indices {
            let share = Int128(volumes.count) * Int128(volumes[index].minimum) / capacity
            let bound = Int64(clamping: Int128(largest[index]) * (2 + share))
            volumes[index].allowance = max(bound, Self.amount(volumes[index].minimum, over: scenario.window) / 50)
        }
    }

    /// Cost units that come at a rate in a time.
    static func amount(_ rate: Int64, over time: UInt64) -> Int64 {
        Int64(clamping: Int128(rate) * Int128(time) / 1_000_000_000)
    }

    mutating func beginRecords() {
        for (index, track) in records.tracks.enumerated() {
            for volume in track.volumes { volumes[volume].track = Int32(index) }
        }
        records.probes = scenario.checks.filter { $0.metric != .moreVolumes }.map { check in
            Records.Probe(
                check: check, volumes: range(of: check.volume), start: min(check.start, scenario.duration),
                end: min(check.end ?? .max, scenario.duration))
        }
        records.lossTimes = nodes.nodes.map { _ in 0 }
        setNextControl()
    }

    /// The volumes of that name; all where there is no name, none where nothing has it.
    private func range(of name: String?) -> Range<Int> {
        guard let name else { return volumes.indices }
        if let group = groups.first(where: { $0.name == name }) { return group.volumes }
        if let index = volumes.firstIndex(where: { $0.name == name }) { return index..<(index + 1) }
        return 0..<0
    }

    private mutating func setNextControl() {
        var next = min(scenario.duration, records.windowStart.saturatingSum(scenario.window), nodes.recoveryEnd)
        if records.nextEvent < records.events.count { next = min(next, records.events[records.nextEvent].time) }
        for probe in records.probes where probe.result == nil {
            next = min(next, probe.isRunning ? probe.end : probe.start)
        }
        records.nextControl = max(next, now)
    }

    // MARK: What is due

    /// Does what is due now besides requests. Returns whether a window has ended.
    mutating func control() -> Bool {
        settle()
        let endsWindow = now == records.windowStart.saturatingSum(scenario.window)
        if endsWindow { endWindow() }
        for index in records.probes.indices where records.probes[index].result == nil {
            if !records.probes[index].isRunning, records.probes[index].start <= now { startProbe(index) }
            if records.probes[index].isRunning, records.probes[index].end <= now { endProbe(index) }
        }
        while records.nextEvent < records.events.count, records.events[records.nextEvent].time <= now {
            let change = records.events[records.nextEvent].change
            records.nextEvent += 1
            apply(change)
        }
        setNextControl()
        return endsWindow
    }

    /// Books what the nodes could do until now.
    private mutating func settle() {
        let elapsed = now - records.settled
        records.totals.capacity += nodes.capacity * Double(elapsed) / 1e9
        let (busy, possible) = nodes.takeBusyTime(duration: elapsed)
        records.totals.busy += busy
        records.totals.possible += possible
        nodes.advanceRecovery(to: now)
        records.totals.timeRecovering = nodes.timeRecovering
        records.totals.bytesMoved = nodes.bytesMoved
        records.settled = now
    }

    private mutating func apply(_ change: ScheduledEvent.Change) {
        switch change {
        case .lose(let node):
            nodes.lose(node, now: now)
            for index in nodes.nodes.indices where nodes.nodes[index].name == node { records.lossTimes[index] = now }
        case .restore(let node): nodes.restore(node, now: now)
        case .expand(let group):
            nodes.expand(group, now: now)
            records.lossTimes += Array(repeating: 0, count: nodes.nodes.count - records.lossTimes.count)
        case .setPolicy(let group, let policy):
            for volume in range(of: group) {
                scheduler.setPolicy(policy.schedulerPolicy, of: volume, now: now)
                volumes[volume].policy = policy
                volumes[volume].minimum = policy.minimumCost
                setLimiter(of: volume, policy)
            }
            setAllowances()
        }
        // Whatever waits may go now.
        dispatchTime = now
    }

    // MARK: Windows

    private mutating func endWindow() {
        let start = records.windowStart
        let seconds = Double(scenario.window) / 1e9
        var total: Int64 = 0
        var waiting = 0
        for index in volumes.indices {
            let cost = volumes[index].windowCost
            total = Int64(clamping: Int128(total) + Int128(cost))
            waiting += Int(volumes[index].waiting)
            let (sum, overflow) = volumes[index].totals.cost.addingReportingOverflow(cost)
            volumes[index].totals.cost = overflow ? .max : sum
            let minimum = volumes[index].minimum
            guard minimum > 0, volumes[index].waiting > 0, volumes[index].backloggedSince <= start else { continue }
            let due = Self.amount(minimum, over: scenario.window)
            let attainment = Int64(clamping: Int128(cost) * 1_000_000 / Int128(max(1, due)))
            volumes[index].backloggedWindows += 1
            volumes[index].lowestAttainment = min(volumes[index].lowestAttainment ?? .max, attainment)
            if cost < due - volumes[index].allowance { volumes[index].missedWindows += 1 }
            for probe in records.probes.indices
            where records.probes[probe].check.metric == .minimumAttainment && records.probes[probe].isRunning
                && records.probes[probe].start <= start
                && records.probes[probe].volumes.contains(index)
            {
                records.probes[probe].lowestAttainment = min(records.probes[probe].lowestAttainment ?? .max, attainment)
            }
        }
        for track in records.tracks.indices { appendPoint(to: track, start: start, seconds: seconds) }
        for index in volumes.indices { volumes[index].windowCost = 0 }
        let (totals, before) = (records.totals, records.windowTotals)
        let possible = totals.possible - before.possible
        records.cluster.append(
            ClusterPoint(
                iops: Double(total) / Double(CostCurve.unit) / seconds,
                capacity: (totals.capacity - before.capacity) / seconds,
                utilisation: possible > 0 ? (totals.busy - before.busy) / possible * 100 : 0,
                waiting: Double(waiting), isRecovering: totals.timeRecovering > before.timeRecovering))
        records.windowTotals = totals
        records.windowStart = now
    }

    private mutating func appendPoint(to index: Int, start: UInt64, seconds: Double) {
        let range = records.tracks[index].volumes
        var sum = 0.0
        var lowest = Double.infinity
        var highest = 0.0
        var credit = 0.0
        var attainment: Double?
        for volume in range {
            let cost = volumes[volume].windowCost
            let iops = Double(cost) / Double(CostCurve.unit) / seconds
            sum += iops
            lowest = min(lowest, iops)
            highest = max(highest, iops)
            credit += creditSeconds(of: volume)
            let minimum = volumes[volume].minimum
            guard minimum > 0, volumes[volume].waiting > 0, volumes[volume].backloggedSince <= start else { continue }
            let percent = Double(cost) / Double(max(1, Self.amount(minimum, over: scenario.window))) * 100
            attainment = min(attainment ?? percent, percent)
        }
        let count = Double(max(1, range.count))
        let latency = records.tracks[index].latency
        records.tracks[index].series.append(
            TrackPoint(
                iops: sum / count, lowest: lowest, highest: highest, credit: credit / count,
                p50: latency.percentile(50), p99: latency.percentile(99), attainment: attainment))
        records.tracks[index].latency.reset()
    }

    /// Burst that a volume has saved, in seconds of bursting; 0 where it has no burst.
    mutating func creditSeconds(of volume: Int) -> Double {
        let policy = volumes[volume].policy.schedulerPolicy
        guard let maximum = policy.maxIOPS, let burst = policy.burstIOPS, burst > maximum else { return 0 }
        let saved = Double(scheduler.credit(of: volume, now: now)) / Double(CostCurve.unit)
        return min(saved / Double(burst - maximum), Double(scenario.scheduler.burstSeconds))
    }
}
