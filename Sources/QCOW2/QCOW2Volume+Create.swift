import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Writes a new image onto `base`, whose contents are lost, and makes it durable. A crash in between leaves
    /// something that is no QCOW2 image.
    ///
    /// `dataFile` is the volume named by `options.dataFile`. Throws `invalidArgument` for options that exclude each
    /// other and `noSpace` where `base` cannot hold the image.
    public static func create(
        on base: any ResizableVolume, dataFile: (any ResizableVolume)? = nil, _ options: QCOW2CreateOptions
    ) async throws(StorageError) {
        let builder = try ImageBuilder(options, base: base, dataFile: dataFile)
        try await builder.write()
    }
}

/// Lays out and writes a new image: header, refcount table, refcount blocks, L1 table, then L2 tables and data as far
/// as they are preallocated.
private struct ImageBuilder {
    /// Data is written and counted in pieces of this size, in bytes.
    private static let pieceByteCount: UInt64 = 1 << 20

    let options: QCOW2CreateOptions
    let base: any ResizableVolume
    let dataFile: (any ResizableVolume)?
    var header: QCOW2Header
    let layout: QCOW2Layout
    /// In clusters, in the order in which they lie in the file.
    let refcountBlockCount: UInt64
    let l1ClusterCount: UInt64
    let l2TableCount: UInt64
    /// In the image itself.
    let dataClusterCount: UInt64

    init(_ options: QCOW2CreateOptions, base: any ResizableVolume, dataFile: (any ResizableVolume)?)
        throws(StorageError)
    {
        var options = options
        options.size = options.size.addingSaturatingMask(QCOW2Limits.sector - 1)
        try options.check()
        self.options = options
        self.base = base
        self.dataFile = dataFile
        let clusterBits = options.clusterSize.trailingZeroBitCount
        layout = QCOW2Layout(
            clusterBits: clusterBits, hasExtendedL2: options.hasExtendedL2,
            refcountOrder: options.refcountBits.trailingZeroBitCount)
        guard (dataFile != nil) == (options.dataFile != nil) else {
            throw QCOW2CreateOptions.invalid("an external data file needs its name and its volume")
        }

        let l1EntryCount = layout.l1EntryCount(forSize: options.size)
        guard options.size < QCOW2Limits.hostOffset, l1EntryCount * 8 <= QCOW2Limits.l1Table else {
            throw QCOW2CreateOptions.invalid("a disk of \(options.size) bytes needs larger clusters")
        }
        let isPreallocated = options.preallocation != .off
        l1ClusterCount = layout.clusterCount(forSize: l1EntryCount * 8)
        l2TableCount = isPreallocated ? l1EntryCount : 0
        dataClusterCount = isPreallocated && dataFile == nil ? layout.clusterCount(forSize: options.size) : 0

        // The refcount structures count themselves: repeat until they cover everything.
        let others = 1 + l1ClusterCount + l2TableCount + dataClusterCount
        var blocks: UInt64 = 1, tableClusters: UInt64 = 1
        while true {
            let total = others + blocks + tableClusters
            let neededBlocks = total.dividedRoundingUp(by: layout.clustersPerRefcountBlock)
            let neededTable = layout.clusterCount(forSize: neededBlocks * 8)
            if neededBlocks <= blocks && neededTable <= tableClusters { break }
            (blocks, tableClusters) = (max(blocks, neededBlocks), max(tableClusters, neededTable))
        }
        guard tableClusters * layout.clusterSize <= QCOW2Limits.refcountTable else {
            throw QCOW2CreateOptions.invalid("a disk of \(options.size) bytes needs larger clusters")
        }
        refcountBlockCount = blocks

        header = QCOW2Header(options, layout)
        header.refcountTableOffset = layout.clusterSize
        header.refcountTableClusterCount = UInt32(tableClusters)
        header.l1EntryCount = UInt32(l1EntryCount)
        header.l1TableOffset = layout.offset(ofCluster: 1 + tableClusters + blocks)
        _ = try header.encoded()
    }

    private var firstRefcountBlock: UInt64 { 1 + UInt64(header.refcountTableClusterCount) }
    private var firstL2Table: UInt64 { firstRefcountBlock + refcountBlockCount + l1ClusterCount }
    private var firstDataCluster: UInt64 { firstL2Table + l2TableCount }
    private var clusterCount: UInt64 { firstDataCluster + dataClusterCount }

