import BlockStorage
import IORuntime

/// Decides whether an image from an unknown source may become a template.
///
/// It refuses every image that could make a reader open another file, run out of memory or time, or read bytes that
/// are not the disk's, each with its own reason (`unsafeImage`). It follows no name, changes nothing, and takes
/// resources that depend on the limits and not on the image. Internal snapshots and bitmaps are counted: an importer
/// copies the active state and drops them.
public enum QCOW2Inspector {
    /// What an image may take at most.
    public struct Limits: Equatable, Sendable {
        /// Of the disk, in bytes.
        public var virtualSize: UInt64 = 64 << 40
        /// Of all L2 tables together, in bytes.
        public var tableByteCount: UInt64 = 8 << 30
        /// What all compressed clusters together may expand to, in bytes.
        public var inflatedByteCount: UInt64 = 1 << 40
        /// For the memory that the inspection takes itself, in bytes.
        public var memoryByteCount = 64 << 20
        /// For the whole inspection.
        public var duration: Duration = .seconds(3600)
        /// Whether every compressed cluster is expanded to see that it gives exactly one cluster. Reading the image
        /// checks the same, so who reads all of it anyway can do without.
        public var inflatesClusters = true

        /// Generous limits, for any template that is honest.
        public init() {}
    }

    /// What an acceptable image is.
    public struct Findings: Equatable, Sendable {
        /// Of the format, 2 or 3.
        public var version: UInt32
        /// Of the disk, in bytes.
        public var virtualSize: UInt64
        /// Host clusters that hold data, not compressed.
        public var allocatedClusterCount: UInt64 = 0
        /// Guest clusters that are compressed.
        public var compressedClusterCount: UInt64 = 0
        /// Internal snapshots, which a template does not keep.
        public var snapshotCount = 0
        /// Dirty bitmaps, which a template does not keep.
        public var bitmapCount = 0
    }

    /// Inspects the image in `volume`. Throws `unsafeImage` with the reason for an image that must be refused; other
    /// codes are failures to read it.
    public static func inspect(
        _ volume: any Volume, _ limits: Limits = Limits()
    ) async throws(StorageError) -> Findings {
        var inspection = try await Inspection(volume, limits)
        try await inspection.inspectTables()
        return inspection.findings
    }
}

/// The inspection of one image.
private struct Inspection {
    let reader: MetadataReader
    let limits: QCOW2Inspector.Limits
    let header: QCOW2Header
    let layout: QCOW2Layout
    let fileSize: UInt64
    let deadline: ContinuousClock.Instant
    /// What each host cluster is.
    var clusters: ReferenceCounter
    var findings: QCOW2Inspector.Findings
    var inflatedByteCount: UInt64 = 0
    var tableByteCount: UInt64 = 0

    init(_ volume: any Volume, _ limits: QCOW2Inspector.Limits) async throws(StorageError) {
        reader = MetadataReader(volume: volume)
        self.limits = limits
        fileSize = volume.geometry.size
        deadline = .now + limits.duration
        clusters = ReferenceCounter(from: 0, memoryLimit: limits.memoryByteCount)
        do {
            header = try await QCOW2Header.read(from: volume)
        } catch  where error.code == .corrupt || error.code == .notSupported {
            throw Self.refused(error.why)
        }
        layout = header.layout
        findings = QCOW2Inspector.Findings(version: header.version, virtualSize: header.size)
        try Self.checkHeader(header, limits)
    }

    static func refused(_ why: String) -> StorageError { StorageError(.unsafeImage, "inspect image", why: why) }

    private static func checkHeader(_ header: QCOW2Header, _ limits: QCOW2Inspector.Limits) throws(StorageError) {
        if let name = header.backingFile { throw refused("it has a backing file, '\(name.prefix(200))'") }
        if header.data(of: .backingFormat) != nil { throw refused("it names the format of a backing file") }
        if header.hasExternalData || header.autoclearFeatures.contains(.rawExternalData) {
            throw refused("its data is in another file")
        }
        if header.data(of: .dataFile) != nil { throw refused("it names an external data file") }
        let unknown = header.unknownIncompatibleFeatures
        if !unknown.isEmpty { throw refused("it uses unknown features: \(unknown.joined(separator: ", "))") }
        if header.encryptionMethod != 0 || header.data(of: .encryption) != nil { throw refused("it is encrypted") }
        if header.incompatibleFeatures.contains(.corrupt) { throw refused("it is marked corrupt") }
        if header.incompatibleFeatures.contains(.dirty) {
            throw refused("it was not closed cleanly: its refcounts have to be rebuilt first")
        }
        if header.size > limits.virtualSize {
            throw refused("its disk has \(header.size) bytes, more than the limit of \(limits.virtualSize)")
        }
        if header.size % QCOW2Limits.sector != 0 {
            throw refused("its disk has \(header.size) bytes, not a multiple of \(QCOW2Limits.sector)")
        }
    }

