/// What a throttled volume has had, since it was opened.
public struct ThrottleStatistics: Sendable, Equatable, Codable {
    /// Requests that have come, and their cost: operations of 4 KiB, in hundredths.
    public var requests: UInt64 = 0
    public var cost: UInt64 = 0
    /// Requests that had to wait, and how long altogether, in nanoseconds.
    public var throttledRequests: UInt64 = 0
    public var waitNanoseconds: UInt64 = 0
    /// How long at least one request was waiting, in nanoseconds.
    public var limitedNanoseconds: UInt64 = 0
    /// Waits by their length: bucket k counts those of less than 2ᵏ microseconds that no bucket before it counts, and the
    /// last all longer ones.
    public var waits: [UInt64] = Array(repeating: 0, count: bucketCount)
    /// Requests that wait now.
    public var waiting: UInt64 = 0
    /// Burst that is saved, in hundredths of an operation, and in seconds at the burst rate, rounded down.
    public var credit: Int64 = 0
    public var creditSeconds: Int64 = 0

    static let bucketCount = 28

    /// Nothing yet.
    public init() {}

    /// 4 KiB operations that were let through.
    public var normalisedOperations: UInt64 { cost / UInt64(CostCurve.unit) }

    mutating func record(wait: UInt64) {
        throttledRequests += 1
        waitNanoseconds &+= wait
        let bucket = UInt64.bitWidth - (wait / 1000).leadingZeroBitCount
        waits[min(bucket, Self.bucketCount - 1)] += 1
    }

    /// What `fraction` of the waits were no longer than, in microseconds, rounded up to a power of two; 0 without waits.
    public func waitMicroseconds(atFraction fraction: Double) -> UInt64 {
        let total = waits.reduce(0, +)
        guard total > 0 else { return 0 }
        let wanted = Double(total) * min(max(fraction, 0), 1)
        var sum: UInt64 = 0
        for (bucket, count) in waits.enumerated() {
            sum += count
            if sum > 0, Double(sum) >= wanted { return 1 << UInt64(bucket) }
        }
        return 1 << UInt64(Self.bucketCount - 1)
    }
}
