import BlockStorage
import VolumeQoS

extension ScenarioReport {
    /// The report as one page that needs nothing else: neither a network nor a script.
    public func html() -> String {
        var page = """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8"><title>\(escaped(name))</title>
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <link rel="icon" href="data:,"><style>\(ReportStyle.css)</style></head><body>
            <h1>\(escaped(name))</h1>
            <p>\(escaped(text))</p>

            """
        page += checksHTML
        if let search {
            let reason = search.reason.map { "; with one more, \(escaped($0))" } ?? ", where the search ended"
            page += "<p class=\"search\">There is room for <b>\(search.more)</b> more of \(escaped(search.group))"
            page += " in the run \(escaped(search.run))\(reason).</p>\n"
        }
        for (index, run) in runs.enumerated() { page += RunPage(run: run, index: index).html(isOnly: runs.count == 1) }
        return page + "</body></html>\n"
    }

    private var checksHTML: String {
        guard !checks.isEmpty else { return "" }
        let isComparison = runs.count > 1
        let run = isComparison ? "<th>Run</th>" : ""
        var table =
            "<table class=\"checks\"><thead><tr><th></th>\(run)<th>Check</th><th>Wanted</th><th>Got</th></tr></thead><tbody>\n"
        for (run, result) in checks {
            let outcome = result.passed ? "passed" : "failed"
            table += "<tr class=\"\(outcome)\"><td>\(outcome)</td>\(isComparison ? "<td>\(escaped(run))</td>" : "")"
            table += "<td>\(escaped(result.subjectText))</td><td>\(escaped(result.wantedText))</td>"
            table += "<td>\(escaped(result.measuredText))</td></tr>\n"
        }
        return table + "</tbody></table>\n"
    }
}

/// One run in the page.
private struct RunPage {
    let run: RunResult
    let index: Int

    /// More lines than this cannot be told apart.
    private static let mostLines = 8
    private static let mostRows = 100
    private static let percentiles: [(String, Double)] = [
        ("50 %", 50), ("90 %", 90), ("99 %", 99), ("99.9 %", 99.9), ("100 %", 100),
    ]

    private var tracks: ArraySlice<Records.Track> { run.tracks.prefix(Self.mostLines) }
    private var end: Double { Double(run.duration) / 1e9 }

    func html(isOnly: Bool) -> String {
        var html = "<section class=\"run\" data-run=\"\(escaped(run.name))\">"
        if !isOnly { html += "<h2>\(escaped(run.name))</h2>\n" }
        html += "<p>\(run.requests) requests in \(decimal(end, 0)) s, seed \(run.seed); the nodes were busy for "
        html += "\(decimal(run.utilisation, 1)) % of the time.\(recovery)</p>\n"
        html += "<div class=\"plots\">\n"
        html += [iops, credit, latencyOverTime, percentiles, attainment, utilisation].map(\.html).joined()
        html += "</div>\n"
        if run.tracks.count > Self.mostLines {
            html += "<p>The plots show the first \(Self.mostLines) of \(run.tracks.count); report.csv has all.</p>\n"
        }
        return html + table + "</section>\n"
    }

    private var recovery: String {
        guard run.bytesMoved > 0 else { return "" }
        let size = decimal(Double(run.bytesMoved) / 1_073_741_824, 2)
        return " \(size) GiB had to be moved, on which \(decimal(Double(run.timeRecovering) / 1e9, 0)) s went."
    }

    private func id(_ name: String) -> String { "run\(index)-\(name)" }

    private func lines(_ value: (TrackPoint) -> Double?, band: Bool = false) -> [Plot.Series] {
        tracks.enumerated().map { color, track in
            var series = Plot.Series(
                name: track.name, color: color,
                points: track.series.points.enumerated().map { index, point in
                    (run.seconds(afterPoint: index, of: track.series.windowsPerPoint), value(point))
                })
            let differs = track.volumes.count > 1 || track.series.windowsPerPoint > 1
            if band, differs { series.band = track.series.points.map { ($0.lowest, $0.highest) } }
            return series
        }
    }

