import BlockStorage
import IORuntime

/// Writes a whole disk into a new image with compressed clusters, from its first byte to its last.
///
/// Compressed clusters lie one after the other, as QEMU packs them; a cluster that does not get smaller is written as it
/// is, and zeros take no space. Such an image is made to be kept or sent: whoever writes to it later gets ordinary
/// clusters.
public enum QCOW2CompressedWriter {
    /// What is read and compressed at once, in bytes.
    private static let batchByteCount: UInt64 = 4 << 20

    /// Writes the bytes of `source` into a new image on `base`, whose contents are lost, and makes it durable. A crash in
    /// between leaves something that is no QCOW2 image.
    ///
    /// The disk has the size of `options`, and what `source` does not have reads as zeros. `progress` gets the number
    /// of bytes of `source` that are done. Throws `invalidArgument` for options that compression excludes: a backing
    /// file, a data file, preallocation.
    public static func write(
        _ source: any Volume, on base: any ResizableVolume, _ options: QCOW2CreateOptions,
        progress: @Sendable (UInt64) -> Void = { _ in }
    ) async throws(StorageError) {
        guard options.backingFile == nil, options.dataFile == nil, options.preallocation == .off else {
            throw QCOW2CreateOptions.invalid(
                "a compressed image has no backing file, no data file and no preallocation")
        }
        // The options and the sizes that follow from them are checked by making an empty image first.
        try await QCOW2Volume.create(on: base, options)
        var image = try await CompressedImage(base)
        let size = min(source.geometry.size, options.size)
        let step = max(batchByteCount, image.layout.clusterSize)
        var position: UInt64 = 0
        while position < size {
            let end = min(position + step, size)
            for extent in try await source.extents(in: position..<end) where extent.kind == .data {
                try await image.append(source, rounded(extent.range, within: size, image.layout))
            }
            position = end
            progress(position)
            if Task.isCancelled { throw StorageError(.cancelled, "write compressed image") }
        }
        try await image.finish()
    }

    /// Whole clusters, as far as the disk goes.
    private static func rounded(
        _ range: Range<UInt64>, within size: UInt64, _ layout: QCOW2Layout
    ) -> Range<UInt64> {
        range.lowerBound & ~layout.clusterMask..<min(layout.roundedUp(range.upperBound), size)
    }
}

/// The image being written: everything before `position` is final except the header and the refcounts.
private struct CompressedImage {
    /// Clusters that are compressed at the same time.
    private static let parallelism = 8

    let base: any ResizableVolume
    var header: QCOW2Header
    let layout: QCOW2Layout
    /// The next free byte of the file.
    private var position: UInt64
    /// Bytes before `position` that are not written yet.
    private var pending: [UInt8] = []
    private static let pendingLimit = 1 << 20
    /// How many compressed clusters, tables and data clusters each host cluster holds a part of.
    private var references: [UInt32] = [1]
    private var l1: [UInt64]
    /// The L2 table of L1 entry `tableIndex`, which guest clusters still go into.
    private var table: [UInt64]
    private var tableIndex = 0
    /// The next guest cluster that may be written.
    private var nextCluster: UInt64 = 0

    init(_ base: any ResizableVolume) async throws(StorageError) {
        self.base = base
        header = try await QCOW2Header.read(from: base)
        layout = header.layout
        position = layout.clusterSize
        l1 = Array(repeating: 0, count: Int(header.l1EntryCount))
        table = Array(repeating: 0, count: Int(layout.clusterSize / 8))
        // Without its header it is no image until it is complete.
        try await base.resize(to: 0)
        try await base.resize(to: layout.clusterSize)
    }

