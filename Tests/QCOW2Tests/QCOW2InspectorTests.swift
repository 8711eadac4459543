import BlockStorage
import IORuntime
import Testing

@testable import QCOW2

@Suite("The inspection of templates")
struct QCOW2InspectorTests {
    typealias Field = QCOW2Header.FieldOffset

    /// Why an image is refused, or `nil`.
    private func reason(
        _ bytes: [UInt8], _ limits: QCOW2Inspector.Limits = QCOW2Inspector.Limits()
    ) async -> String? {
        do throws(StorageError) {
            _ = try await QCOW2Inspector.inspect(MemoryVolume(bytes, isReadOnly: true), limits)
            return nil
        } catch {
            #expect(error.code == .unsafeImage)
            return error.why
        }
    }

    private func expectReason(
        _ expected: String, _ image: SampleImage = .plain, limits: QCOW2Inspector.Limits = QCOW2Inspector.Limits(),
        sourceLocation: SourceLocation = #_sourceLocation, _ change: (inout [UInt8], QCOW2Header) throws -> Void
    ) async throws {
        var bytes = try await image.bytes()
        try change(&bytes, try await QCOW2Header.read(from: MemoryVolume(bytes)))
        let reason = await reason(bytes, limits)
        #expect(reason?.contains(expected) == true, "\(reason ?? "accepted")", sourceLocation: sourceLocation)
    }