    func write() async throws(StorageError) {
        let size = layout.offset(ofCluster: clusterCount)
        let isFresh = try await empty(base, to: size)
        if let dataFile { _ = try await empty(dataFile, to: options.size) }

        try await writeRefcounts()
        try await writeTable(
            at: header.l1TableOffset, entryCount: l2TableCount, padTo: l1ClusterCount * layout.clusterSize
        ) { L1Entry(offset: layout.offset(ofCluster: firstL2Table + $0), isCopied: true).word }
        for table in 0..<l2TableCount { try await writeL2Table(table) }
        try await preallocate(isFresh: isFresh)
        try await base.flush()
        try await base.writeBytes(header.encoded(), at: 0)
        try await base.flush()
        try await dataFile?.flush()
    }

    /// Makes `volume` at least `size` bytes of zeros. Returns false for one of a fixed size, which keeps its contents.
    private func empty(_ volume: any ResizableVolume, to size: UInt64) async throws(StorageError) -> Bool {
        do {
            try await volume.resize(to: 0)
            try await volume.resize(to: size)
            return true
        } catch  where error.code == .notSupported {
            guard volume.geometry.size >= size else {
                throw StorageError(
                    .noSpace, "create image", at: volume.stack,
                    why: "it needs \(size) bytes and there are \(volume.geometry.size)")
            }
            return false
        }
    }

    private func writeRefcounts() async throws(StorageError) {
        try await writeTable(
            at: header.refcountTableOffset, entryCount: refcountBlockCount,
            padTo: UInt64(header.refcountTableClusterCount) * layout.clusterSize
        ) { layout.offset(ofCluster: firstRefcountBlock + $0) }
        for block in 0..<refcountBlockCount {
            var bytes = [UInt8](repeating: 0, count: Int(layout.clusterSize))
            let first = block * layout.clustersPerRefcountBlock
            let used = clusterCount > first ? min(clusterCount - first, layout.clustersPerRefcountBlock) : 0
            for index in 0..<Int(used) { RefcountFields.set(1, at: index, in: &bytes, order: layout.refcountOrder) }
            try await base.writeBytes(bytes, at: layout.offset(ofCluster: firstRefcountBlock + block))
        }
    }

    /// Writes `entryCount` words and then zeros, up to `padTo` bytes.
    private func writeTable(
        at offset: UInt64, entryCount: UInt64, padTo byteCount: UInt64, _ entry: (UInt64) -> UInt64
    ) async throws(StorageError) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(byteCount))
        for index in 0..<entryCount { bytes.appendBigEndian(entry(index)) }
        if byteCount > 0 {
            bytes.pad(to: Int(layout.clusterSize))
            bytes += [UInt8](repeating: 0, count: Int(byteCount) - bytes.count)
            try await base.writeBytes(bytes, at: offset)
        }
    }

    private func writeL2Table(_ table: UInt64) async throws(StorageError) {
        let firstCluster = table << UInt64(layout.l2Bits)
        let lastCluster = layout.clusterCount(forSize: options.size)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(layout.clusterSize))
        for cluster in firstCluster..<min(firstCluster + UInt64(layout.l2EntryCount), lastCluster) {
            let host = layout.offset(ofCluster: dataFile == nil ? firstDataCluster + cluster : cluster)
            bytes.appendBigEndian(L2Entry(ownedCluster: host).word)
            // Subclusters that are not allocated read as the backing file does, or zeros.
            if layout.hasExtendedL2 { bytes.appendBigEndian(SubclusterBitmap.none.word) }
        }
        bytes.pad(to: Int(layout.clusterSize))
        try await base.writeBytes(bytes, at: layout.offset(ofCluster: firstL2Table + table))
    }

    private func preallocate(isFresh: Bool) async throws(StorageError) {
        guard options.preallocation != .off, options.size > 0 else { return }
        let volume: any ResizableVolume = dataFile ?? base
        let start = dataFile == nil ? layout.offset(ofCluster: firstDataCluster) : 0
        let end = dataFile == nil ? layout.offset(ofCluster: clusterCount) : options.size
        switch options.preallocation {
        case .off: break
        case .metadata:
            if !isFresh && !layout.hasExtendedL2 { try await volume.writeZeroes(start..<end) }
        case .falloc: try await volume.writeZeroes(start..<end, options: .keepAllocated)
        case .full:
            var zeros = IOBuffer(byteCount: Int(Self.pieceByteCount))
            zeros.zero()
            var position = start
            while position < end {
                let count = Int(min(Self.pieceByteCount, end - position))
                try await volume.write(zeros.bytes.extracting(0..<count), at: position)
                position += UInt64(count)
            }
        }
    }
}

