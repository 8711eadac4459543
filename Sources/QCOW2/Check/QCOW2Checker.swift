import BlockStorage
import IORuntime

/// Checks an image's metadata as `qemu-img check` does: every reference against every refcount, COPIED flags, reserved
/// bits, alignment, and the end of the file; and also that no cluster is two things at once.
///
/// It reads the image through the volume that holds it and shares only the encoding of table entries with the engine.
/// No engine may change the image meanwhile.
public enum QCOW2Checker {
    /// What the check counts references in, in bytes.
    public static let defaultMemoryLimit = 64 << 20

    /// Checks the image in `volume`, and repairs what `repair` asks for.
    ///
    /// `leaks` gives clusters back that nothing references; `all` also rebuilds the refcounts and the COPIED flags from
    /// the references. A power loss during a repair leaves the image as it was or better. What cannot be repaired,
    /// because tables point outside the file or at each other, stays in the report.
    ///
    /// Throws `corrupt` for an image whose header or snapshot table cannot be read, and `notSupported` for features
    /// that are not known. The memory in use depends on `memoryLimit` (in bytes) and not on the image, beyond its
    /// refcount table and a list of its L2 tables; a larger image takes more walks over its tables.
    public static func check(
        _ volume: any ResizableVolume, repair: CheckRepair = .none, memoryLimit: Int = defaultMemoryLimit
    ) async throws(StorageError) -> CheckReport {
        let before = try await ImageCheck.run(volume, memoryLimit: memoryLimit)
        guard repair != .none, before.needsRepair(repair) else { return before.report }
        try await ImageRepair(volume, repair, memoryLimit: memoryLimit).run(before.report)
        var report = try await ImageCheck.run(volume, memoryLimit: memoryLimit).report
        report.corruptionsFixed = max(before.report.corruptions - report.corruptions, 0)
        report.leaksFixed = max(before.report.leaks - report.leaks, 0)
        return report
    }
}

/// One check of one image.
struct ImageCheck {
    /// A hostile image may claim any number of L2 tables.
    static let l2TableLimit = 4 << 20
    /// Of all snapshots together: tables of honest images do not overlap, and no file holds more.
    static let snapshotL1EntryLimit: UInt64 = 1 << 27
    private static let findingLimit = 100
    /// Walks that one check makes at most.
    static let walkLimit = 256

    let reader: MetadataReader
    let header: QCOW2Header
    let layout: QCOW2Layout
    let fileSize: UInt64
    let snapshots: (snapshots: [QCOW2Snapshot], byteCount: UInt64)
    /// With duplicates removed; how many L1 entries lead to each, and whether an active one does.
    var l2Tables: [UInt64: (times: UInt32, isActive: Bool)] = [:]
    var refcounts: RecordedRefcounts
    var counter: ReferenceCounter
    var report = CheckReport()
    /// Whether findings are still to be reported: later walks only count.
    var isFirstWalk = true
    /// Whether bitmaps count that another program made stale. Their clusters are leaked, but the header still names
    /// them, so that they must not be given away.
    var countsStaleBitmaps = false
    /// Whether the refcount table and its blocks count: not when they are to be replaced.
    var countsRefcountTable = true

    static func run(_ volume: any Volume, memoryLimit: Int) async throws(StorageError) -> ImageCheck {
        var check = try await ImageCheck(volume, memoryLimit: memoryLimit)
        try await check.forEachWindow(memoryLimit: memoryLimit) { (check) async throws(StorageError) in
            try await check.compare()
        }
        return check
    }

    /// Counts the references and calls `body`, once for each window of the counter, in order.
    mutating func forEachWindow(
        memoryLimit: Int, _ body: (inout ImageCheck) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        try await findL2Tables()
        for _ in 0..<Self.walkLimit {
            try await walk()
            try await body(&self)
            isFirstWalk = false
            if counter.window.upperBound == .max { return }
            counter = ReferenceCounter(from: counter.window.upperBound, memoryLimit: memoryLimit)
        }
        throw StorageError(
            .notSupported, "check image", at: reader.volume.stack,
            why: "its references need more memory than is allowed")
    }

    init(_ volume: any Volume, memoryLimit: Int) async throws(StorageError) {
        reader = MetadataReader(volume: volume)
        header = try await QCOW2Header.read(from: volume)
        try header.checkSupported()
        layout = header.layout
        fileSize = volume.geometry.size
        snapshots = try await SnapshotTable.contents(header, from: volume)
        refcounts = try await RecordedRefcounts(reader, header)
        counter = ReferenceCounter(from: 0, memoryLimit: memoryLimit)
    }

    /// Whether there is anything that `repair` is for.
    func needsRepair(_ repair: CheckRepair) -> Bool {
        switch repair {
        case .none: false
        case .leaks: report.leaks > 0
        case .all: report.outcome != .clean || !header.incompatibleFeatures.isDisjoint(with: [.dirty, .corrupt])
        }
    }

    mutating func addCorruption(_ finding: @autoclosure () -> String, times: UInt32 = 1) {
        guard isFirstWalk else { return }
        report.corruptions += Int(times)
        note(finding())
    }

    mutating func note(_ finding: String) {
        if report.findings.count < Self.findingLimit { report.findings.append(finding) }
    }
}