    /// Every volume against its limits: minimum, maximum and burst, each once.
    private var iops: Plot {
        var series = lines({ $0.iops }, band: true)
        var seen: Set<UInt64> = []
        for (color, track) in tracks.enumerated() {
            let policy = run.volumes[track.volumes.lowerBound].policy.qos
            let highest = track.series.points.map(\.highest).max() ?? 0
            for (name, limit) in [
                ("minimum", policy.minIOPS), ("maximum", policy.maxIOPS), ("burst", policy.burstIOPS),
            ] {
                // A limit far above everything would flatten the lines.
                guard let limit, seen.insert(limit).inserted, Double(limit) <= max(highest * 2, 1) else { continue }
                series.append(
                    Plot.Series(
                        name: "\(name) of \(track.name)", color: color,
                        points: [(0, Double(limit)), (end, Double(limit))],
                        isLimit: true))
            }
        }
        return Plot(
            id: id("iops"), title: "IOPS against limits", unit: "4 KiB operations a second, each volume",
            series: series, end: end)
    }

    private var credit: Plot {
        Plot(
            id: id("credit"), title: "Burst credit", unit: "seconds of bursting", series: lines { $0.credit }, end: end)
    }

    private var latencyOverTime: Plot {
        Plot(
            id: id("latency"), title: "Latency, 99th percentile of each window", unit: "ms",
            series: lines { $0.p99 > 0 ? Double($0.p99) / 1e6 : nil }, end: end, isLogarithmic: true)
    }

    private var percentiles: Plot {
        let series = tracks.enumerated().map { color, track in
            var latency = LatencyHistogram()
            for volume in track.volumes { latency.add(run.volumes[volume].latency) }
            return Plot.Series(
                name: track.name, color: color,
                points: Self.percentiles.enumerated().map { index, percentile in
                    (Double(index), latency.count > 0 ? Double(latency.percentile(percentile.1)) / 1e6 : nil)
                })
        }
        return Plot(
            id: id("percentiles"), title: "Latency percentiles", unit: "ms, whole run", series: series,
            end: Double(Self.percentiles.count - 1), names: Self.percentiles.map(\.0), isLogarithmic: true)
    }

    private var attainment: Plot {
        var series = lines { $0.attainment.map { min($0, 200) } }
        series.append(
            Plot.Series(name: "all of it", color: 8, points: [(0, 100), (end, 100)], isLimit: true))
        return Plot(
            id: id("attainment"), title: "Minimum attainment", unit: "% of the minimum, where all of it was wanted",
            series: series, end: end)
    }

    private var utilisation: Plot {
        let points = run.cluster.points.enumerated().map { index, point in
            (run.seconds(afterPoint: index, of: run.cluster.windowsPerPoint), point)
        }
        let capacity = points.map(\.1.capacity).max() ?? 1
        return Plot(
            id: id("utilisation"), title: "Utilisation",
            unit: "% of the largest capacity, \(decimal(capacity, 0)) IOPS",
            series: [
                Plot.Series(
                    name: "used by volumes", color: 0, points: points.map { ($0, $1.iops / max(capacity, 1) * 100) }),
                Plot.Series(name: "nodes busy, with recovery", color: 2, points: points.map { ($0, $1.utilisation) }),
                Plot.Series(
                    name: "capacity for volumes", color: 1,
                    points: points.map { ($0, $1.capacity / max(capacity, 1) * 100) }, isLimit: true),
            ], end: end)
    }

    private var table: String {
        var html = "<table class=\"volumes\"><thead><tr><th>Volume</th><th>Minimum</th><th>Maximum</th><th>Burst</th>"
        html += "<th>IOPS</th><th>Requests</th><th>p50</th><th>p99</th><th>p99.9</th><th>Least of minimum</th>"
        html += "<th>Windows missed</th></tr></thead><tbody>\n"
        for volume in run.volumes.prefix(Self.mostRows) {
            let policy = volume.policy.qos
            html += "<tr><td>\(escaped(volume.name))</td>"
            for limit in [policy.minIOPS, policy.maxIOPS, policy.burstIOPS] {
                html += "<td>\(limit.map { "\($0)" } ?? "–")</td>"
            }
            html += "<td>\(decimal(volume.iops, 0))</td><td>\(volume.requests)</td>"
            for percentile in [50, 99, 99.9] {
                html += "<td>\(decimal(Double(volume.latency.percentile(percentile)) / 1e6, 2)) ms</td>"
            }
            let attainment = volume.lowestAttainment.map { "\(decimal($0, 1)) %" } ?? "–"
            html += "<td>\(attainment)</td><td>\(volume.missedWindows)</td></tr>\n"
        }
        html += "</tbody></table>\n"
        if run.volumes.count > Self.mostRows {
            html += "<p>The table shows the first \(Self.mostRows) of \(run.volumes.count); report.json has all.</p>\n"
        }
        return html
    }
}
