import VolumeQoS

/// What one run of a scenario came to.
public struct RunResult: Sendable {
    /// A volume over the whole run.
    public struct Volume: Sendable {
        public var name: String
        public var group: String
        public var policy: VolumePolicy
        /// Operations of 4 KiB a second.
        public var iops: Double
        public var requests: UInt64
        public var bytes: UInt64
        public var latency: LatencyHistogram
        /// Seconds of burst at the end.
        public var credit: Double
        /// The least of its minimum in a window in which it wanted all of it, in percent; nil where it never did.
        public var lowestAttainment: Double?
        public var missedWindows: UInt64
        public var backloggedWindows: UInt64
    }

    public var name: String
    public var seed: UInt64
    /// Nanoseconds.
    public var duration: UInt64
    public var window: UInt64
    public var requests: UInt64
    public var volumes: [Volume]
    public var checks: [CheckResult]
    /// In percent of the nodes' time.
    public var utilisation: Double
    /// Operations of 4 KiB a second, on average.
    public var capacity: Double
    public var timeRecovering: UInt64
    public var bytesMoved: UInt64
    var tracks: [Records.Track]
    var cluster: ThinnedSeries<ClusterPoint>

    /// Operations of 4 KiB a second of a volume, or on average of each of a group that is plotted as one, in each window; of
    /// several windows together where the run has more than 600. Empty where nothing of that name was kept.
    public func windows(of name: String) -> [Double] {
        tracks.first { $0.name == name }?.series.points.map(\.iops) ?? []
    }

    /// Windows in which some volume got less than its minimum although it wanted it.
    public var missedMinimums: UInt64 { volumes.reduce(0) { $0 + $1.missedWindows } }
}

extension Simulation {
    mutating func result() -> RunResult {
        let seconds = Double(scenario.duration) / 1e9
        var summaries: [RunResult.Volume] = []
        for (index, group) in groups.enumerated() {
            for volume in group.volumes {
                let state = volumes[volume]
                summaries.append(
                    RunResult.Volume(
                        name: state.name, group: groups[index].name, policy: state.policy,
                        iops: (Double(state.totals.cost) + Double(state.windowCost)) / Double(CostCurve.unit) / seconds,
                        requests: state.totals.requests, bytes: state.totals.bytes, latency: state.latency,
                        credit: creditSeconds(of: volume),
                        lowestAttainment: state.lowestAttainment.map { Double($0) / 10_000 },
                        missedWindows: state.missedWindows, backloggedWindows: state.backloggedWindows))
            }
        }
        return RunResult(
            name: scenario.name, seed: scenario.seed, duration: scenario.duration, window: scenario.window,
            requests: requests, volumes: summaries, checks: records.probes.compactMap(\.result),
            utilisation: records.totals.possible > 0
                ? records.totals.busy / records.totals.possible * 100 : 0,
            capacity: records.totals.capacity / seconds, timeRecovering: records.totals.timeRecovering,
            bytesMoved: records.totals.bytesMoved, tracks: records.tracks, cluster: records.cluster)
    }
}
