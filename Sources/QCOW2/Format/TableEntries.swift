import BlockStorage

/// An entry of an L1 table: where the L2 table lies.
struct L1Entry: Equatable, Sendable {
    /// As in the image.
    var word: UInt64

    static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00
    static let copiedFlag: UInt64 = 1 << 63

    init(_ word: UInt64) { self.word = word }
    init(offset: UInt64, isCopied: Bool) { word = offset | (isCopied ? Self.copiedFlag : 0) }

    /// 0 where there is no table.
    var offset: UInt64 { word & Self.offsetMask }
    /// The L2 table's refcount is exactly 1; only kept in the active L1 table.
    var isCopied: Bool { word & Self.copiedFlag != 0 }
    var hasReservedBits: Bool { word & ~(Self.offsetMask | Self.copiedFlag) != 0 }
}

/// The first word of an L2 entry.
struct L2Entry: Equatable, Sendable {
    /// As in the image.
    var word: UInt64

    static let zeroFlag: UInt64 = 1
    static let offsetMask: UInt64 = L1Entry.offsetMask
    static let compressedFlag: UInt64 = 1 << 62
    static let copiedFlag: UInt64 = 1 << 63

    init(_ word: UInt64) { self.word = word }
    /// A cluster of its own, with a refcount of 1.
    init(ownedCluster offset: UInt64) { word = offset | Self.copiedFlag }

    static let unallocated = L2Entry(0)
    /// Reads as zeros, without a cluster.
    static let zero = L2Entry(zeroFlag)

    /// The host cluster; 0 where there is none. Meaningless for compressed clusters.
    var offset: UInt64 { word & Self.offsetMask }
    /// Whether there is a host cluster, for entries that are not compressed. In an external data file it may be at 0.
    var hasCluster: Bool { word & (Self.offsetMask | Self.copiedFlag) != 0 }
    var isCompressed: Bool { word & Self.compressedFlag != 0 }
    /// The host cluster's refcount is exactly 1; only kept in the active tables.
    var isCopied: Bool { word & Self.copiedFlag != 0 }
    /// Version 3 without extended L2: reads as zeros whatever the cluster holds.
    var isZero: Bool { word & Self.zeroFlag != 0 }

    /// Bits that must be 0 in an entry that is not compressed.
    func hasReservedBits(zeroFlagAllowed: Bool) -> Bool {
        let allowed = Self.offsetMask | Self.copiedFlag | (zeroFlagAllowed ? Self.zeroFlag : 0)
        return word & ~allowed != 0
    }
}

/// The second word of an extended L2 entry: one bit for each subcluster in either half.
struct SubclusterBitmap: Equatable, Sendable {
    /// As in the image.
    var word: UInt64

    init(_ word: UInt64) { self.word = word }
    init(allocated: UInt32, zero: UInt32) { word = UInt64(zero) << 32 | UInt64(allocated) }

    static let none = SubclusterBitmap(0)
    static let allAllocated = SubclusterBitmap(allocated: .max, zero: 0)
    static let allZero = SubclusterBitmap(allocated: 0, zero: .max)

    /// The data lies in the host cluster.
    var allocated: UInt32 {
        get { UInt32(truncatingIfNeeded: word) }
        set { word = word & ~0xffff_ffff | UInt64(newValue) }
    }
    /// Reads as zeros.
    var zero: UInt32 {
        get { UInt32(truncatingIfNeeded: word >> 32) }
        set { word = word & 0xffff_ffff | UInt64(newValue) << 32 }
    }
    /// A subcluster cannot be both.
    var isValid: Bool { allocated & zero == 0 }

    /// The bits of `subclusters`, a range within 0..<32.
    static func mask(_ subclusters: Range<Int>) -> UInt32 {
        let upper: UInt64 = (1 << UInt64(subclusters.upperBound)) - 1
        return UInt32(upper & ~((1 << UInt64(subclusters.lowerBound)) - 1))
    }
}

/// Where a compressed cluster lies: any byte of the file on, to the end of a 512-byte sector.
struct CompressedCluster: Equatable, Sendable {
    /// In bytes, not aligned.
    var offset: UInt64
    /// What may be read, up to the end of the last sector; the data may end sooner.
    var byteCount: Int

    /// The number of bits that the offset has, which depends on the cluster size.
    private static func offsetBits(_ clusterBits: Int) -> UInt64 { UInt64(62 - (clusterBits - 8)) }

    init(_ entry: L2Entry, clusterBits: Int) {
        let bits = Self.offsetBits(clusterBits)
        offset = entry.word & ((1 << bits) - 1)
        let moreSectors = (entry.word & (L2Entry.compressedFlag - 1)) >> bits
        byteCount = Int((moreSectors + 1) * QCOW2Limits.sector - offset % QCOW2Limits.sector)
    }

    /// Data of `byteCount` bytes at `offset`, as an entry records it: up to the end of the last sector that it touches.
    /// `nil` where an entry cannot express it.
    init?(offset: UInt64, dataByteCount byteCount: Int, clusterBits: Int) {
        let end = offset.addingSaturating(UInt64(byteCount))
        let sectors = end.dividedRoundingUp(by: QCOW2Limits.sector) - offset / QCOW2Limits.sector
        guard byteCount > 0, offset >> Self.offsetBits(clusterBits) == 0, sectors <= 1 << UInt64(clusterBits - 8) else {
            return nil
        }
        self.offset = offset
        self.byteCount = Int(sectors * QCOW2Limits.sector - offset % QCOW2Limits.sector)
    }

    /// The entry of this cluster.
    func entry(clusterBits: Int) -> L2Entry {
        let end = offset + UInt64(byteCount)
        let moreSectors = end.dividedRoundingUp(by: QCOW2Limits.sector) - offset / QCOW2Limits.sector - 1
        return L2Entry(L2Entry.compressedFlag | moreSectors << Self.offsetBits(clusterBits) | offset)
    }

    /// The host clusters that the sectors touch; each counts this cluster once.
    func hostClusters(_ layout: QCOW2Layout) -> ClosedRange<UInt64> {
        layout.cluster(of: offset)...layout.cluster(of: offset + UInt64(byteCount) - 1)
    }
}
