import IORuntime
import Metrics

/// A swift-metrics backend that renders what it holds as Prometheus text.
///
/// ```swift
/// let metrics = PrometheusMetrics()
/// MetricsSystem.bootstrap(metrics)
/// let host = try await StorageHost.open()
/// // … for each scrape:
/// host.publishMetrics()
/// let text = metrics.text()
/// ```
///
/// To record is one or two relaxed atomic additions, without a lock or memory; series are made and rendered under a
/// lock. Timers are histograms in seconds, with buckets that double from 10 µs to 10 s. Two users of one name and the
/// same labels share a series, which goes when both have destroyed theirs.
public final class PrometheusMetrics: MetricsFactory {
    /// How a family of series is declared.
    enum Kind: String, Sendable { case counter, gauge, histogram, summary }

    struct Family {
        var kind: Kind
        var series: [String: (series: any PrometheusSeries, users: Int)] = [:]
    }

    private let families = Locked<[String: Family]>([:])

    public init() {}

    /// Everything in the text format 0.0.4, which has this media type.
    public static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    /// Every family with its type, in the order of names and labels.
    public func text() -> String {
        let families = families.withLock { $0 }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) where !family.series.isEmpty {
            if let help = Self.help[name] { text += "# HELP \(name) \(help)\n" }
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            for (labels, entry) in family.series.sorted(by: { $0.key < $1.key }) {
                entry.series.write(name, labels, to: &text)
            }
        }
        return text
    }

    /// What the families of this package are.
    private static let help = [
        "sluice_volume_queue_depth": "Requests in flight.",
        "sluice_volume_operation_seconds": "Time that requests took, failed ones included.",
        "sluice_volume_bytes_total": "Bytes of the requests that succeeded.",
        "sluice_volume_errors_total": "Requests that failed, by the code of their error.",
        "sluice_volume_cache_lookups_total": "Lookups of metadata, found in memory (hit) or read first (miss).",
        "sluice_volume_normalised_operations_total": "Operations of 4 KiB that were asked for.",
        "sluice_volume_throttled_requests_total": "Requests that had to wait for the volume's IOPS.",
        "sluice_volume_throttle_wait_seconds": "Time that throttled requests waited.",
        "sluice_volume_limited_seconds_total": "Time in which requests waited for the volume's IOPS.",
        "sluice_volume_burst_credit_operations": "Operations of 4 KiB that the volume may have beyond its maximum.",
        "sluice_pool_responding": "1 while the pool answers within its deadline, 0 while a request is late.",
        "sluice_export_clients": "NBD clients that are connected.",
    ]

    /// The series of that name and those labels, made by `make` unless it is there. A name that is taken by another
    /// kind has no series: what is recorded there goes nowhere.
    private func series<Series: PrometheusSeries>(
        _ kind: Kind, _ label: String, _ dimensions: [(String, String)], _ make: (PrometheusKey) -> Series
    ) -> Series {
        let key = PrometheusKey(label, dimensions)
        return families.withLock { families in
            var family = families[key.name] ?? Family(kind: kind)
            guard family.kind == kind else { return make(key) }
            if let entry = family.series[key.labels], let found = entry.series as? Series {
                families[key.name]?.series[key.labels]?.users = entry.users + 1
                return found
            }
            let made = make(key)
            family.series[key.labels] = (made, 1)
            families[key.name] = family
            return made
        }
    }

    private func destroy(_ handler: AnyObject) {
        guard let series = handler as? any PrometheusSeries else { return }
        families.withLock { families in
            guard let entry = families[series.key.name]?.series[series.key.labels], entry.series === series else {
                return
            }
            families[series.key.name]?.series[series.key.labels] = entry.users > 1 ? (series, entry.users - 1) : nil
        }
    }

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(.counter, label, dimensions) { PrometheusCounter($0) }
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(.gauge, label, dimensions) { PrometheusGauge($0) }
    }

    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        if aggregate { return series(.summary, label, dimensions) { PrometheusSummary($0) } }
        return series(.gauge, label, dimensions) { PrometheusGauge($0) }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(.histogram, label, dimensions) { PrometheusHistogram($0) }
    }

    public func destroyCounter(_ handler: any CounterHandler) { destroy(handler) }
    public func destroyMeter(_ handler: any MeterHandler) { destroy(handler) }
    public func destroyRecorder(_ handler: any RecorderHandler) { destroy(handler) }
    public func destroyTimer(_ handler: any TimerHandler) { destroy(handler) }
}

/// The name of a family, and the labels that tell one series of it from another.
struct PrometheusKey: Sendable {
    let name: String
    /// `a="x",b="y"`, as they are printed; in the order in which they were given.
    let labels: String

    init(_ label: String, _ dimensions: [(String, String)]) {
        name = Self.valid(label)
        labels = dimensions.map { "\(Self.valid($0))=\"\(Self.escaped($1))\"" }.joined(separator: ",")
    }

    /// Letters, digits and `_`, not beginning with a digit.
    private static func valid(_ name: String) -> String {
        let plain = String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "_" })
        return plain.first?.isNumber ?? true ? "_\(plain)" : plain
    }

    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
