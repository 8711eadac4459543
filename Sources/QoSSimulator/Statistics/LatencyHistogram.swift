/// Times in buckets of fixed relative width, as HdrHistogram keeps them: the memory is the same however many are counted.
///
/// Times are nanoseconds; a percentile is at most 3.2 % too high, or 256 ns. Times beyond three days count as three days.
public struct LatencyHistogram: Sendable, Equatable {
    /// Times are told apart by 256 ns at best.
    private static let unitBits = 8
    /// Each doubling has this many buckets, as a power of two.
    private static let resolutionBits = 5
    private static let largestExponent = 40
    static let bucketCount = (largestExponent - resolutionBits + 2) << resolutionBits

    private var counts = [UInt64](repeating: 0, count: bucketCount)
    public private(set) var count: UInt64 = 0
    private var sum: UInt64 = 0
    /// The longest of them.
    public private(set) var maximum: UInt64 = 0

    /// An empty histogram.
    public init() {}

    @inline(__always)
    private static func bucket(_ time: UInt64) -> Int {
        let value = time >> UInt64(unitBits)
        let exponent = 63 - (value | 1).leadingZeroBitCount
        guard exponent > resolutionBits else { return Int(value) }
        guard exponent <= largestExponent else { return bucketCount - 1 }
        let shift = exponent - resolutionBits
        return (shift << resolutionBits) + Int(value >> UInt64(shift))
    }

    /// The longest time that falls into a bucket.
    private static func upperBound(_ bucket: Int) -> UInt64 {
        let shift = max(0, (bucket >> resolutionBits) - 1)
        let value = UInt64(bucket - (shift << resolutionBits))
        return (((value + 1) << UInt64(shift)) << UInt64(unitBits)) - 1
    }

    /// Counts a time.
    @inline(__always)
    public mutating func record(_ time: UInt64) {
        counts[Self.bucket(time)] &+= 1
        count &+= 1
        sum &+= time
        if time > maximum { maximum = time }
    }

    /// The time that this share of the requests stays within; 0 where there are none.
    public func percentile(_ percent: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = max(1, UInt64((percent / 100 * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, count) in counts.enumerated() where count > 0 {
            seen += count
            if seen >= rank { return min(Self.upperBound(bucket), maximum) }
        }
        return maximum
    }

    /// The mean of all times; 0 where there are none.
    public var mean: UInt64 { count > 0 ? sum / count : 0 }

    /// Adds what another one has counted.
    public mutating func add(_ other: LatencyHistogram) {
        for bucket in counts.indices { counts[bucket] &+= other.counts[bucket] }
        count &+= other.count
        sum &+= other.sum
        maximum = max(maximum, other.maximum)
    }

    /// What has been counted since `earlier` was copied from this one. Its `maximum` is that of the whole.
    func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
        var rest = self
        for bucket in counts.indices { rest.counts[bucket] &-= earlier.counts[bucket] }
        rest.count &-= earlier.count
        rest.sum &-= earlier.sum
        return rest
    }

    /// Forgets everything, and keeps the memory.
    mutating func reset() {
        guard count > 0 else { return }
        for bucket in counts.indices { counts[bucket] = 0 }
        (count, sum, maximum) = (0, 0, 0)
    }
}
