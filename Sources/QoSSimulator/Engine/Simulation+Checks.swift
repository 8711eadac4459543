import BlockStorage
import VolumeQoS

/// What became of a check.
public struct CheckResult: Sendable {
    public var check: Check
    /// The lowest and the highest of the volumes that it is about; nil where nothing was measured.
    public var measured: ClosedRange<Double>?
    public var passed: Bool

    /// Compares what was measured with what the check asks for.
    init(_ check: Check, measured: ClosedRange<Double>?) {
        (self.check, self.measured) = (check, measured)
        passed =
            measured.map { range in
                check.atLeast.map { range.lowerBound >= $0 } ?? true
                    && check.atMost.map { range.upperBound <= $0 } ?? true
            } ?? false
    }
}

extension Simulation {
    mutating func startProbe(_ index: Int) {
        let range = records.probes[index].volumes
        records.probes[index].isRunning = true
        records.probes[index].totals = range.map { totals(of: $0) }
        records.probes[index].missed = range.map { volumes[$0].missedWindows }
        records.probes[index].cluster = records.totals
        if records.probes[index].check.metric.isLatency { records.probes[index].latency = latency(of: range) }
    }

    mutating func endProbe(_ index: Int) {
        records.probes[index].isRunning = false
        let probe = records.probes[index]
        records.probes[index].result = CheckResult(probe.check, measured: measure(probe))
    }

    /// With what has gone in the window that has not ended.
    private func totals(of volume: Int) -> VolumeState.Totals {
        var totals = volumes[volume].totals
        totals.cost = Int64(clamping: Int128(totals.cost) + Int128(volumes[volume].windowCost))
        return totals
    }

    func latency(of range: Range<Int>) -> LatencyHistogram {
        var sum = LatencyHistogram()
        for volume in range { sum.add(volumes[volume].latency) }
        return sum
    }

    private mutating func measure(_ probe: Records.Probe) -> ClosedRange<Double>? {
        let seconds = Double(now - probe.start) / 1e9
        guard seconds > 0 else { return nil }
        func each(_ value: (VolumeState.Totals, VolumeState.Totals, Int) -> Double?) -> ClosedRange<Double>? {
            let values = zip(probe.volumes, probe.totals).compactMap { volume, before in
                value(totals(of: volume), before, volume)
            }
            return Self.range(values)
        }
        func iops(_ after: VolumeState.Totals, _ before: VolumeState.Totals) -> Double {
            Double(after.cost - before.cost) / Double(CostCurve.unit) / seconds
        }
        let latency = probe.latency.map { self.latency(of: probe.volumes).since($0) }
        func time(_ value: (LatencyHistogram) -> UInt64) -> ClosedRange<Double>? {
            latency.flatMap { $0.count > 0 ? Self.range([Double(value($0))]) : nil }
        }
        let (cluster, before) = (records.totals, probe.cluster)
        switch probe.check.metric {
        case .iops: return each { after, before, _ in iops(after, before) }
        case .totalIOPS:
            return Self.range([
                zip(probe.volumes, probe.totals).reduce(0) { $0 + iops(totals(of: $1.0), $1.1) }
            ])
        case .requests: return each { after, before, _ in Double(after.requests - before.requests) / seconds }
        case .bandwidth: return each { after, before, _ in Double(after.bytes - before.bytes) / seconds }
        case .latencyMean: return time(\.mean)
        case .latencyP50: return time { $0.percentile(50) }
        case .latencyP99: return time { $0.percentile(99) }
        case .latencyP999: return time { $0.percentile(99.9) }
        case .credit: return Self.range(probe.volumes.map { creditSeconds(of: $0) })
        case .minimumAttainment:
            return Self.range([probe.lowestAttainment.map { Double($0) / 10_000 }].compactMap(\.self))
        case .missedMinimums:
            return Self.range([
                Double(zip(probe.volumes, probe.missed).reduce(0) { $0 + volumes[$1.0].missedWindows - $1.1 })
            ])
        case .shareOfMinimum:
            return each { after, before, volume in
                let minimum = volumes[volume].minimum
                return minimum > 0 ? iops(after, before) / Double(minimum) * Double(CostCurve.unit) * 100 : nil
            }
        case .capacity: return Self.range([(cluster.capacity - before.capacity) / seconds])
        case .utilisation:
            let possible = cluster.possible - before.possible
            return possible > 0 ? Self.range([(cluster.busy - before.busy) / possible * 100]) : nil
        case .recoveryTime:
            return Self.range([Double(cluster.timeRecovering - before.timeRecovering) / 1e9])
        case .movedData:
            let stored = Double(max(1, scenario.cluster.storedBytes))
            return Self.range([Double(cluster.bytesMoved - before.bytesMoved) / stored * 100])
        case .moreVolumes: return nil
        }
    }

    private static func range(_ values: [Double]) -> ClosedRange<Double>? {
        guard let lowest = values.min(), let highest = values.max() else { return nil }
        return lowest...highest
    }
}

extension Check.Metric {
    var isLatency: Bool {
        switch self {
        case .latencyMean, .latencyP50, .latencyP99, .latencyP999: true
        default: false
        }
    }

    /// What it is counted in: `IOPS`, `requests/s`, `B/s`, `ns`, `s`, `%`, `windows` or `volumes`.
    public var unit: String {
        switch self {
        case .iops, .totalIOPS, .capacity: "IOPS"
        case .requests: "requests/s"
        case .bandwidth: "B/s"
        case .latencyMean, .latencyP50, .latencyP99, .latencyP999: "ns"
        case .credit, .recoveryTime: "s"
        case .minimumAttainment, .shareOfMinimum, .utilisation, .movedData: "%"
        case .missedMinimums: "windows"
        case .moreVolumes: "volumes"
        }
    }
}
