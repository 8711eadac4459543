import BlockStorage
import IORuntime

/// The first cluster of an image: what the image is, where its tables lie, and what it builds on.
///
/// Follows `docs/interop/qcow2.rst` of QEMU. A value of this type has passed `QCOW2Header.init(_:)`, or is meant to be
/// encoded: every count is within `QCOW2Limits`, and table offsets are aligned. Whether the tables lie inside the file
/// and apart from each other is checked when an image is opened.
public struct QCOW2Header: Equatable, Sendable {
    /// 2 or 3.
    public var version: UInt32
    /// The cluster size is two to this power, 9 to 21.
    public var clusterBits: Int
    /// The size of the disk, in bytes.
    public var size: UInt64
    /// 0 for none, 1 for AES, 2 for LUKS.
    public var encryptionMethod: UInt32
    /// Of the active L1 table, in entries of 8 bytes.
    public var l1EntryCount: UInt32
    /// In bytes from the start of the file, as every offset here.
    public var l1TableOffset: UInt64
    /// In bytes from the start of the file.
    public var refcountTableOffset: UInt64
    /// How long the refcount table is, in clusters.
    public var refcountTableClusterCount: UInt32
    /// How many internal snapshots there are.
    public var snapshotCount: UInt32
    /// In bytes from the start of the file; meaningless without snapshots.
    public var snapshotTableOffset: UInt64
    /// What a program must know to read the image.
    public var incompatibleFeatures: QCOW2IncompatibleFeatures
    /// What a program may ignore.
    public var compatibleFeatures: QCOW2CompatibleFeatures
    /// What a program that does not know it clears before it writes.
    public var autoclearFeatures: QCOW2AutoclearFeatures
    /// A refcount has two to this power bits, 0 to 6; 4 in version 2.
    public var refcountOrder: Int
    /// Of every compressed cluster.
    public var compressionType: QCOW2CompressionType
    /// What this image shows where it holds nothing itself, as written by whoever created it.
    public var backingFile: String?
    /// In their order, known or not.
    public var extensions: [QCOW2HeaderExtension]
    /// Header fields after the last one that the specification had when this was written (byte 112 on).
    public var unknownFields: [UInt8]

    /// In bytes.
    public var clusterSize: UInt64 { 1 << UInt64(clusterBits) }
    /// Whether L2 entries address subclusters.
    public var hasExtendedL2: Bool { incompatibleFeatures.contains(.extendedL2) }
    /// Whether guest data lies in another file.
    public var hasExternalData: Bool { incompatibleFeatures.contains(.externalDataFile) }

    /// The declared format of the backing file.
    public var backingFormat: String? {
        get { string(.backingFormat) }
        set { setString(newValue, .backingFormat) }
    }

    /// The name of the external data file.
    public var dataFile: String? {
        get { string(.dataFile) }
        set { setString(newValue, .dataFile) }
    }

    func data(of kind: QCOW2HeaderExtension.Kind) -> [UInt8]? {
        extensions.first { $0.kind == kind }?.data
    }

    private func string(_ kind: QCOW2HeaderExtension.Kind) -> String? {
        data(of: kind).map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private mutating func setString(_ value: String?, _ kind: QCOW2HeaderExtension.Kind) {
        guard let value else { return extensions.removeAll { $0.kind == kind } }
        let new = QCOW2HeaderExtension(kind, data: Array(value.utf8))
        if let index = extensions.firstIndex(where: { $0.kind == kind }) {
            extensions[index] = new
        } else {
            extensions.insert(new, at: 0)
        }
    }

    /// The name that the image itself gives to a feature bit.
    private func name(of bit: Int, _ field: QCOW2FeatureName.Field) -> String {
        let table = data(of: .featureNames) ?? []
        for start in stride(from: 0, to: table.count - QCOW2FeatureName.byteCount + 1, by: QCOW2FeatureName.byteCount) {
            let row = QCOW2FeatureName(table[start..<start + QCOW2FeatureName.byteCount])
            if row.field == field.rawValue, Int(row.bit) == bit { return "'\(row.name)' (bit \(bit))" }
        }
        return "bit \(bit)"
    }

    /// The incompatible features that this module does not know, by the names that the image gives them.
    public var unknownIncompatibleFeatures: [String] {
        let unknown = incompatibleFeatures.subtracting(.known).rawValue
        return (0..<64).filter { unknown & 1 << UInt64($0) != 0 }.map { name(of: $0, .incompatible) }
    }

    /// Throws `notSupported` for what this module cannot read, with the reason.
    public func checkSupported() throws(StorageError) {
        let unknown = unknownIncompatibleFeatures
        if !unknown.isEmpty {
            throw StorageError(
                .notSupported, "open image",
                why: "it uses features that this version does not know: \(unknown.joined(separator: ", "))")
        }
        if encryptionMethod != 0 {
            throw StorageError(.notSupported, "open image", why: "it is encrypted (method \(encryptionMethod))")
        }
    }

    /// Reads the header of the image in `volume`, from at most its first 2 MiB. Throws `corrupt` for what is not a
    /// valid header and `notSupported` for other versions.
    public static func read(from volume: any Volume) async throws(StorageError) -> QCOW2Header {
        let available = volume.geometry.size
        let first = try await volume.readBytes(at: 0, count: Int(min(available, QCOW2Limits.sector)), padTo: 512)
        let clusterBits = try checkStart(first)
        let clusterSize = 1 << clusterBits
        let count = Int(min(available, UInt64(clusterSize)))
        return try QCOW2Header(await volume.readBytes(at: 0, count: count, padTo: clusterSize))
    }
}

extension Volume {
    /// `count` bytes at `offset`, followed by zeros up to `padTo` bytes.
    func readBytes(at offset: UInt64, count: Int, padTo: Int = 0) async throws(StorageError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(count, padTo))
        if count > 0 {
            var all = bytes.mutableRawBytes
            var wanted = all._mutatingExtracting(0..<count)
            try await read(into: &wanted, at: offset)
        }
        return bytes
    }

    /// Writes all of `bytes` at `offset`.
    func writeBytes(_ bytes: [UInt8], at offset: UInt64) async throws(StorageError) {
        try await write(bytes.rawBytes, at: offset, options: [])
    }
}