    mutating func inspectTables() async throws(StorageError) {
        try add(0, layout.clusterSize, as: .header, "the header")
        try add(header.l1TableOffset, UInt64(header.l1EntryCount) * 8, as: .l1Table, "the L1 table")
        try add(
            header.refcountTableOffset, UInt64(header.refcountTableClusterCount) * layout.clusterSize,
            as: .refcountTable, "the refcount table")
        try await inspectRefcountTable()
        try await inspectSnapshots()
        try await inspectBitmaps()
        try await inspectL1Table()
    }

    /// Notes what the clusters of a range are. Each may be one thing, once; only compressed clusters share.
    private mutating func add(
        _ offset: UInt64, _ byteCount: UInt64, as use: ReferenceCounter.Use, _ name: @autoclosure () -> String,
        sharing: ReferenceCounter.Use = []
    ) throws(StorageError) {
        guard byteCount > 0 else { return }
        let (end, overflow) = offset.addingReportingOverflow(byteCount)
        // The last cluster of a file may be there only in part.
        guard !overflow, offset < fileSize, end <= layout.roundedUp(fileSize) else {
            throw Self.refused("\(name()) at offset \(offset) lies past the end of the file")
        }
        for cluster in layout.cluster(of: offset)...layout.cluster(of: end - 1) {
            let others = clusters.uses(of: cluster).subtracting(sharing)
            guard others.isEmpty else { throw Self.refused("\(name()) at offset \(offset) overlaps the \(others)") }
            clusters.add(cluster...cluster, as: use)
        }
        guard clusters.window.upperBound == .max else {
            throw Self.refused("its tables need more than \(limits.memoryByteCount) bytes of memory to inspect")
        }
    }

    private func checkTime() throws(StorageError) {
        if ContinuousClock.now > deadline { throw Self.refused("inspecting it takes longer than \(limits.duration)") }
    }

    private mutating func inspectRefcountTable() async throws(StorageError) {
        let count = UInt64(header.refcountTableClusterCount) * layout.clusterSize / 8
        var pieces = TablePieces(reader, at: header.refcountTableOffset, count: count)
        while let (first, words) = try await pieces.next() {
            for (index, word) in words.enumerated() where word != 0 {
                guard layout.isAligned(word), word < QCOW2Limits.hostOffset else {
                    throw Self.refused("refcount table entry \(first + UInt64(index)) is no aligned offset")
                }
                try add(word, layout.clusterSize, as: .refcountBlock, "a refcount block")
            }
        }
    }

    private mutating func inspectSnapshots() async throws(StorageError) {
        let table: (snapshots: [QCOW2Snapshot], byteCount: UInt64)
        do {
            table = try await SnapshotTable.contents(header, from: reader.volume)
        } catch  where error.code == .corrupt {
            throw Self.refused("snapshot table \(error.place): \(error.why)")
        }
        findings.snapshotCount = table.snapshots.count
        try add(header.snapshotTableOffset, table.byteCount, as: .snapshotTable, "the snapshot table")
        for snapshot in table.snapshots {
            try add(
                snapshot.l1TableOffset, UInt64(snapshot.l1EntryCount) * 8, as: .l1Table,
                "the L1 table of snapshot \(snapshot.id.prefix(64))")
        }
    }

    private mutating func inspectBitmaps() async throws(StorageError) {
        let found: BitmapDirectory?
        do throws(StorageError) {
            found = try header.bitmapDirectory()
        } catch {
            throw Self.refused(error.why)
        }
        guard let directory = found else { return }
        findings.bitmapCount = directory.count
        try add(directory.offset, directory.byteCount, as: .other, "the bitmap directory")
        let bytes = try await reader.bytes(at: directory.offset, count: Int(directory.byteCount))
        var position = 0
        for index in 0..<directory.count {
            guard let bitmap = BitmapDirectoryEntry(bytes, at: position), layout.isAligned(bitmap.tableOffset) else {
                throw Self.refused("entry \(index) of the bitmap directory is damaged")
            }
            position = bitmap.end
            try add(bitmap.tableOffset, bitmap.tableEntryCount * 8, as: .other, "the table of bitmap \(index)")
        }
    }

