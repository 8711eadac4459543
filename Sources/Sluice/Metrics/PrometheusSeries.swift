import Metrics
import Synchronization

/// One line, or one histogram, of the text.
protocol PrometheusSeries: AnyObject, Sendable {
    var key: PrometheusKey { get }
    /// Appends its lines; `labels` without the braces.
    func write(_ name: String, _ labels: String, to text: inout String)
}

extension PrometheusSeries {
    fileprivate func line(_ name: String, _ labels: String, _ value: String, to text: inout String) {
        text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
    }
}

/// A number that only grows, until it wraps around after 2⁶⁴.
final class PrometheusCounter: PrometheusSeries, CounterHandler {
    let key: PrometheusKey
    private let value = Atomic<UInt64>(0)

    init(_ key: PrometheusKey) { self.key = key }

    func increment(by amount: Int64) {
        value.wrappingAdd(UInt64(bitPattern: max(amount, 0)), ordering: .relaxed)
    }

    func reset() { value.store(0, ordering: .relaxed) }

    func write(_ name: String, _ labels: String, to text: inout String) {
        line(name, labels, "\(value.load(ordering: .relaxed))", to: &text)
    }
}

/// A number that goes up and down.
final class PrometheusGauge: PrometheusSeries, MeterHandler, RecorderHandler {
    let key: PrometheusKey
    /// What was set, or added in fractions: the bits of a `Double`.
    private let base = Atomic<UInt64>(0)
    /// What was added in whole steps, which is what happens with every request.
    private let steps = Atomic<Int64>(0)

    init(_ key: PrometheusKey) { self.key = key }

    func set(_ value: Int64) { set(Double(value)) }

    func set(_ value: Double) {
        steps.store(0, ordering: .relaxed)
        base.store(value.bitPattern, ordering: .relaxed)
    }

    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }

    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }

    private func add(_ amount: Double) {
        if let whole = Int64(exactly: amount) {
            steps.wrappingAdd(whole, ordering: .relaxed)
        } else {
            base.add(amount)
        }
    }

    func write(_ name: String, _ labels: String, to text: inout String) {
        let value = Double(bitPattern: base.load(ordering: .relaxed)) + Double(steps.load(ordering: .relaxed))
        line(name, labels, PrometheusNumber.text(value), to: &text)
    }
}

/// How many values there were, and their sum.
final class PrometheusSummary: PrometheusSeries, RecorderHandler {
    let key: PrometheusKey
    private let count = Atomic<UInt64>(0)
    private let sum = Atomic<UInt64>(0)

    init(_ key: PrometheusKey) { self.key = key }

    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        count.wrappingAdd(1, ordering: .relaxed)
        sum.add(value)
    }

    func write(_ name: String, _ labels: String, to text: inout String) {
        let sum = Double(bitPattern: sum.load(ordering: .relaxed))
        line("\(name)_sum", labels, PrometheusNumber.text(sum), to: &text)
        line("\(name)_count", labels, "\(count.load(ordering: .relaxed))", to: &text)
    }
}

/// Times in buckets that double from 10 µs to 10 s.
final class PrometheusHistogram: PrometheusSeries, TimerHandler {
    /// The end of the first bucket, in nanoseconds.
    private static let smallest: UInt64 = 10_000
    /// Buckets with an end; what is slower than the last is in the one after it.
    static let bucketCount = 21

    let key: PrometheusKey
    private let nanoseconds = Atomic<UInt64>(0)
    private let buckets = InlineArray<22, Atomic<UInt64>> { _ in Atomic(0) }

    init(_ key: PrometheusKey) { self.key = key }

    func recordNanoseconds(_ duration: Int64) {
        let duration = UInt64(bitPattern: max(duration, 0))
        nanoseconds.wrappingAdd(duration, ordering: .relaxed)
        buckets[Self.bucket(of: duration)].wrappingAdd(1, ordering: .relaxed)
    }

    /// Bucket k holds what took at most 2ᵏ times the smallest and more than the bucket before.
    static func bucket(of nanoseconds: UInt64) -> Int {
        let steps = (nanoseconds - min(nanoseconds, 1)) / smallest
        return min(UInt64.bitWidth - steps.leadingZeroBitCount, bucketCount)
    }

    func write(_ name: String, _ labels: String, to text: inout String) {
        let separator = labels.isEmpty ? "" : ","
        var count: UInt64 = 0
        for index in buckets.indices {
            count &+= buckets[index].load(ordering: .relaxed)
            let end = Double(Self.smallest << UInt64(index)) / 1e9
            let bound = index == Self.bucketCount ? "+Inf" : PrometheusNumber.text(end)
            line("\(name)_bucket", "\(labels)\(separator)le=\"\(bound)\"", "\(count)", to: &text)
        }
        let seconds = Double(nanoseconds.load(ordering: .relaxed)) / 1e9
        line("\(name)_sum", labels, PrometheusNumber.text(seconds), to: &text)
        // The sum of the buckets, so that the two agree whatever is recorded meanwhile.
        line("\(name)_count", labels, "\(count)", to: &text)
    }
}

enum PrometheusNumber {
    static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return Int64(exactly: value).map { "\($0)" } ?? "\(value)"
    }
}

extension Atomic<UInt64> {
    /// Adds to the bits of a `Double`.
    fileprivate func add(_ amount: Double) {
        var old = load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + amount).bitPattern
            let (exchanged, original) = weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = original
        }
    }
}
