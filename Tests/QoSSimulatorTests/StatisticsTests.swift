import BlockStorage
import Testing

@testable import QoSSimulator

@Suite("Statistics of simulations")
struct StatisticsTests {
    @Test("A percentile is at most 3.2 % or 256 ns above the exact one, and never below it")
    func percentiles() {
        var random = SeededGenerator(seed: 3)
        for _ in 0..<300 {
            var histogram = LatencyHistogram()
            let times = (0..<Int.random(in: 1...400, using: &random)).map { _ in
                random.next() >> UInt64.random(in: 17...62, using: &random)
            }
            for time in times { histogram.record(time) }
            let sorted = times.sorted()
            for percent in [1.0, 50, 90, 99, 99.9, 100] {
                let exact = sorted[max(0, Int((percent / 100 * Double(times.count)).rounded(.up)) - 1)]
                let found = histogram.percentile(percent)
                #expect(found >= exact && Double(found) <= Double(exact) * 1.032 + 256)
            }
            #expect(histogram.maximum == sorted.last)
        }
    }

    @Test("What was counted between two copies is told apart")
    func difference() {
        var histogram = LatencyHistogram()
        for _ in 0..<1000 { histogram.record(1_000_000) }
        let before = histogram
        for _ in 0..<10 { histogram.record(64_000_000) }
        let after = histogram.since(before)
        #expect(after.count == 10 && after.mean == 64_000_000)
        #expect(after.percentile(1) >= 64_000_000)
    }

    @Test("A series keeps its mean and its extremes, and never more than 600 points")
    func thinning() {
        var series = ThinnedSeries<TrackPoint>()
        var random = SeededGenerator(seed: 9)
        var values: [Double] = []
        for _ in 0..<9600 {
            let value = Double(random.below(1000))
            values.append(value)
            series.append(
                TrackPoint(
                    iops: value, lowest: value, highest: value, credit: value, p50: UInt64(value), p99: UInt64(value),
                    attainment: nil))
            #expect(series.points.count < 600)
        }
        let count = series.points.count * series.windowsPerPoint
        let covered = values.prefix(count)
        let mean = series.points.reduce(0) { $0 + $1.iops } / Double(series.points.count)
        #expect(abs(mean - covered.reduce(0, +) / Double(count)) < 1e-6)
        #expect(
            series.points.map(\.lowest).min() == covered.min() && series.points.map(\.highest).max() == covered.max())
        #expect(values.count - count < series.windowsPerPoint)
    }

    @Test("Events come in the order of time, and as they were scheduled where times are equal")
    func events() {
        var random = SeededGenerator(seed: 21)
        var queue = EventQueue()
        var expected: [(time: UInt64, index: Int)] = []
        for index in 0..<5000 {
            let time = random.below(500)
            queue.schedule(.arrival, index, at: time)
            expected.append((time, index))
        }
        expected.sort { ($0.time, $0.index) < ($1.time, $1.index) }
        for event in expected {
            #expect(queue.nextTime == event.time)
            let popped = queue.popFirst()
            #expect(popped?.index == event.index)
        }
        #expect(queue.nextTime == .max)
    }

    @Test("Random quantities have their means, and the logarithm and cosine their values")
    func variates() {
        var random = SeededGenerator(seed: 5)
        let count = 200_000
        let mean = (0..<count).reduce(0.0) { sum, _ in sum + random.exponential() } / Double(count)
        #expect(abs(mean - 1) < 0.01)
        #expect(abs(naturalLogarithm(10) - 2.302_585_092_994_046) < 1e-14)
        #expect(abs(naturalLogarithm(0x1p-53) + 36.736_800_569_677_1) < 1e-12)
        for (turns, value) in [
            (0.0, 1.0), (0.125, 0.707_106_781_186_547_5), (0.25, 0), (0.5, -1), (1.0 / 3, -0.5), (-2, 1),
        ] {
            #expect(abs(cosine(turns: turns) - value) < 1e-9)
        }
    }
}
