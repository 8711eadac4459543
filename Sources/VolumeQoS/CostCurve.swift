/// What a request of a given size costs, in hundredths of a 4 KiB operation.
///
/// Between two points the cost is on the line through them, rounded up, below the first it is that of the first, and above
/// the last it goes on with the last point's cost a byte: how an array interpolates is not documented, so this is
/// Sluice's reading.
public struct CostCurve: Hashable, Sendable, Codable {
    public struct Point: Hashable, Sendable, Codable {
        /// In bytes.
        public var byteCount: UInt64
        /// In hundredths of a 4 KiB operation.
        public var cost: Int64

        public init(byteCount: UInt64, cost: Int64) {
            self.byteCount = byteCount
            self.cost = cost
        }
    }

    /// The cost of one 4 KiB operation.
    public static let unit: Int64 = 100
    /// The size and the cost of any request beyond which neither is counted.
    private static let largest: UInt64 = 1 << 40

    public let points: [Point]
    /// Whether the cost jumps from one point to the next one above, instead of growing between them.
    public let isStepped: Bool

    /// Nil unless there are points, their sizes rise, and their costs are positive and do not fall.
    public init?(points: [Point], isStepped: Bool = false) {
        guard let first = points.first, first.cost > 0, first.byteCount > 0,
            points.allSatisfy({ $0.byteCount <= Self.largest && $0.cost <= Int64(Self.largest) }),
            zip(points, points.dropFirst()).allSatisfy({ $0.byteCount < $1.byteCount && $0.cost <= $1.cost })
        else { return nil }
        self.init(trusted: points, isStepped: isStepped)
    }

    private init(trusted points: [Point], isStepped: Bool) {
        self.points = points
        self.isStepped = isStepped
    }

    /// The curve that Element clusters in the field report: larger requests cost less a byte.
    public static let element = CostCurve(
        trusted: [
            (4096, 100), (8192, 160), (16384, 270), (32768, 500), (65536, 1000), (131_072, 1950), (262_144, 3900),
            (524_288, 7600), (1_048_576, 15000),
        ].map { Point(byteCount: $0, cost: $1) }, isStepped: false)

    /// Every request costs the same, as librbd counts.
    public static let flat = CostCurve(
        trusted: [Point(byteCount: 1, cost: unit), Point(byteCount: largest, cost: unit)], isStepped: false)

    /// A request costs one operation for each `unitSize` bytes that it has begun, as some clouds count.
    public static func units(of unitSize: UInt64) -> CostCurve? {
        CostCurve(points: [Point(byteCount: unitSize, cost: unit)], isStepped: true)
    }

    /// A request of up to `size` bytes costs one operation, and a larger one in proportion, as QEMU's `iops-size` counts.
    public static func proportional(above size: UInt64) -> CostCurve? {
        CostCurve(points: [Point(byteCount: size, cost: unit)])
    }

    /// The cost of a request of `byteCount` bytes, at least that of the first point. Logarithmic in the points.
    public func cost(of byteCount: UInt64) -> Int64 {
        let size = Int64(min(byteCount, Self.largest))
        let first = points[0]
        if size <= Int64(first.byteCount) { return first.cost }
        let last = points[points.count - 1]
        if size >= Int64(last.byteCount) {
            let length = Int64(last.byteCount)
            if isStepped { return (size + length - 1) / length * last.cost }
            return Self.quotient(last.cost, size, length)
        }
        var low = 0
        var high = points.count - 1
        while high - low > 1 {
            let middle = (low + high) / 2
            if Int64(points[middle].byteCount) <= size { low = middle } else { high = middle }
        }
        let (left, right) = (points[low], points[high])
        if size == Int64(left.byteCount) { return left.cost }
        if isStepped { return right.cost }
        return left.cost
            + Self.quotient(
                right.cost - left.cost, size - Int64(left.byteCount), Int64(right.byteCount - left.byteCount))
    }

    /// `a * b / c`, rounded up.
    private static func quotient(_ a: Int64, _ b: Int64, _ c: Int64) -> Int64 {
        Int64(clamping: (Int128(a) * Int128(b) + Int128(c) - 1) / Int128(c))
    }
}