    /// The position of the first L2 entry that is not empty.
    private func firstL2Entry(_ bytes: [UInt8], _ header: QCOW2Header, isCompressed: Bool = false) throws -> Int {
        let l1: UInt64 = bytes.bigEndian(at: Int(header.l1TableOffset))
        let table = Int(L1Entry(l1).offset)
        return try #require(
            stride(from: table, to: table + Int(header.clusterSize), by: header.layout.wordsPerEntry * 8).first {
                let entry = L2Entry(bytes.bigEndian(at: $0))
                return entry.offset != 0 && entry.isCompressed == isCompressed
            })
    }

    private func rewrite(
        _ bytes: inout [UInt8], _ header: QCOW2Header, _ change: (inout QCOW2Header) -> Void
    ) throws {
        var changed = header
        // The feature names leave no room in small clusters.
        changed.extensions.removeAll { $0.kind == .featureNames }
        change(&changed)
        let encoded = try changed.encoded()
        bytes.replaceSubrange(0..<encoded.count, with: encoded)
    }

    @Test("honest images are accepted, and what they hold is counted", arguments: SampleImage.allCases)
    func accepted(_ image: SampleImage) async throws {
        let findings = try await QCOW2Inspector.inspect(MemoryVolume(image.bytes(), isReadOnly: true))
        #expect(findings.virtualSize == 300 << 10)
        #expect(findings.version == (image == .version2 ? 2 : 3))
        #expect(findings.snapshotCount == (image == .snapshots || image == .version2 ? 2 : 0))
        #expect((findings.compressedClusterCount > 0) == (image == .zlib || image == .zstd))
        #expect(findings.allocatedClusterCount > 0 || findings.compressedClusterCount > 0)
    }

    @Test("other formats and versions are refused")
    func magic() async throws {
        #expect(await reason([UInt8](repeating: 0, count: 4096))?.contains("magic") == true)
        #expect(await reason([])?.contains("magic") == true)
        try await expectReason("version 1") { bytes, _ in bytes.setBigEndian(1 as UInt32, at: 4) }
        try await expectReason("version 4") { bytes, _ in bytes.setBigEndian(4 as UInt32, at: 4) }
    }

    @Test("names of other files are refused")
    func names() async throws {
        for name in ["/etc/passwd", "json:{\"driver\":\"file\"}", "nbd://host/disk"] {
            try await expectReason("backing file") { try rewrite(&$0, $1) { $0.backingFile = name } }
        }
        try await expectReason("format of a backing file") { try rewrite(&$0, $1) { $0.backingFormat = "raw" } }
        try await expectReason("another file") {
            try rewrite(&$0, $1) { $0.incompatibleFeatures.insert(.externalDataFile) }
        }
        try await expectReason("names an external data file") { try rewrite(&$0, $1) { $0.dataFile = "data.raw" } }
    }

    @Test("features that nobody should trust are refused")
    func features() async throws {
        try await expectReason("marked corrupt") { try rewrite(&$0, $1) { $0.incompatibleFeatures.insert(.corrupt) } }
        try await expectReason("not closed cleanly") {
            try rewrite(&$0, $1) { $0.incompatibleFeatures.insert(.dirty) }
        }
        try await expectReason("unknown features: bit 17") {
            try rewrite(&$0, $1) { $0.incompatibleFeatures.insert(.init(rawValue: 1 << 17)) }
        }
        for method: UInt32 in [1, 2] {
            try await expectReason("encrypted") { try rewrite(&$0, $1) { $0.encryptionMethod = method } }
        }
    }

    @Test("header fields out of their range are refused")
    func header() async throws {
        for bits: UInt32 in [0, 8, 22, .max] {
            try await expectReason("cluster_bits") { bytes, _ in bytes.setBigEndian(bits, at: 20) }
        }
        for length: UInt32 in [0, 72, 105, 4097, 8192, .max] {
            try await expectReason("header_length") { bytes, _ in bytes.setBigEndian(length, at: Field.headerByteCount)
            }
        }
        try await expectReason("refcount_order") { bytes, _ in bytes.setBigEndian(7 as UInt32, at: Field.refcountOrder)
        }
        try await expectReason("past the end of the header") { bytes, header in
            try rewrite(&bytes, header) { _ in }
            bytes.setBigEndian(0x1234 as UInt32, at: QCOW2Header.version3ByteCount)
            bytes.setBigEndian(UInt32.max - 3, at: QCOW2Header.version3ByteCount + 4)
        }
    }

    @Test("tables that are too large, unaligned, outside the file or on each other are refused")
    func tables() async throws {
        try await expectReason("L1 table") { bytes, _ in bytes.setBigEndian(UInt32.max, at: Field.l1EntryCount) }
        try await expectReason("too small") { bytes, _ in bytes.setBigEndian(0 as UInt32, at: Field.l1EntryCount) }
        for field in [Field.l1TableOffset, Field.refcountTableOffset] {
            try await expectReason("offset 513") { bytes, _ in bytes.setBigEndian(513 as UInt64, at: field) }
            try await expectReason("past the end of the file") { bytes, _ in
                bytes.setBigEndian(1 << 40 as UInt64, at: field)
            }
        }
        try await expectReason("refcount table") { bytes, _ in
            bytes.setBigEndian(UInt32.max, at: Field.refcountTableClusterCount)
        }
        try await expectReason("overlaps the L1 table") { bytes, header in
            bytes.setBigEndian(header.l1TableOffset, at: Field.refcountTableOffset)
        }
        try await expectReason("snapshots are more") { bytes, _ in
            bytes.setBigEndian(70_000 as UInt32, at: Field.snapshotCount)
        }
        try await expectReason("snapshot table", .snapshots) { bytes, _ in
            bytes.setBigEndian(1 << 40 as UInt64, at: Field.snapshotTableOffset)
        }
        try await expectReason("bitmap") { bytes, header in
            var directory: [UInt8] = []
            for word in [1 << 32, 64, 1 << 40] as [UInt64] { directory.appendBigEndian(word) }
            try rewrite(&bytes, header) { $0.extensions.append(QCOW2HeaderExtension(.bitmaps, data: directory)) }
        }
        try await expectReason("refcount table entry") { bytes, header in
            bytes.setBigEndian(12345 as UInt64, at: Int(header.refcountTableOffset))
        }
    }

    @Test("disks over the limit and parts of sectors are refused")
    func size() async throws {
        var limits = QCOW2Inspector.Limits()
        limits.virtualSize = 1 << 10
        try await expectReason("more than the limit", limits: limits) { _, _ in }
        try await expectReason("not a multiple") { bytes, _ in
            bytes.setBigEndian((300 << 10) - 1 as UInt64, at: Field.size)
        }
    }

    @Test("L1 and L2 entries that point where no data can be are refused")
    func entries() async throws {
        try await expectReason("L1 entry") { bytes, header in
            bytes.setBigEndian(0x7000 | 1 as UInt64, at: Int(header.l1TableOffset))
        }
        let changes: [(String, (QCOW2Header) -> UInt64)] = [
            ("not aligned", { _ in L2Entry.copiedFlag | 0x1200 }),
            ("past the end", { _ in L2Entry.copiedFlag | 1 << 40 }),
            ("reserved bits", { _ in L2Entry.copiedFlag | 0x1000 | 1 << 58 }),
            ("overlaps the L1 table", { L2Entry.copiedFlag | $0.l1TableOffset }),
            ("overlaps the refcount table", { L2Entry.copiedFlag | $0.refcountTableOffset }),
        ]
        for (expected, entry) in changes {
            try await expectReason(expected) { bytes, header in
                bytes.setBigEndian(entry(header), at: try firstL2Entry(bytes, header))
            }
        }
        try await expectReason("overlaps the data") { bytes, header in
            let first = try firstL2Entry(bytes, header)
            bytes.setBigEndian(bytes.bigEndian(at: first) as UInt64, at: first + 8)
        }
        try await expectReason("both allocated and zero", .extended) { bytes, header in
            bytes.setBigEndian(1 | 1 << 32 as UInt64, at: try firstL2Entry(bytes, header) + 8)
        }
    }

    @Test("compressed clusters that do not give one cluster, or too much in all, are refused")
    func compressed() async throws {
        for image in [SampleImage.zlib, .zstd] {
            try await expectReason("the compressed cluster", image) { bytes, header in
                let entry = try firstL2Entry(bytes, header, isCompressed: true)
                let place = CompressedCluster(L2Entry(bytes.bigEndian(at: entry)), clusterBits: header.clusterBits)
                for index in 0..<16 { bytes[Int(place.offset) + index] ^= 0x5a }
            }
            var limits = QCOW2Inspector.Limits()
            limits.inflatedByteCount = 100_000
            try await expectReason("expand to more than", image, limits: limits) { _, _ in }
        }
        var limits = QCOW2Inspector.Limits()
        limits.duration = .zero
        try await expectReason("takes longer", .zlib, limits: limits) { _, _ in }
    }

    @Test("a file that is cut short is refused", arguments: SampleImage.allCases)
    func truncated(_ image: SampleImage) async throws {
        let bytes = try await image.bytes()
        for length in stride(from: 0, to: bytes.count - (1 << 14), by: max(bytes.count / 20, 1)) {
            #expect(await reason(Array(bytes.prefix(length))) != nil, "\(length) of \(bytes.count) bytes")
        }
    }
}
