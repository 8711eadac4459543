#if ISCSI
    import BlockStorage

    /// What an array takes for sizes and policies.
    public struct LUNProfile: Sendable, Equatable {
        /// In bytes: smaller units become as large.
        public var smallestSize: UInt64
        /// In bytes.
        public var largestSize: UInt64
        /// Sizes are rounded up to a multiple of this, in bytes.
        public var granularity: UInt64
        /// What minimums may be.
        public var minIOPS: ClosedRange<UInt64>
        /// What maximums and bursts may be.
        public var maxIOPS: ClosedRange<UInt64>
        /// What a unit gets of which nothing is said; nil where it may have no policy. Then none of the three is
        /// missing.
        public var defaults: QoSPolicy?
        /// A burst of which nothing is said is the maximum, this many times.
        public var burstFactor: Double
        /// Whether the array holds units to their policies, and keeps their minimums.
        public var enforcesPolicies: Bool
        /// Of one unit; nil for any number.
        public var largestSnapshotCount: Int?
        /// Whether snapshots and clones of a unit are as of one moment, and nobody waits for them, whoever writes to it.
        public var copiesInUse: Bool
        /// Whether a unit is there all the time while it grows. Otherwise only this process's own sessions, which wait
        /// for it, may have it.
        public var growsInUse: Bool

        public init(
            smallestSize: UInt64, largestSize: UInt64, granularity: UInt64, minIOPS: ClosedRange<UInt64>,
            maxIOPS: ClosedRange<UInt64>, defaults: QoSPolicy?, burstFactor: Double = 1.5, enforcesPolicies: Bool,
            largestSnapshotCount: Int? = nil, copiesInUse: Bool = true, growsInUse: Bool = true
        ) {
            (self.smallestSize, self.largestSize, self.granularity) = (smallestSize, largestSize, granularity)
            (self.minIOPS, self.maxIOPS, self.defaults) = (minIOPS, maxIOPS, defaults)
            (self.burstFactor, self.enforcesPolicies) = (burstFactor, enforcesPolicies)
            (self.largestSnapshotCount, self.copiesInUse) = (largestSnapshotCount, copiesInUse)
            self.growsInUse = growsInUse
        }

        /// A target that limits nothing: whole sectors, any policy, which somebody else enforces.
        public static let target = LUNProfile(
            smallestSize: 4096, largestSize: 1 << 50, granularity: 512, minIOPS: 1...UInt64.max,
            maxIOPS: 1...UInt64.max, defaults: nil, enforcesPolicies: false, copiesInUse: false,
            growsInUse: false)

        /// The size that a unit of `size` bytes gets. Throws `invalidArgument` for one that there cannot be.
        public func rounded(_ size: UInt64, _ what: String, at place: String) throws(StorageError) -> UInt64 {
            guard size > 0, size <= largestSize else {
                throw StorageError(
                    .invalidArgument, what, at: place, why: "a unit has 1 to \(largestSize) bytes, not \(size)")
            }
            let wanted = max(size, smallestSize)
            // What is at most the largest size does not overflow.
            let rounded = (wanted + granularity - 1) / granularity * granularity
            guard rounded <= largestSize else {
                throw StorageError(
                    .invalidArgument, what, at: place,
                    why: "\(size) bytes become \(rounded), and a unit has \(largestSize) at most")
            }
            return rounded
        }

        /// What a unit gets for a policy that may leave parts out, or is missing.
        ///
        /// Throws `invalidArgument` for what the array does not take, and `notSupported` for a limit of bytes a second
        /// where the array would have to keep it.
        public func completed(
            _ policy: QoSPolicy?, _ what: String, at place: String
        ) throws(StorageError) -> QoSPolicy? {
            func check(_ value: UInt64?, _ range: ClosedRange<UInt64>, _ name: String) throws(StorageError) {
                guard let value, !range.contains(value) else { return }
                throw StorageError(
                    .invalidArgument, what, at: place,
                    why: "\(name) of \(value) IOPS: the array takes \(range.lowerBound) to \(range.upperBound)")
            }
            try check(policy?.minIOPS, minIOPS, "a minimum")
            try check(policy?.maxIOPS, maxIOPS, "a maximum")
            try check(policy?.burstIOPS, maxIOPS, "a burst")
            guard let defaults else { return policy }
            if policy?.maxBytesPerSecond != nil {
                throw StorageError(
                    .notSupported, what, at: place, why: "the array limits operations, not bytes a second")
            }
            guard let policy else { return defaults }
            func scaled(_ maximum: UInt64) -> UInt64 {
                min(UInt64(exactly: (Double(maximum) * burstFactor).rounded(.down)) ?? .max, maxIOPS.upperBound)
            }
            let largest = [policy.maxIOPS, policy.burstIOPS].compactMap { $0 }.min() ?? .max
            let minimum = policy.minIOPS ?? min(defaults.minIOPS ?? minIOPS.lowerBound, largest)
            let maximum =
                policy.maxIOPS
                ?? max(min(defaults.maxIOPS ?? maxIOPS.upperBound, policy.burstIOPS ?? .max), minimum)
            let burst = policy.burstIOPS ?? max(scaled(maximum), maximum)
            try check(minimum, minIOPS, "a minimum")
            return try QoSPolicy(minIOPS: minimum, maxIOPS: maximum, burstIOPS: burst)
        }
    }
#endif
