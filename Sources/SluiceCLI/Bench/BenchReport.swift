import Foundation
import Histogram
import Sluice

/// The results of a benchmark: in fio's JSON layout, so that fio's tools read it, and as a table.
struct BenchReport {
    let volume: String
    let plan: BenchmarkPlan
    let isDirect: Bool
    let results: [BenchmarkResult]

    /// The percentiles that fio prints.
    private static let percentiles: [Double] = [
        1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99,
    ]

    var json: JSON {
        let now = Date().timeIntervalSince1970
        return [
            "fio version": "sluice-0.1.0", "timestamp": .signed(Int64(now)),
            "timestamp_ms": .signed(Int64(now * 1000)), "time": .string(Times.rfc3339(Int64(now))),
            "global options": [
                "ioengine": "sluice", "filename": .string(volume), "rw": .string(plan.pattern.rawValue),
                "bs": .string("\(plan.blockSize)"), "iodepth": .string("\(plan.depth)"),
                "numjobs": .string("\(plan.jobs)"), "direct": .string(isDirect ? "1" : "0"),
                "sync": .string(plan.isDurable ? "1" : "0"),
            ],
            "jobs": .array(results.enumerated().map { index, result in job(index, result) }),
        ]
    }

    private func job(_ index: Int, _ result: BenchmarkResult) -> JSON {
        let seconds = result.elapsed / .seconds(1)
        func percent(_ time: Duration) -> JSON { .double(seconds > 0 ? time / .seconds(1) / seconds * 100 : 0) }
        return [
            "jobname": .string("job\(index)"), "groupid": .unsigned(0), "error": .unsigned(0),
            "elapsed": .signed(Int64(seconds.rounded(.up))),
            "job options": ["name": .string("job\(index)"), "rw": .string(plan.pattern.rawValue)],
            "read": direction(result.reads, result.elapsed), "write": direction(result.writes, result.elapsed),
            "job_runtime": .signed(milliseconds(result.elapsed)), "usr_cpu": percent(result.userTime),
            "sys_cpu": percent(result.systemTime), "latency_depth": .unsigned(UInt64(clamping: plan.depth)),
        ]
    }

    private func direction(_ direction: BenchmarkResult.Direction, _ elapsed: Duration) -> JSON {
        let seconds = elapsed / .seconds(1)
        let rate = seconds > 0 && direction.requests > 0 ? Double(direction.bytes) / seconds : 0
        return [
            "io_bytes": .unsigned(direction.bytes), "io_kbytes": .unsigned(direction.bytes / 1024),
            "bw_bytes": .signed(Int64(rate)), "bw": .signed(Int64(rate / 1024)),
            "iops": .double(seconds > 0 ? Double(direction.requests) / seconds : 0),
            "runtime": .signed(direction.requests > 0 ? milliseconds(elapsed) : 0),
            "total_ios": .unsigned(direction.requests), "short_ios": .unsigned(0), "drop_ios": .unsigned(0),
            "clat_ns": latency(direction.completion), "lat_ns": latency(direction.total),
        ]
    }

    private func latency(_ histogram: Histogram<UInt64>) -> JSON {
        let count = histogram.totalCount
        guard count > 0 else {
            return [
                "min": .unsigned(0), "max": .unsigned(0), "mean": .double(0), "stddev": .double(0), "N": .unsigned(0),
            ]
        }
        let percentiles = Self.percentiles.map { percentile in
            JSON.Member(
                key: String(format: "%.6f", percentile), value: .unsigned(histogram.valueAtPercentile(percentile)))
        }
        return [
            "min": .unsigned(histogram.min), "max": .unsigned(histogram.max), "mean": .double(histogram.mean),
            "stddev": .double(histogram.stdDeviation), "N": .unsigned(count), "percentile": .object(percentiles),
        ]
    }

    private func milliseconds(_ duration: Duration) -> Int64 { Int64(duration / .milliseconds(1)) }

    /// One row a direction, all jobs together in the rates; latencies of the slowest job.
    var text: String {
        var table = TextTable(
            .text(""), .number("IOPS"), .number("BANDWIDTH"), .number("MEAN"), .number("P50"), .number("P99"),
            .number("P99.9"), .number("MAX"))
        let parts = [
            ("read", results.map { ($0.reads, $0.elapsed) }), ("write", results.map { ($0.writes, $0.elapsed) }),
        ]
        for (name, jobs) in parts where jobs.contains(where: { $0.0.requests > 0 }) {
            let rates = jobs.map { direction, elapsed in
                let seconds = max(elapsed / .seconds(1), 1e-9)
                return (iops: Double(direction.requests) / seconds, bytes: Double(direction.bytes) / seconds)
            }
            func worst(_ value: (Histogram<UInt64>) -> Double) -> String {
                let nanoseconds = jobs.map { value($0.0.total) }.max() ?? 0
                return Times.text(.nanoseconds(Int64(nanoseconds)))
            }
            table.add(
                name, Times.fixed(rates.map(\.iops).reduce(0, +), 0),
                "\(ByteCount(UInt64(rates.map(\.bytes).reduce(0, +))).text)/s", worst { $0.mean },
                worst { Double($0.valueAtPercentile(50)) }, worst { Double($0.valueAtPercentile(99)) },
                worst { Double($0.valueAtPercentile(99.9)) }, worst { Double($0.max) })
        }
        return table.text(width: nil)
    }
}
