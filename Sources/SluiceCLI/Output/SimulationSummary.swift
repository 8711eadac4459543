import BlockStorage
import QoSSimulator

/// What `qos simulate` prints of a report.
struct SimulationSummary {
    let report: ScenarioReport
    let directory: String
    let elapsed: Duration

    private static let mostRows = 20

    private var requests: UInt64 { report.runs.reduce(0) { $0 + $1.requests } }
    private var requestsPerSecond: Double { Double(requests) / max(elapsed / .seconds(1), 1e-9) }

    var text: String {
        var parts = [volumes]
        if !report.checks.isEmpty { parts.append(checks) }
        if let search = report.search {
            let reason = search.reason.map { "; with one more, \($0)" } ?? ", where the search ended"
            parts.append("Room for \(search.more) more of \(search.group)\(reason).")
        }
        let failed = report.checks.count { !$0.result.passed }
        let outcome =
            report.checks.isEmpty ? "" : "\(report.checks.count - failed) checks passed, \(failed) failed. "
        parts.append(
            "\(outcome)\(requests) requests in \(Times.text(elapsed)). The plots are in \(directory)/report.html.")
        return parts.joined(separator: "\n\n")
    }

    private var volumes: String {
        var table = TextTable(
            .text("VOLUME"), .number("IOPS"), .number("MIN"), .number("MAX"), .number("P50"), .number("P99"),
            .number("LEAST OF MIN"), .number("MISSED"))
        let isComparison = report.runs.count > 1
        var left = 0
        for run in report.runs {
            left += max(0, run.volumes.count - Self.mostRows)
            for volume in run.volumes.prefix(Self.mostRows) {
                table.add(
                    isComparison ? "\(run.name): \(volume.name)" : volume.name, Times.fixed(volume.iops, 0),
                    volume.policy.qos.minIOPS.map { "\($0)" } ?? "-",
                    volume.policy.qos.maxIOPS.map { "\($0)" } ?? "-", time(volume.latency.percentile(50)),
                    time(volume.latency.percentile(99)),
                    volume.lowestAttainment.map { Times.fixed($0, 0) + " %" } ?? "-", "\(volume.missedWindows)")
            }
        }
        return table.text(width: Terminal.width) + (left > 0 ? "\nand \(left) more volumes" : "")
    }

    private var checks: String {
        var table = TextTable(.text("CHECK"), .text("WANTED"), .text("GOT"), .text(""))
        for (run, result) in report.checks {
            let subject = report.runs.count > 1 ? "\(run): \(result.subjectText)" : result.subjectText
            table.add(subject, result.wantedText, result.measuredText, result.passed ? "passed" : "FAILED")
        }
        return table.text(width: Terminal.width)
    }

    private func time(_ nanoseconds: UInt64) -> String { Times.text(.nanoseconds(Int64(clamping: nanoseconds))) }

    var json: JSON {
        let runs = report.runs.map { run -> JSON in
            [
                "name": .string(run.name), "requests": .unsigned(run.requests),
                "missedMinimums": .unsigned(run.missedMinimums),
                "volumes": .array(
                    run.volumes.map { volume in
                        [
                            "name": .string(volume.name), "iops": .double(volume.iops),
                            "latencyP50": .unsigned(volume.latency.percentile(50)),
                            "latencyP99": .unsigned(volume.latency.percentile(99)),
                            "lowestAttainmentPercent": volume.lowestAttainment.map(JSON.double) ?? .null,
                            "missedMinimums": .unsigned(volume.missedWindows),
                        ]
                    }),
            ]
        }
        let checks = report.checks.map { run, result -> JSON in
            [
                "run": .string(run), "line": .signed(Int64(result.check.line)),
                "metric": .string(result.check.metric.rawValue), "volume": JSON(result.check.volume),
                "unit": .string(result.check.metric.unit), "atLeast": result.check.atLeast.map(JSON.double) ?? .null,
                "atMost": result.check.atMost.map(JSON.double) ?? .null,
                "lowest": (result.measured?.lowerBound).map(JSON.double) ?? .null,
                "highest": (result.measured?.upperBound).map(JSON.double) ?? .null, "passed": .bool(result.passed),
            ]
        }
        return [
            "name": .string(report.name), "passed": .bool(report.passed), "runs": .array(runs),
            "checks": .array(checks),
            "search": report.search.map { search in
                [
                    "group": .string(search.group), "run": .string(search.run), "more": .signed(Int64(search.more)),
                    "reason": JSON(search.reason),
                ]
            } ?? .null,
            "output": .string(directory), "requestsPerSecond": .double(requestsPerSecond),
        ]
    }
}