extension QCOW2CreateOptions {
    static func invalid(_ why: String) -> StorageError { StorageError(.invalidArgument, "create image", why: why) }

    /// Throws `invalidArgument` for options that exclude each other.
    func check() throws(StorageError) {
        let clusterBits = clusterSize.trailingZeroBitCount
        guard clusterSize.nonzeroBitCount == 1, QCOW2Limits.clusterBits.contains(clusterBits) else {
            throw Self.invalid("the cluster size must be a power of two from 512 bytes to 2 MiB")
        }
        guard refcountBits > 0, refcountBits.nonzeroBitCount == 1, refcountBits <= 64 else {
            throw Self.invalid("refcounts must have 1, 2, 4, 8, 16, 32 or 64 bits")
        }
        guard version == 2 || version == 3 else { throw Self.invalid("the version must be 2 or 3") }
        let needsVersion3 =
            refcountBits != 16 || hasExtendedL2 || hasLazyRefcounts || dataFile != nil || compressionType != .zlib
        if version == 2 && needsVersion3 {
            throw Self.invalid(
                "version 2 has only 16-bit refcounts and zlib, no extended L2 entries, lazy refcounts or data file")
        }
        if hasExtendedL2 && !QCOW2Limits.extendedL2ClusterBits.contains(clusterBits) {
            throw Self.invalid("extended L2 entries need clusters of 16 KiB or more")
        }
        if hasRawExternalData && (dataFile == nil || backingFile != nil) {
            throw Self.invalid("raw external data needs a data file and excludes a backing file")
        }
        if backingFile != nil && preallocation != .off && !hasExtendedL2 {
            throw Self.invalid("preallocation hides the backing file, except with extended L2 entries")
        }
        if backingFormat != nil && backingFile == nil { throw Self.invalid("there is no backing file") }
        for name in [backingFile, backingFormat, dataFile] {
            guard let name else { continue }
            if name.isEmpty || name.utf8.contains(0) || name.utf8.count > QCOW2Limits.backingFileName {
                throw Self.invalid("a file or format name must have 1 to 1023 bytes")
            }
        }
    }
}

extension QCOW2Header {
    /// Of a new image; where the tables lie is still to be filled in.
    fileprivate init(_ options: QCOW2CreateOptions, _ layout: QCOW2Layout) {
        version = options.version
        clusterBits = layout.clusterBits
        size = options.size
        encryptionMethod = 0
        l1EntryCount = 0
        l1TableOffset = 0
        refcountTableOffset = 0
        refcountTableClusterCount = 0
        snapshotCount = 0
        snapshotTableOffset = 0
        incompatibleFeatures = []
        if options.hasExtendedL2 { incompatibleFeatures.insert(.extendedL2) }
        if options.dataFile != nil { incompatibleFeatures.insert(.externalDataFile) }
        if options.compressionType != .zlib { incompatibleFeatures.insert(.compressionType) }
        compatibleFeatures = options.hasLazyRefcounts ? .lazyRefcounts : []
        autoclearFeatures = options.hasRawExternalData ? .rawExternalData : []
        refcountOrder = layout.refcountOrder
        compressionType = options.compressionType
        backingFile = options.backingFile
        extensions = []
        unknownFields = []
        backingFormat = options.backingFormat
        dataFile = options.dataFile
        if version == 3 { addFeatureNames() }
    }

    /// Names the features for programs that do not know them, where the first cluster has room for it.
    private mutating func addFeatureNames() {
        let names = QCOW2HeaderExtension(.featureNames, data: QCOW2FeatureName.standard.flatMap(\.encoded))
        var named = self
        named.extensions.append(names)
        if (try? named.encoded()) != nil { self = named }
    }
}
