import BlockStorage
import Foundation
import VolumeQoS

extension ScenarioReport {
    /// The report as JSON: the same bytes for the same scenario.
    public func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(ReportDocument(self)), as: UTF8.self) + "\n"
    }

    /// What was measured over time as comma-separated values: a row a point of each volume, or group of many, and of the
    /// cluster.
    public func csv() -> String {
        var text =
            "run,name,time_s,iops,iops_lowest,iops_highest,credit_s,latency_p50_us,latency_p99_us,"
            + "minimum_attainment_percent,capacity_iops,utilisation_percent\n"
        for run in runs {
            let name = Self.field(run.name)
            for track in run.tracks {
                let volume = Self.field(track.name)
                for (index, point) in track.series.points.enumerated() {
                    let attainment = point.attainment.map { decimal($0, 2) } ?? ""
                    text +=
                        "\(name),\(volume),\(time(index, run, track.series.windowsPerPoint)),\(decimal(point.iops, 2)),"
                        + "\(decimal(point.lowest, 2)),\(decimal(point.highest, 2)),\(decimal(point.credit, 3)),"
                        + "\(decimal(Double(point.p50) / 1000, 1)),\(decimal(Double(point.p99) / 1000, 1)),\(attainment),,\n"
                }
            }
            for (index, point) in run.cluster.points.enumerated() {
                text +=
                    "\(name),(cluster),\(time(index, run, run.cluster.windowsPerPoint)),\(decimal(point.iops, 2)),,,,,,,"
                    + "\(decimal(point.capacity, 2)),\(decimal(point.utilisation, 2))\n"
            }
        }
        return text
    }

    /// The end of a point, in seconds.
    private func time(_ index: Int, _ run: RunResult, _ windows: Int) -> String {
        decimal(run.seconds(afterPoint: index, of: windows), 3)
    }

    private static func field(_ text: String) -> String {
        guard text.contains(where: { ",\"\n\r".contains($0) }) else { return text }
        return "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }
}

extension RunResult {
    /// When a point of a series ends, in seconds.
    func seconds(afterPoint index: Int, of windows: Int) -> Double {
        Double(index + 1) * Double(windows) * Double(window) / 1e9
    }
}

extension CheckResult {
    /// `4,000 IOPS`, `990 to 1,010 IOPS`, or that nothing was measured.
    public var measuredText: String {
        guard let measured else { return "nothing" }
        let (low, high) = (Self.text(measured.lowerBound, check.metric), Self.text(measured.upperBound, check.metric))
        return low == high ? low : "\(low) to \(high)"
    }

    /// What the check asks for.
    public var wantedText: String {
        switch (check.atLeast, check.atMost) {
        case (let low?, let high?): "\(Self.text(low, check.metric)) to \(Self.text(high, check.metric))"
        case (let low?, nil): "at least \(Self.text(low, check.metric))"
        case (nil, let high?): "at most \(Self.text(high, check.metric))"
        case (nil, nil): "anything"
        }
    }

    /// What it is about: the metric, of whom, and when.
    public var subjectText: String {
        let volume = check.volume.map { " of \($0)" } ?? ""
        let interval =
            check.start > 0 || check.end != nil
            ? ", \(decimal(Double(check.start) / 1e9, 1)) s to \(check.end.map { decimal(Double($0) / 1e9, 1) + " s" } ?? "the end")"
            : ""
        return check.metric.rawValue + volume + interval
    }

    private static func text(_ value: Double, _ metric: Check.Metric) -> String {
        switch metric.unit {
        case "ns": value < 1e6 ? "\(decimal(value / 1e3, 1)) µs" : "\(decimal(value / 1e6, 2)) ms"
        case "%": "\(decimal(value, 1)) %"
        case "s": "\(decimal(value, 1)) s"
        case "volumes", "windows": decimal(value, 0)
        case let unit: "\(grouped(value, value < 100 ? 2 : 0)) \(unit)"
        }
    }
}

/// The layout of report.json.
private struct ReportDocument: Encodable {
    struct Run: Encodable {
        var name: String
        var seed: UInt64
        var durationSeconds: Double
        var windowSeconds: Double
        var requests: UInt64
        var capacityIOPS: Double
        var utilisationPercent: Double
        var recoverySeconds: Double
        var bytesMoved: UInt64
        var missedMinimums: UInt64
        var volumes: [Volume]
        var series: [Series]
        var cluster: ClusterSeries
    }

    struct Volume: Encodable {
        var name: String
        var group: String
        var minIOPS: UInt64?
        var maxIOPS: UInt64?
        var burstIOPS: UInt64?
        var enforcedBy: String
        var iops: Double
        var requests: UInt64
        var bytes: UInt64
        var creditSeconds: Double
        var lowestAttainmentPercent: Double?
        var missedMinimums: UInt64
        var latencyNanoseconds: [String: UInt64]
    }

