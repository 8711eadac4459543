/// The arithmetic of an image's tables: powers of two that follow from the header.
struct QCOW2Layout: Equatable, Sendable {
    let clusterBits: Int
    let hasExtendedL2: Bool
    let refcountOrder: Int

    /// In bytes.
    let clusterSize: UInt64
    let clusterMask: UInt64
    /// 64-bit words in an L2 entry: 1, or 2 in extended L2 tables.
    let wordsPerEntry: Int
    /// A guest cluster number shifted right by this is its index in the L1 table.
    let l2Bits: Int
    let l2EntryCount: Int
    /// The part of an L2 table that is read, cached and written at once, in bytes.
    let sliceByteCount: Int
    let sliceEntryBits: Int
    let slicesPerTable: Int
    /// Refcounts in a refcount block, as a power of two.
    let refcountBlockBits: Int

    /// QEMU's default for `l2-cache-entry-size`, which it measured to be best.
    private static let largestSlice = 4096

    init(clusterBits: Int, hasExtendedL2: Bool, refcountOrder: Int) {
        self.clusterBits = clusterBits
        self.hasExtendedL2 = hasExtendedL2
        self.refcountOrder = refcountOrder
        clusterSize = 1 << UInt64(clusterBits)
        clusterMask = clusterSize - 1
        wordsPerEntry = hasExtendedL2 ? 2 : 1
        let entryBits = hasExtendedL2 ? 4 : 3
        l2Bits = clusterBits - entryBits
        l2EntryCount = 1 << l2Bits
        sliceByteCount = min(Self.largestSlice, 1 << clusterBits)
        sliceEntryBits = sliceByteCount.trailingZeroBitCount - entryBits
        slicesPerTable = (1 << clusterBits) / sliceByteCount
        refcountBlockBits = clusterBits + 3 - refcountOrder
    }

    /// What one L2 table maps, in bytes.
    var l2Coverage: UInt64 { clusterSize << UInt64(l2Bits) }
    var subclusterBits: Int { hasExtendedL2 ? clusterBits - 5 : clusterBits }
    var subclusterSize: UInt64 { 1 << UInt64(subclusterBits) }
    var subclustersPerCluster: Int { hasExtendedL2 ? 32 : 1 }
    var entriesPerSlice: Int { 1 << sliceEntryBits }
    var wordsPerSlice: Int { sliceByteCount / 8 }
    /// What one refcount block counts, in clusters.
    var clustersPerRefcountBlock: UInt64 { 1 << UInt64(refcountBlockBits) }
    /// The largest refcount that fits.
    var largestRefcount: UInt64 { refcountOrder == 6 ? .max : (1 << (1 << UInt64(refcountOrder))) - 1 }

    func l1EntryCount(forSize size: UInt64) -> UInt64 { size.dividedRoundingUp(by: l2Coverage) }
    func clusterCount(forSize size: UInt64) -> UInt64 { size.dividedRoundingUp(by: clusterSize) }
    func cluster(of offset: UInt64) -> UInt64 { offset >> UInt64(clusterBits) }
    func offset(ofCluster cluster: UInt64) -> UInt64 { cluster << UInt64(clusterBits) }
    func roundedUp(_ offset: UInt64) -> UInt64 { offset.addingSaturatingMask(clusterMask) }
    func isAligned(_ offset: UInt64) -> Bool { offset & clusterMask == 0 }

    /// The slice that maps guest cluster `cluster`, counted over the whole disk.
    func slice(of cluster: UInt64) -> UInt64 { cluster >> UInt64(sliceEntryBits) }
    /// The first word of the entry of guest cluster `cluster` inside its slice.
    func word(of cluster: UInt64) -> Int { Int(cluster & UInt64(entriesPerSlice - 1)) * wordsPerEntry }
    func l1Index(ofSlice slice: UInt64) -> Int { Int(slice / UInt64(slicesPerTable)) }
    /// Where slice `slice` lies inside its L2 table, in bytes.
    func offsetInTable(ofSlice slice: UInt64) -> UInt64 {
        slice % UInt64(slicesPerTable) * UInt64(sliceByteCount)
    }
    func subcluster(of offset: UInt64) -> Int { Int((offset & clusterMask) >> UInt64(subclusterBits)) }
}

extension QCOW2Header {
    /// The arithmetic of this image.
    var layout: QCOW2Layout {
        QCOW2Layout(clusterBits: clusterBits, hasExtendedL2: hasExtendedL2, refcountOrder: refcountOrder)
    }
}

extension UInt64 {
    /// This number divided by a positive one, rounded up.
    func dividedRoundingUp(by divisor: UInt64) -> UInt64 {
        self / divisor + (self % divisor == 0 ? 0 : 1)
    }

    /// Rounded up to a multiple of `mask + 1`, a power of two, or the largest such multiple.
    func addingSaturatingMask(_ mask: UInt64) -> UInt64 {
        let (sum, overflow) = addingReportingOverflow(mask)
        return (overflow ? .max : sum) & ~mask
    }
}
