import BlockStorage

/// All refcounts of an image as they are to become, beside those that it has.
///
/// What is to be written anew goes to clusters that are free before and after the change, so that until the header
/// names the new tables nothing that the old ones need is touched.
struct RefcountImage {
    let layout: QCOW2Layout
    /// What the image has, by index of the refcount block.
    let oldBlocks: [Int: [UInt8]]
    /// Never given out, whatever the refcounts say.
    let metadataClusters: Set<UInt64>
    private(set) var blocks: [Int: [UInt8]]
    /// The blocks that differ from those in the image.
    private(set) var changed: Set<Int> = []
    private var searchStart: UInt64 = 0

    init(layout: QCOW2Layout, blocks: [Int: [UInt8]], metadataClusters: Set<UInt64>) {
        self.layout = layout
        self.metadataClusters = metadataClusters
        oldBlocks = blocks
        self.blocks = blocks
    }

    private func place(of cluster: UInt64) -> (block: Int, index: Int) {
        (Int(cluster >> UInt64(layout.refcountBlockBits)), Int(cluster & (layout.clustersPerRefcountBlock - 1)))
    }

    private func count(of cluster: UInt64, in blocks: [Int: [UInt8]]) -> UInt64 {
        let (block, index) = place(of: cluster)
        guard let bytes = blocks[block] else { return 0 }
        return RefcountFields.value(at: index, in: bytes, order: layout.refcountOrder)
    }

    /// As it is to become.
    func count(of cluster: UInt64) -> UInt64 { count(of: cluster, in: blocks) }

    /// Throws `notSupported` where the width does not allow for as many references, and `corrupt` for fewer than none.
    mutating func add(_ change: Int, to cluster: UInt64) throws(StorageError) {
        let old = count(of: cluster)
        let (new, overflow) =
            change < 0
            ? old.subtractingReportingOverflow(UInt64(-change)) : old.addingReportingOverflow(UInt64(change))
        if change < 0 && overflow {
            throw StorageError(
                .corrupt, "change refcounts", at: "cluster \(cluster)",
                why: "its refcount is too small: repair the image")
        }
        guard !overflow, new <= layout.largestRefcount else {
            throw StorageError(
                .notSupported, "change refcounts", at: "cluster \(cluster)",
                why: "refcounts of \(1 << layout.refcountOrder) bits cannot count so many snapshots")
        }
        let (block, index) = place(of: cluster)
        guard UInt64(block) * 8 < QCOW2Limits.refcountTable else {
            throw StorageError(.noSpace, "change refcounts", why: "the image cannot grow further")
        }
        RefcountFields.set(
            new, at: index, in: &blocks[block, default: Array(repeating: 0, count: Int(layout.clusterSize))],
            order: layout.refcountOrder)
        changed.insert(block)
    }

    /// Takes `count` clusters in a row that are free before and after.
    mutating func allocate(_ count: UInt64) throws(StorageError) -> Range<UInt64> {
        var start = searchStart
        var end = start
        while end - start < count {
            if self.count(of: end) != 0 || self.count(of: end, in: oldBlocks) != 0 || metadataClusters.contains(end) {
                start = end + 1
            }
            end += 1
        }
        for cluster in start..<end { try add(1, to: cluster) }
        if count == 1 { searchStart = end }
        return start..<end
    }

    /// The last cluster with a refcount, before or after.
    var lastCluster: UInt64 {
        var last: UInt64 = 0
        for (block, bytes) in blocks {
            guard let byte = bytes.lastIndex(where: { $0 != 0 }) else { continue }
            let index = ((byte + 1) * 8 - 1) >> layout.refcountOrder
            last = max(last, UInt64(block) << UInt64(layout.refcountBlockBits) + UInt64(index))
        }
        return last
    }

    /// The clusters that are used before and free after.
    var freed: [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        for block in changed.sorted() {
            guard let old = oldBlocks[block] else { continue }
            let first = UInt64(block) << UInt64(layout.refcountBlockBits)
            for index in 0..<Int(layout.clustersPerRefcountBlock) {
                let cluster = first + UInt64(index)
                guard RefcountFields.value(at: index, in: old, order: layout.refcountOrder) != 0,
                    count(of: cluster) == 0
                else { continue }
                if let last = ranges.last, last.upperBound == cluster {
                    ranges[ranges.count - 1] = last.lowerBound..<cluster + 1
                } else {
                    ranges.append(cluster..<cluster + 1)
                }
            }
        }
        return ranges
    }
}