    struct Series: Encodable {
        var name: String
        var volumes: Int
        var secondsPerPoint: Double
        var iops: [Double]
        var lowestIOPS: [Double]
        var highestIOPS: [Double]
        var creditSeconds: [Double]
        var latencyP50: [UInt64]
        var latencyP99: [UInt64]
        var attainmentPercent: [Double?]
    }

    struct ClusterSeries: Encodable {
        var secondsPerPoint: Double
        var iops: [Double]
        var capacityIOPS: [Double]
        var utilisationPercent: [Double]
        var waiting: [Double]
    }

    struct CheckDocument: Encodable {
        var run: String
        var line: Int
        var metric: String
        var volume: String?
        var unit: String
        var atLeast: Double?
        var atMost: Double?
        var lowest: Double?
        var highest: Double?
        var passed: Bool
    }

    struct Search: Encodable {
        var group: String
        var run: String
        var more: Int
        var reason: String?
    }

    var name: String
    var about: String
    var passed: Bool
    var runs: [Run]
    var checks: [CheckDocument]
    var search: Search?

    init(_ report: ScenarioReport) {
        (name, about, passed) = (report.name, report.text, report.passed)
        runs = report.runs.map(Run.init)
        checks = report.checks.map { run, result in
            CheckDocument(
                run: run, line: result.check.line, metric: result.check.metric.rawValue, volume: result.check.volume,
                unit: result.check.metric.unit, atLeast: result.check.atLeast.map(rounded),
                atMost: result.check.atMost.map(rounded), lowest: (result.measured?.lowerBound).map(rounded),
                highest: (result.measured?.upperBound).map(rounded), passed: result.passed)
        }
        search = report.search.map { Search(group: $0.group, run: $0.run, more: $0.more, reason: $0.reason) }
    }
}

/// To three decimals, which is more than a simulation means.
private func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }

extension ReportDocument.Run {
    init(_ run: RunResult) {
        let window = Double(run.window) / 1e9
        self.init(
            name: run.name, seed: run.seed, durationSeconds: Double(run.duration) / 1e9, windowSeconds: window,
            requests: run.requests, capacityIOPS: rounded(run.capacity), utilisationPercent: rounded(run.utilisation),
            recoverySeconds: Double(run.timeRecovering) / 1e9, bytesMoved: run.bytesMoved,
            missedMinimums: run.missedMinimums, volumes: run.volumes.map(ReportDocument.Volume.init),
            series: run.tracks.map { track in
                let points = track.series.points
                return ReportDocument.Series(
                    name: track.name, volumes: track.volumes.count,
                    secondsPerPoint: window * Double(track.series.windowsPerPoint),
                    iops: points.map { rounded($0.iops) }, lowestIOPS: points.map { rounded($0.lowest) },
                    highestIOPS: points.map { rounded($0.highest) }, creditSeconds: points.map { rounded($0.credit) },
                    latencyP50: points.map(\.p50), latencyP99: points.map(\.p99),
                    attainmentPercent: points.map { $0.attainment.map(rounded) })
            },
            cluster: ReportDocument.ClusterSeries(
                secondsPerPoint: window * Double(run.cluster.windowsPerPoint),
                iops: run.cluster.points.map { rounded($0.iops) },
                capacityIOPS: run.cluster.points.map { rounded($0.capacity) },
                utilisationPercent: run.cluster.points.map { rounded($0.utilisation) },
                waiting: run.cluster.points.map { rounded($0.waiting) }))
    }
}

extension ReportDocument.Volume {
    init(_ volume: RunResult.Volume) {
        let latency = volume.latency
        let enforcedBy = if case .qemu = volume.policy.enforcement { "hypervisor" } else { "sluice" }
        self.init(
            name: volume.name, group: volume.group, minIOPS: volume.policy.qos.minIOPS,
            maxIOPS: volume.policy.qos.maxIOPS, burstIOPS: volume.policy.qos.burstIOPS, enforcedBy: enforcedBy,
            iops: rounded(volume.iops), requests: volume.requests, bytes: volume.bytes,
            creditSeconds: rounded(volume.credit), lowestAttainmentPercent: volume.lowestAttainment.map(rounded),
            missedMinimums: volume.missedWindows,
            latencyNanoseconds: [
                "mean": latency.mean, "p50": latency.percentile(50), "p90": latency.percentile(90),
                "p99": latency.percentile(99), "p99.9": latency.percentile(99.9), "max": latency.maximum,
            ])
    }
}
