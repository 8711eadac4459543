/// Something that was measured over a time, and can be put together with what was measured after it.
protocol SeriesPoint: Sendable {
    /// Takes in the next point, which covers this part of the time of both.
    mutating func merge(_ next: Self, part: Double)
}

/// Points over time, at most so many however long it takes: where there are too many, each two become one.
struct ThinnedSeries<Point: SeriesPoint>: Sendable {
    private static var limit: Int { 600 }

    private(set) var points: [Point] = []
    /// How many windows a point covers.
    private(set) var windowsPerPoint = 1
    private var pending: Point?
    private var pendingCount = 0

    /// Adds a window's point.
    mutating func append(_ point: Point) {
        pendingCount += 1
        pending?.merge(point, part: 1 / Double(pendingCount))
        if pending == nil { pending = point }
        guard pendingCount == windowsPerPoint, let whole = pending else { return }
        points.append(whole)
        (pending, pendingCount) = (nil, 0)
        guard points.count == Self.limit else { return }
        points = stride(from: 0, to: points.count, by: 2).map { index in
            var point = points[index]
            point.merge(points[index + 1], part: 0.5)
            return point
        }
        windowsPerPoint *= 2
    }
}

/// What the volumes of a track got in a while.
struct TrackPoint: SeriesPoint {
    /// Operations of 4 KiB a second of one volume, on average and in the worst and best window of the worst and best.
    var iops: Double
    var lowest: Double
    var highest: Double
    /// Seconds of burst.
    var credit: Double
    /// Nanoseconds; the worst window's.
    var p50: UInt64
    var p99: UInt64
    /// Percent of the minimum, of the worst volume that wanted all of it; nil where none did.
    var attainment: Double?

    mutating func merge(_ next: TrackPoint, part: Double) {
        iops += (next.iops - iops) * part
        lowest = min(lowest, next.lowest)
        highest = max(highest, next.highest)
        credit = next.credit
        p50 = max(p50, next.p50)
        p99 = max(p99, next.p99)
        attainment = [attainment, next.attainment].compactMap(\.self).min()
    }
}

/// What the cluster did in a while.
struct ClusterPoint: SeriesPoint {
    /// Operations of 4 KiB a second.
    var iops: Double
    var capacity: Double
    /// In percent of the nodes' time.
    var utilisation: Double
    /// Requests that waited at the end.
    var waiting: Double
    var isRecovering: Bool

    mutating func merge(_ next: ClusterPoint, part: Double) {
        iops += (next.iops - iops) * part
        capacity += (next.capacity - capacity) * part
        utilisation += (next.utilisation - utilisation) * part
        waiting = next.waiting
        isRecovering = isRecovering || next.isRecovering
    }
}
