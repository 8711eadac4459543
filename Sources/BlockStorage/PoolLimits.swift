/// What volumes, snapshots, templates and reservations were promised, whether they use it or not.
public struct Provisioned: Hashable, Sendable {
    /// Logical bytes: virtual sizes, and for each snapshot the size that the volume had.
    public var bytes: UInt64
    /// The sum of the minimums, in normalised 4 KiB operations a second.
    public var minIOPS: UInt64

    public init(bytes: UInt64 = 0, minIOPS: UInt64 = 0) {
        self.bytes = bytes
        self.minIOPS = minIOPS
    }
}

/// How much a pool may promise, as this host registered it.
///
/// A pool that is opened with limits refuses with `quotaExceeded` what would exceed them, whoever has used them up: it
/// adds up its own volumes, not one host's records. What it promised already it keeps.
public struct PoolLimits: Hashable, Sendable {
    /// The bytes that may be used, where that is less than the storage has.
    public var capacityBytes: UInt64?
    /// How many logical bytes may be promised for each byte of capacity; `infinity` for any number.
    public var overprovisioning: Double
    /// What the minimums may add up to; nil for any number.
    public var capacityIOPS: UInt64?

    /// Everything may be promised.
    public static let none = PoolLimits(overprovisioning: .infinity)

    /// What the storage has, once, and any minimum, where nothing else is given.
    public init(capacityBytes: UInt64? = nil, overprovisioning: Double = 1, capacityIOPS: UInt64? = nil) {
        self.capacityBytes = capacityBytes
        self.overprovisioning = overprovisioning
        self.capacityIOPS = capacityIOPS
    }

    /// The most that may be promised where the storage has `capacity` bytes.
    public func most(ofCapacity capacity: UInt64) -> Provisioned {
        var most = Provisioned(bytes: .max, minIOPS: capacityIOPS ?? .max)
        let bytes = Double(min(capacity, capacityBytes ?? .max)) * overprovisioning
        if bytes.isFinite { most.bytes = UInt64(exactly: bytes.rounded(.down)) ?? .max }
        return most
    }

    /// Throws `quotaExceeded`, with the numbers, when `demand` does not fit beside what was promised already. Nothing
    /// more than before is never refused.
    public func check(
        _ demand: Provisioned, beside promised: Provisioned, capacity: UInt64, _ what: String, at place: String
    ) throws(StorageError) {
        let most = most(ofCapacity: capacity)
        func check(
            _ demand: UInt64, _ promised: UInt64, _ most: UInt64, _ unit: String
        ) throws(StorageError) {
            let (sum, overflow) = demand.addingReportingOverflow(promised)
            guard demand > 0, overflow || sum > most else { return }
            throw StorageError(
                .quotaExceeded, what, at: place,
                why: "\(demand) \(unit) are asked for, \(promised) of \(most) are promised already")
        }
        try check(demand.bytes, promised.bytes, most.bytes, "logical bytes")
        try check(demand.minIOPS, promised.minIOPS, most.minIOPS, "minimum IOPS")
    }
}