    private mutating func inspectL1Table() async throws(StorageError) {
        var pieces = TablePieces(reader, at: header.l1TableOffset, count: UInt64(header.l1EntryCount))
        while let (first, words) = try await pieces.next() {
            for (index, word) in words.enumerated() where word != 0 {
                let entry = L1Entry(word)
                guard !entry.hasReservedBits, layout.isAligned(entry.offset), entry.offset != 0 else {
                    throw Self.refused(
                        "L1 entry \(first + UInt64(index)) is no aligned offset, or has reserved bits set")
                }
                try add(entry.offset, layout.clusterSize, as: .l2Table, "an L2 table")
                tableByteCount += layout.clusterSize
                guard tableByteCount <= limits.tableByteCount else {
                    throw Self.refused("its L2 tables have more than \(limits.tableByteCount) bytes")
                }
                try await inspectL2Table(at: entry.offset)
            }
        }
    }

    private mutating func inspectL2Table(at table: UInt64) async throws(StorageError) {
        try checkTime()
        let words = try await reader.words(at: table, count: Int(layout.clusterSize / 8))
        for index in stride(from: 0, to: words.count, by: layout.wordsPerEntry) {
            let entry = L2Entry(words[index])
            let subclusters = SubclusterBitmap(layout.hasExtendedL2 ? words[index + 1] : 0)
            if entry.word == 0 && subclusters.word == 0 { continue }
            if entry.isCompressed {
                try await inspectCompressed(entry, subclusters)
            } else {
                try inspectStandard(entry, subclusters)
            }
        }
    }

    private mutating func inspectStandard(_ entry: L2Entry, _ subclusters: SubclusterBitmap) throws(StorageError) {
        let isZeroFlagAllowed = header.version >= 3 && !layout.hasExtendedL2
        guard !entry.hasReservedBits(zeroFlagAllowed: isZeroFlagAllowed) else {
            throw Self.refused("L2 entry 0x\(String(entry.word, radix: 16)) has reserved bits set")
        }
        guard subclusters.isValid else { throw Self.refused("a subcluster is both allocated and zero") }
        guard entry.offset != 0 else {
            guard subclusters.allocated == 0 else { throw Self.refused("a subcluster is allocated without a cluster") }
            return
        }
        guard layout.isAligned(entry.offset) else {
            throw Self.refused("a data cluster is not aligned: offset \(entry.offset)")
        }
        try add(entry.offset, layout.clusterSize, as: .data, "a data cluster")
        findings.allocatedClusterCount += 1
    }

    private mutating func inspectCompressed(
        _ entry: L2Entry, _ subclusters: SubclusterBitmap
    ) async throws(StorageError) {
        guard !entry.isCopied, subclusters.word == 0 else {
            throw Self.refused("a compressed cluster has flags that only others may have")
        }
        let cluster = CompressedCluster(entry, clusterBits: layout.clusterBits)
        guard cluster.offset < fileSize else {
            throw Self.refused("a compressed cluster at offset \(cluster.offset) lies past the end of the file")
        }
        // The last sector of a file may be there only in part.
        let byteCount = min(UInt64(cluster.byteCount), layout.roundedUp(fileSize) - cluster.offset)
        try add(cluster.offset, byteCount, as: .other, "a compressed cluster", sharing: .other)
        findings.compressedClusterCount += 1
        inflatedByteCount += layout.clusterSize
        guard inflatedByteCount <= limits.inflatedByteCount else {
            throw Self.refused("its compressed clusters expand to more than \(limits.inflatedByteCount) bytes")
        }
        guard limits.inflatesClusters else { return }
        try checkTime()
        let data = try await reader.bytes(at: cluster.offset, count: cluster.byteCount)
        var expanded = IOBuffer(byteCount: Int(layout.clusterSize))
        var room = expanded.mutableBytes
        do {
            try header.compressionType.decompress(data.rawBytes, into: &room)
        } catch {
            throw Self.refused("the compressed cluster at offset \(cluster.offset): \(error.why)")
        }
    }
}
