import BlockStorage
import IORuntime

/// New refcount blocks and a new refcount table behind the end of an image, made from counted references.
struct RebuiltRefcounts {
    private let volume: any ResizableVolume
    private let header: QCOW2Header
    private let layout: QCOW2Layout
    /// Everything new lies from here on. A reference may go one cluster past the end of the file.
    private let firstNew: UInt64
    private var nextNew: UInt64
    /// The new refcount table.
    private var table: [UInt64] = []
    /// Blocks that are not written yet: the latest, whose window may not be complete, and those that count new clusters.
    private var open: [UInt64: [UInt8]] = [:]

    init(_ volume: any ResizableVolume, _ header: QCOW2Header) {
        self.volume = volume
        self.header = header
        layout = header.layout
        firstNew = layout.clusterCount(forSize: volume.geometry.size) + 1
        nextNew = firstNew
    }

    /// Takes over the counts of the next window.
    mutating func add(_ counter: ReferenceCounter) async throws(StorageError) {
        for page in counter.pageNumbers {
            let first = page << ReferenceCounter.pageBits
            for cluster in first..<first + UInt64(ReferenceCounter.pageEntryCount) {
                let count = counter.count(of: cluster)
                if count == 0 { continue }
                let block = cluster >> UInt64(layout.refcountBlockBits)
                if open[block] == nil { try await writeBlocks(before: block) }
                set(count, of: cluster)
            }
        }
    }

    private mutating func set(_ count: UInt64, of cluster: UInt64) {
        let block = cluster >> UInt64(layout.refcountBlockBits)
        let index = Int(cluster & (layout.clustersPerRefcountBlock - 1))
        let empty = [UInt8](repeating: 0, count: Int(layout.clusterSize))
        // A count that does not fit stays too small and is reported by the next check.
        let value = min(count, layout.largestRefcount), order = layout.refcountOrder
        RefcountFields.set(value, at: index, in: &open[block, default: empty], order: order)
    }

    private mutating func writeBlocks(before limit: UInt64) async throws(StorageError) {
        let firstNewBlock = firstNew >> UInt64(layout.refcountBlockBits)
        for block in open.keys.sorted() where block < min(limit, firstNewBlock) {
            if let bytes = open.removeValue(forKey: block) { try await write(bytes, as: block) }
        }
    }

    private mutating func write(_ bytes: [UInt8], as block: UInt64) async throws(StorageError) {
        while table.count <= Int(block) { table.append(0) }
        table[Int(block)] = layout.offset(ofCluster: nextNew)
        nextNew += 1
        try await grow()
        try await volume.writeBytes(bytes, at: table[Int(block)])
    }

    private func grow() async throws(StorageError) {
        let needed = layout.offset(ofCluster: nextNew)
        guard needed < QCOW2Limits.hostOffset else {
            throw StorageError(.noSpace, "repair image", why: "there is no room behind its last cluster")
        }
        // In steps, so that a large repair does not resize for each block.
        if volume.geometry.size < needed { try await volume.resize(to: needed + 64 * layout.clusterSize) }
    }

    /// Counts what is new itself, writes the rest, and switches the image over.
    mutating func finish() async throws(StorageError) {
        let blockBits = UInt64(layout.refcountBlockBits)
        let firstNewBlock = firstNew >> blockBits
        try await writeBlocks(before: firstNewBlock)
        var tailCount: UInt64 = 1, tableClusterCount: UInt64 = 1
        while true {
            let lastBlock = (nextNew + tailCount + tableClusterCount - 1) >> blockBits
            let neededTail = lastBlock - firstNewBlock + 1
            let neededTable = layout.clusterCount(forSize: (lastBlock + 1) * 8)
            if neededTail == tailCount && neededTable == tableClusterCount { break }
            (tailCount, tableClusterCount) = (max(tailCount, neededTail), max(tableClusterCount, neededTable))
        }
        let tableCluster = nextNew + tailCount
        for cluster in firstNew..<tableCluster + tableClusterCount { set(1, of: cluster) }
        guard tableClusterCount * layout.clusterSize <= QCOW2Limits.refcountTable else {
            throw StorageError(.noSpace, "repair image", why: "its refcount table would be too large")
        }
        for block in firstNewBlock..<firstNewBlock + tailCount {
            try await write(open[block] ?? Array(repeating: 0, count: Int(layout.clusterSize)), as: block)
        }
        nextNew += tableClusterCount
        try await grow()
        var bytes: [UInt8] = []
        for entry in table { bytes.appendBigEndian(entry) }
        bytes += repeatElement(0, count: Int(tableClusterCount * layout.clusterSize) - bytes.count)
        try await volume.writeBytes(bytes, at: layout.offset(ofCluster: tableCluster))
        try await volume.resize(to: layout.offset(ofCluster: nextNew))
        try await volume.flush()
        try await switchOver(tableCluster, tableClusterCount)
    }

    /// One write within the first sector: a power loss leaves the old table or the new one.
    private func switchOver(_ tableCluster: UInt64, _ tableClusterCount: UInt64) async throws(StorageError) {
        typealias Field = QCOW2Header.FieldOffset
        var sector = try await volume.readBytes(at: 0, count: Int(QCOW2Limits.sector))
        sector.setBigEndian(layout.offset(ofCluster: tableCluster), at: Field.refcountTableOffset)
        sector.setBigEndian(UInt32(tableClusterCount), at: Field.refcountTableClusterCount)
        if header.version >= 3 {
            let features = header.incompatibleFeatures.subtracting(.dirty)
            sector.setBigEndian(features.rawValue, at: Field.incompatibleFeatures)
        }
        try await volume.writeBytes(sector, at: 0)
        try await volume.flush()
    }
}