    /// Reads and writes the clusters of `range`, which begins with a whole one.
    mutating func append(_ source: any Volume, _ range: Range<UInt64>) async throws(StorageError) {
        let first = max(layout.cluster(of: range.lowerBound), nextCluster)
        let end = layout.clusterCount(forSize: range.upperBound)
        var cluster = first
        while cluster < end {
            let count = min(UInt64(Self.parallelism), end - cluster)
            let results = try await compress(source, cluster..<cluster + count, upTo: range.upperBound)
            for result in results {
                try await add(result, at: cluster)
                cluster += 1
            }
        }
        nextCluster = max(nextCluster, end)
    }

    private enum Packed: Sendable {
        case zero
        case compressed([UInt8])
        case plain([UInt8])
    }

    private func compress(
        _ source: any Volume, _ clusters: Range<UInt64>, upTo end: UInt64
    ) async throws(StorageError) -> [Packed] {
        let clusterSize = Int(layout.clusterSize), type = header.compressionType, layout = layout
        let outcomes: [(Int, Result<Packed, StorageError>)] = await withTaskGroup(
            of: (Int, Result<Packed, StorageError>).self
        ) { group in
            for (index, cluster) in clusters.enumerated() {
                group.addTask {
                    do throws(StorageError) {
                        let start = layout.offset(ofCluster: cluster)
                        let bytes = try await source.readBytes(
                            at: start, count: Int(min(end - start, layout.clusterSize)), padTo: clusterSize)
                        if bytes.rawBytes.isZero { return (index, .success(.zero)) }
                        return (index, .success(try await Self.compress(bytes, type)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var outcomes: [(Int, Result<Packed, StorageError>)] = []
            for await outcome in group { outcomes.append(outcome) }
            return outcomes
        }
        var results: [Packed] = []
        for (_, outcome) in outcomes.sorted(by: { $0.0 < $1.0 }) { results.append(try outcome.get()) }
        return results
    }

    /// Away from the I/O executors, which must not wait for a compressor.
    private static func compress(_ bytes: [UInt8], _ type: QCOW2CompressionType) async throws(StorageError) -> Packed {
        try await BlockingPool.shared.run { () throws(StorageError) -> Packed in
            var data = [UInt8](repeating: 0, count: bytes.count - 1)
            var room = data.mutableRawBytes
            guard let count = try type.compress(bytes.rawBytes, into: &room) else { return .plain(bytes) }
            data.removeLast(data.count - count)
            return .compressed(data)
        }
    }

    private mutating func add(_ result: Packed, at cluster: UInt64) async throws(StorageError) {
        let entry: L2Entry
        var subclusters = SubclusterBitmap.none
        switch result {
        case .zero: return
        case .compressed(let data):
            entry = try place(data.count).entry(clusterBits: layout.clusterBits)
            try await append(data)
        case .plain(let bytes):
            try await align()
            entry = L2Entry(ownedCluster: position)
            subclusters = .allAllocated
            count(position, bytes.count)
            try await append(bytes)
        }
        try await setEntry(entry, subclusters, of: cluster)
    }

    /// Finds room for compressed data at `position`, or behind it where the host cluster there cannot be shared any
    /// more: refcounts may have few bits.
    private mutating func place(_ byteCount: Int) throws(StorageError) -> CompressedCluster {
        let host = Int(layout.cluster(of: position))
        if host < references.count, UInt64(references[host]) >= layout.largestRefcount {
            let end = layout.offset(ofCluster: UInt64(host) + 1)
            pending += repeatElement(0, count: Int(end - position))
            position = end
        }
        guard
            let place = CompressedCluster(
                offset: position, dataByteCount: byteCount, clusterBits: layout.clusterBits)
        else {
            throw StorageError(.noSpace, "write compressed image", why: "compressed clusters cannot lie that far out")
        }
        // The entry counts whole sectors, and a reference to each cluster that they touch.
        count(position, place.byteCount)
        return place
    }

    private mutating func count(_ offset: UInt64, _ byteCount: Int) {
        for cluster in layout.cluster(of: offset)...layout.cluster(of: offset + UInt64(byteCount) - 1) {
            while references.count <= Int(cluster) { references.append(0) }
            references[Int(cluster)] += 1
        }
    }

    private mutating func append(_ bytes: [UInt8]) async throws(StorageError) {
        pending += bytes
        position += UInt64(bytes.count)
        if pending.count >= Self.pendingLimit { try await writePending() }
    }

    private mutating func align() async throws(StorageError) {
        let end = layout.roundedUp(position)
        try await append(Array(repeating: 0, count: Int(end - position)))
    }

    private mutating func writePending() async throws(StorageError) {
        guard !pending.isEmpty else { return }
        let needed = layout.roundedUp(position)
        if base.geometry.size < needed { try await base.resize(to: needed) }
        try await base.writeBytes(pending, at: position - UInt64(pending.count))
        pending.removeAll(keepingCapacity: true)
    }

    private mutating func setEntry(
        _ entry: L2Entry, _ subclusters: SubclusterBitmap, of cluster: UInt64
    ) async throws(StorageError) {
        let index = Int(cluster >> UInt64(layout.l2Bits))
        if index != tableIndex { try await writeTable(next: index) }
        let word = Int(cluster & UInt64(layout.l2EntryCount - 1)) * layout.wordsPerEntry
        table[word] = entry.word
        if layout.hasExtendedL2 { table[word + 1] = subclusters.word }
    }

    /// Writes the L2 table, unless it is empty, and begins the one of L1 entry `next`.
    private mutating func writeTable(next: Int) async throws(StorageError) {
        if table.contains(where: { $0 != 0 }) {
            try await align()
            l1[tableIndex] = L1Entry(offset: position, isCopied: true).word
            count(position, Int(layout.clusterSize))
            try await append(words: table)
            table = Array(repeating: 0, count: table.count)
        }
        tableIndex = next
    }

    private mutating func append(words: [UInt64]) async throws(StorageError) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(words.count * 8)
        for word in words { bytes.appendBigEndian(word) }
        try await append(bytes)
    }

    /// Writes the tables, and the header last.
    mutating func finish() async throws(StorageError) {
        try await writeTable(next: 0)
        try await align()
        header.l1TableOffset = position
        if !l1.isEmpty { count(position, l1.count * 8) }
        try await append(words: l1)
        try await align()
        try await appendRefcounts()
        try await writePending()
        try await base.resize(to: position)
        try await base.flush()
        try await base.writeBytes(header.encoded(), at: 0)
        try await base.flush()
    }

    private mutating func appendRefcounts() async throws(StorageError) {
        // They count themselves: repeat until they cover everything.
        let first = layout.cluster(of: position)
        var blockCount: UInt64 = 1, tableClusterCount: UInt64 = 1
        while true {
            let total = first + blockCount + tableClusterCount
            let neededBlocks = total.dividedRoundingUp(by: layout.clustersPerRefcountBlock)
            let neededTable = layout.clusterCount(forSize: neededBlocks * 8)
            if neededBlocks <= blockCount && neededTable <= tableClusterCount { break }
            (blockCount, tableClusterCount) = (max(blockCount, neededBlocks), max(tableClusterCount, neededTable))
        }
        guard tableClusterCount * layout.clusterSize <= QCOW2Limits.refcountTable else {
            throw StorageError(.noSpace, "write compressed image", why: "it needs larger clusters")
        }
        count(position, Int((blockCount + tableClusterCount) * layout.clusterSize))
        for block in 0..<Int(blockCount) {
            var bytes = [UInt8](repeating: 0, count: Int(layout.clusterSize))
            let start = block << layout.refcountBlockBits
            for cluster in start..<min(start + (1 << layout.refcountBlockBits), references.count) {
                RefcountFields.set(
                    UInt64(references[cluster]), at: cluster - start, in: &bytes, order: layout.refcountOrder)
            }
            try await append(bytes)
        }
        header.refcountTableOffset = position
        header.refcountTableClusterCount = UInt32(tableClusterCount)
        try await append(words: (0..<blockCount).map { layout.offset(ofCluster: first + $0) })
        try await align()
    }
}
