import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Opens the image in `base`, which the volume takes over: closing one closes the other.
    ///
    /// Throws `corrupt` for an image whose header or tables cannot be right, and `notSupported` for features that this
    /// module does not have. An image that was not closed cleanly by a program with lazy refcounts (the dirty bit) has
    /// its refcounts rebuilt first when it is opened for writing.
    public static func open(_ base: any ResizableVolume, _ options: QCOW2OpenOptions = QCOW2OpenOptions())
        async throws(StorageError) -> QCOW2Volume
    {
        var header = try await QCOW2Header.read(from: base)
        try header.checkSupported()
        let isReadOnly = options.isReadOnly || options.snapshot != nil
        try checkState(header, isReadOnly: isReadOnly)
        guard header.hasExternalData == (options.dataFile != nil) else {
            throw StorageError(
                .invalidArgument, "open image", at: base.stack,
                why: header.hasExternalData
                    ? "its data is in another file, \(header.dataFile ?? "unnamed"), which was not given"
                    : "it has no external data file, but one was given")
        }
        if !isReadOnly {
            try base.geometry.checkWritable()
            if header.incompatibleFeatures.contains(.dirty) { header = try await rebuildRefcounts(base) }
        }

        let (snapshots, snapshotTableByteCount) = try await SnapshotTable.contents(header, from: base)
        try await checkPlaces(header, snapshots, snapshotTableByteCount, size: base.geometry.size)
        let l1 = try await readWords(base, header.l1TableOffset, Int(header.l1EntryCount))
        let table = try await readWords(
            base, header.refcountTableOffset,
            Int(UInt64(header.refcountTableClusterCount) * header.clusterSize / 8))
        let sector = try await base.readBytes(at: 0, count: Int(QCOW2Limits.sector))
        var state = QCOW2State(
            header: header, headerSector: sector, size: header.size, l1: l1, refcountTable: table,
            cacheByteCount: options.cacheByteCount,
            baseSize: base.geometry.size, dataSize: (options.dataFile ?? base).geometry.size,
            commitsTables: header.version == 2 && options.journal != nil)
        state.snapshots = snapshots
        state.snapshotTableByteCount = snapshotTableByteCount
        if let name = options.snapshot {
            try await select(name, base, &state)
        } else if !isReadOnly {
            state.collectMetadata()
        }
        let volume = QCOW2Volume(
            base: base, options: options, header: header, state: state, isReadOnly: isReadOnly)
        if let journal = volume.journal, options.snapshot == nil {
            try await volume.recover(journal, tag: header.autoclearFeatures.sessionTag)
        }
        return volume
    }

    private static func checkState(_ header: QCOW2Header, isReadOnly: Bool) throws(StorageError) {
        if isReadOnly { return }
        if header.incompatibleFeatures.contains(.corrupt) {
            throw StorageError(
                .corrupt, "open image", why: "it is marked corrupt: only reading and repair are possible")
        }
    }

    /// Counts anew what a program with lazy refcounts had not counted when it died. Returns the header after that.
    private static func rebuildRefcounts(_ base: any ResizableVolume) async throws(StorageError) -> QCOW2Header {
        let report = try await QCOW2Checker.check(base, repair: .all)
        guard report.outcome != .corrupt else {
            throw StorageError(
                .corrupt, "open image", at: base.stack,
                why: "it was not closed cleanly, and repair left: \(report.findings.first ?? "corruption")")
        }
        let header = try await QCOW2Header.read(from: base)
        guard !header.incompatibleFeatures.contains(.dirty) else {
            throw StorageError(.internalError, "open image", at: base.stack, why: "repair left the dirty bit")
        }
        return header
    }

    /// Throws `corrupt` unless the tables lie inside the file and apart from each other.
    private static func checkPlaces(
        _ header: QCOW2Header, _ snapshots: [QCOW2Snapshot], _ snapshotTableByteCount: UInt64, size: UInt64
    ) async throws(StorageError) {
        var places: [(name: String, range: Range<UInt64>)] = [("header", 0..<header.clusterSize)]
        func add(_ name: String, _ offset: UInt64, _ byteCount: UInt64) throws(StorageError) {
            if byteCount == 0 { return }
            let end = offset.addingSaturating(byteCount)
            guard end <= header.layout.roundedUp(size) else {
                throw StorageError(
                    .corrupt, "open image", at: "\(name) at offset \(offset)", why: "it lies past the end of the file")
            }
            places.append((name, offset..<end))
        }
        try add("L1 table", header.l1TableOffset, UInt64(header.l1EntryCount) * 8)
        try add(
            "refcount table", header.refcountTableOffset,
            UInt64(header.refcountTableClusterCount) * header.clusterSize)
        if header.snapshotCount > 0 {
            try add("snapshot table", header.snapshotTableOffset, snapshotTableByteCount)
        }
        for snapshot in snapshots {
            try add("L1 table of snapshot \(snapshot.id)", snapshot.l1TableOffset, UInt64(snapshot.l1EntryCount) * 8)
        }
        places.sort { $0.range.lowerBound < $1.range.lowerBound }
        for (first, second) in zip(places, places.dropFirst()) where second.range.lowerBound < first.range.upperBound {
            throw StorageError(
                .corrupt, "open image", at: "offset \(second.range.lowerBound)",
                why: "the \(first.name) and the \(second.name) overlap")
        }
    }

    /// `count` words at `offset`; what the file no longer has reads as zeros.
    static func readWords(_ base: any Volume, _ offset: UInt64, _ count: Int) async throws(StorageError) -> [UInt64] {
        let size = base.geometry.size
        let available = Int(min(UInt64(count * 8), size > offset ? size - offset : 0))
        let bytes = try await base.readBytes(at: offset, count: available, padTo: count * 8)
        let raw = bytes.rawBytes
        return (0..<count).map { raw.loadBigEndian(UInt64.self, at: $0 * 8) }
    }

    /// Makes the state show a snapshot.
    private static func select(_ name: String, _ base: any Volume, _ state: inout QCOW2State) async throws(StorageError)
    {
        let snapshot = try state.findSnapshot(name)
        let l1 = try await readWords(base, snapshot.l1TableOffset, Int(snapshot.l1EntryCount))
        state.size = snapshot.diskSize ?? state.header.size
        let needed = state.layout.l1EntryCount(forSize: state.size)
        guard needed * 8 <= QCOW2Limits.l1Table else {
            throw StorageError(.corrupt, "open snapshot", at: name, why: "its size of \(state.size) bytes is too large")
        }
        state.l1 = l1 + repeatElement(0, count: max(0, Int(needed) - l1.count))
    }
}

