/// A figure that a run has to reach.
public struct Check: Sendable {
    public enum Metric: String, Sendable, CaseIterable {
        /// Operations of 4 KiB a second of each volume.
        case iops
        /// Operations of 4 KiB a second of all volumes together.
        case totalIOPS = "total-iops"
        /// Requests a second of each volume, whatever their size.
        case requests
        /// Bytes a second of each volume.
        case bandwidth
        /// Times from the arrival of a request to its end, in nanoseconds.
        case latencyMean = "latency-mean"
        case latencyP50 = "latency-p50"
        case latencyP99 = "latency-p99"
        case latencyP999 = "latency-p99.9"
        /// Burst that each volume has saved at the end, in seconds of bursting.
        case credit
        /// The least that a volume got of its minimum in a window in which it had requests waiting all the time, in
        /// percent.
        case minimumAttainment = "minimum-attainment"
        /// Windows in which a volume waited all the time and got less than 98 % of its minimum.
        case missedMinimums = "missed-minimums"
        /// What each volume got, in percent of its minimum.
        case shareOfMinimum = "share-of-minimum"
        /// Operations of 4 KiB a second that the cluster has for volumes.
        case capacity
        /// The time that the nodes were busy, in percent.
        case utilisation
        /// How long data was moved, in seconds.
        case recoveryTime = "recovery-time"
        /// The part of the data that was moved, in percent.
        case movedData = "moved-data"
        /// How many more volumes the search found room for.
        case moreVolumes = "more-volumes"
    }

    public var metric: Metric
    /// A volume or a group of them; nil for all.
    public var volume: String?
    /// The run that is checked; nil for all.
    public var run: String?
    public var start: UInt64 = 0
    /// Nil for the end of the run.
    public var end: UInt64?
    public var atLeast: Double?
    public var atMost: Double?
    /// Where the check stands, for reports.
    public var line = 0

    /// A check that anything passes until bounds are set.
    public init(_ metric: Metric) { self.metric = metric }
}
