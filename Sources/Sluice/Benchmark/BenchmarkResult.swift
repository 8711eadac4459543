import Histogram

/// What one job of a benchmark measured.
public struct BenchmarkResult: Sendable {
    /// Requests of one direction.
    public struct Direction: Sendable {
        public internal(set) var requests: UInt64 = 0
        public internal(set) var bytes: UInt64 = 0
        /// From submission to completion, in nanoseconds.
        public internal(set) var completion = Self.emptyHistogram
        /// From the time at which the request was due to its completion: with a rate, it counts what a request waited
        /// for those before it.
        public internal(set) var total = Self.emptyHistogram

        /// 3 significant digits, up to a hundred seconds: larger ones count as that.
        static let largestLatency: UInt64 = 100_000_000_000
        private static var emptyHistogram: Histogram<UInt64> {
            Histogram<UInt64>(highestTrackableValue: largestLatency, numberOfSignificantValueDigits: .three)
        }

        mutating func record(bytes count: UInt64, completion: UInt64, total: UInt64) {
            requests += 1
            bytes += count
            self.completion.record(min(completion, Self.largestLatency))
            self.total.record(min(total, Self.largestLatency))
        }
    }

    public internal(set) var reads = Direction()
    public internal(set) var writes = Direction()
    public internal(set) var elapsed: Duration = .zero
    /// Processor time of the whole process while the benchmark ran.
    public internal(set) var userTime: Duration = .zero
    public internal(set) var systemTime: Duration = .zero
}
