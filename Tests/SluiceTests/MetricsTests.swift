import BlockStorage
import IORuntime
import Metrics
import Testing

@testable import Sluice

@Suite struct PrometheusMetricsTests {
    @Test("Each kind is rendered as Prometheus reads it, with escaped labels and in order")
    func text() {
        let metrics = PrometheusMetrics()
        Counter(label: "b_total", dimensions: [("volume", "p/a\"b\\c\nd")], factory: metrics).increment(by: 7)
        Counter(label: "b_total", dimensions: [("volume", "p/a")], factory: metrics).increment()
        let meter = Meter(label: "a.depth", factory: metrics)
        meter.increment(by: 3)
        meter.decrement()
        meter.increment(by: 0.5)
        Recorder(label: "c", factory: metrics).record(2.5)
        Gauge(label: "d", factory: metrics).record(-4)
        #expect(
            metrics.text() == """
                # TYPE a_depth gauge
                a_depth 2.5
                # TYPE b_total counter
                b_total{volume="p/a"} 1
                b_total{volume="p/a\\"b\\\\c\\nd"} 7
                # TYPE c summary
                c_sum 2.5
                c_count 1
                # TYPE d gauge
                d -4

                """)
    }

    @Test("Buckets double from 10 µs to 10 s, each with all that is below its end")
    func histogram() {
        let bounds: [(UInt64, Int)] = [
            (0, 0), (1, 0), (10_000, 0), (10_001, 1), (20_000, 1), (20_001, 2), (40_000, 2), (10_485_760_000, 20),
            (10_485_760_001, 21), (.max, 21),
        ]
        for (time, bucket) in bounds { #expect(PrometheusHistogram.bucket(of: time) == bucket, "\(time) ns") }
        let metrics = PrometheusMetrics()
        let timer = Timer(label: "t_seconds", dimensions: [("volume", "v")], factory: metrics)
        for time: Int64 in [5000, 15_000, 15_000, 20_000_000_000, -1] { timer.recordNanoseconds(time) }
        let lines = metrics.text().split(separator: "\n")
        #expect(lines.count == 1 + 22 + 2)
        #expect(lines[1] == "t_seconds_bucket{volume=\"v\",le=\"1e-05\"} 2")
        #expect(lines[2] == "t_seconds_bucket{volume=\"v\",le=\"2e-05\"} 4")
        #expect(lines[21] == "t_seconds_bucket{volume=\"v\",le=\"10.48576\"} 4")
        #expect(lines[22] == "t_seconds_bucket{volume=\"v\",le=\"+Inf\"} 5")
        #expect(lines[23] == "t_seconds_sum{volume=\"v\"} 20.000035")
        #expect(lines[24] == "t_seconds_count{volume=\"v\"} 5")
    }

    @Test("Two users share a series, which goes with the second; a name of another kind is not mixed in")
    func sharing() {
        let metrics = PrometheusMetrics()
        let counters = (0..<2).map { _ in Counter(label: "x_total", factory: metrics) }
        for counter in counters { counter.increment() }
        Meter(label: "x_total", factory: metrics).set(99)
        #expect(metrics.text() == "# TYPE x_total counter\nx_total 2\n")
        counters[0].destroy()
        #expect(metrics.text() == "# TYPE x_total counter\nx_total 2\n")
        counters[1].destroy()
        #expect(metrics.text() == "")
    }

    @Test("Nothing is lost when all record at once")
    func concurrency() async {
        let metrics = PrometheusMetrics()
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    let meter = Meter(label: "m", factory: metrics)
                    let timer = Timer(label: "t_seconds", factory: metrics)
                    for _ in 0..<1000 {
                        meter.increment()
                        timer.recordNanoseconds(1000)
                        meter.increment(by: 0.5)
                    }
                }
            }
        }
        #expect(metrics.text().contains("\nm 12000\n"))
        #expect(metrics.text().contains("\nt_seconds_count 8000\n"))
    }
}

@Suite struct MetricsServerTests {
    @Test("Only GET and HEAD of /metrics are answered")
    func answers() {
        let body: () -> String = { "x 1\n" }
        #expect(MetricsServer.answer(to: "GET /metrics HTTP/1.1\r\nHost: a", body).hasSuffix("\r\n\r\nx 1\n"))
        #expect(MetricsServer.answer(to: "GET /metrics?a=b HTTP/1.0", body).hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(
            MetricsServer.answer(to: "HEAD /metrics HTTP/1.1", body).hasSuffix(
                "Content-Length: 4\r\nConnection: close\r\n\r\n"))
        #expect(MetricsServer.answer(to: "GET /etc/passwd HTTP/1.1", body).hasPrefix("HTTP/1.1 404 "))
        #expect(MetricsServer.answer(to: "POST /metrics HTTP/1.1", body).hasPrefix("HTTP/1.1 405 "))
        for garbage in ["", "GET", "GET /metrics", "GET  /metrics HTTP/1.1", "\u{0} \u{0} \u{0}", "GET / FTP/1.1"] {
            #expect(MetricsServer.answer(to: garbage, body).hasPrefix("HTTP/1.1 400 "))
        }
    }

    @Test("A scrape gets what there is at that time; floods, silence and strangers are bounded")
    func serves() async throws {
        let count = Locked(0)
        let server = try await MetricsServer.start(host: "127.0.0.1", port: 0) {
            count.withLock { count in
                count += 1
                return "scrapes \(count)\n"
            }
        }
        // One that says nothing keeps nobody waiting.
        let silent = try await Socket.connect(to: server.address)
        for round in 1...3 {
            let answer = try await exchange("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", with: server)
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("scrapes \(round)\n"))
        }
        #expect(try await exchange(String(repeating: "x", count: 20_000), with: server) == "")
        #expect(try await exchange("\r\n\r\n", with: server).hasPrefix("HTTP/1.1 400"))
        await server.stop()
        silent.close()
        await #expect(throws: SystemError.self) { try await Socket.connect(to: server.address) }
        await expect(.permissionDenied) { try await MetricsServer.start(host: "0.0.0.0", port: 0) { "" } }
    }

    private func exchange(_ request: String, with server: MetricsServer) async throws -> String {
        let socket = try await Socket.connect(to: server.address)
        defer { socket.close() }
        // It may be cut off before it has said everything.
        try? await socket.send(Array(request.utf8).rawBytes)
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var bytes = buffer.mutableRawBytes
            guard let count = try? await socket.receive(into: &bytes), count > 0 else { break }
            received += buffer[..<count]
        }
        return String(decoding: received, as: UTF8.self)
    }
}