extension QCOW2State {
    /// The snapshot with this name, or else this id. Throws `notFound`.
    func findSnapshot(_ name: String) throws(StorageError) -> QCOW2Snapshot {
        guard let found = snapshots.first(where: { $0.name == name }) ?? snapshots.first(where: { $0.id == name })
        else {
            throw StorageError(
                .notFound, "find snapshot", at: name, why: "the image has no snapshot of that name or id")
        }
        return found
    }

    /// Notes where metadata lies, so that no data is ever written over it.
    mutating func collectMetadata() {
        var clusters: Set<UInt64> = [0]
        func add(_ offset: UInt64, _ byteCount: UInt64) {
            if offset == 0 || byteCount == 0 { return }
            clusters.formUnion(layout.cluster(of: offset)...layout.cluster(of: offset + byteCount - 1))
        }
        add(header.l1TableOffset, UInt64(header.l1EntryCount) * 8)
        add(header.refcountTableOffset, UInt64(header.refcountTableClusterCount) * layout.clusterSize)
        if header.snapshotCount > 0 { add(header.snapshotTableOffset, snapshotTableByteCount) }
        for snapshot in snapshots { add(snapshot.l1TableOffset, UInt64(snapshot.l1EntryCount) * 8) }
        for block in refcounts.table where block != 0 { clusters.insert(layout.cluster(of: block)) }
        for entry in l1 where L1Entry(entry).offset != 0 { clusters.insert(layout.cluster(of: L1Entry(entry).offset)) }
        refcounts.metadataClusters = clusters
    }
}
