import BlockStorage

extension QCOW2Header {
    static let magic: UInt32 = 0x5146_49fb
    static let version2ByteCount = 72
    /// What this module writes: up to the compression type and its padding.
    static let version3ByteCount = 112
    private static let smallestVersion3ByteCount = 104

    /// Where fields lie in the first sector, in bytes; structural changes rewrite these.
    enum FieldOffset {
        static let backingFile = 8
        static let size = 24
        static let l1EntryCount = 36
        static let l1TableOffset = 40
        static let refcountTableOffset = 48
        static let refcountTableClusterCount = 56
        static let snapshotCount = 60
        static let snapshotTableOffset = 64
        static let incompatibleFeatures = 72
        static let compatibleFeatures = 80
        static let autoclearFeatures = 88
        static let refcountOrder = 96
        static let headerByteCount = 100
        static let compressionType = 104
    }

    /// Checks magic, version and cluster size in the first sector; returns the cluster bits.
    static func checkStart(_ bytes: [UInt8]) throws(StorageError) -> Int {
        guard bytes.count >= version2ByteCount, bytes.bigEndian(at: 0) == magic else {
            throw invalid("it does not begin with the magic number of QCOW2")
        }
        let version: UInt32 = bytes.bigEndian(at: 4)
        guard version == 2 || version == 3 else {
            let hint = version == 1 ? "; import it with format qcow" : ""
            throw StorageError(.notSupported, "read image header", why: "QCOW version \(version)\(hint)")
        }
        let clusterBits: UInt32 = bytes.bigEndian(at: 20)
        guard let bits = Int(exactly: clusterBits), QCOW2Limits.clusterBits.contains(bits) else {
            throw invalid("cluster_bits \(clusterBits) is not in 9...21")
        }
        return bits
    }

    static func invalid(_ why: String) -> StorageError { StorageError(.corrupt, "read image header", why: why) }

    /// Decodes the first cluster of an image, given whole. Throws `corrupt`, naming the field, for anything invalid.
    public init(_ bytes: [UInt8]) throws(StorageError) {
        let clusterBits = try Self.checkStart(bytes)
        guard bytes.count >= 1 << clusterBits else { throw Self.invalid("the first cluster is cut short") }
        try self.init(bytes, clusterBits: clusterBits)
    }

    /// As `init(_:)`, given only the first bytes of the image; nil when the header is longer than that.
    public init?(beginning bytes: [UInt8]) throws(StorageError) {
        let clusterBits = try Self.checkStart(bytes)
        guard Self.isComplete(bytes, clusterBits: clusterBits) else { return nil }
        try self.init(bytes, clusterBits: clusterBits)
    }

    /// Whether the bytes hold all of the header, its extensions and the name of the backing file.
    private static func isComplete(_ bytes: [UInt8], clusterBits: Int) -> Bool {
        if bytes.count >= 1 << clusterBits { return true }
        var position = version2ByteCount
        if bytes.bigEndian(at: 4) as UInt32 == 3 {
            guard bytes.count >= version3ByteCount else { return false }
            position = Int(bytes.bigEndian(at: FieldOffset.headerByteCount) as UInt32)
        }
        guard position <= bytes.count else { return false }
        let backing: UInt64 = bytes.bigEndian(at: FieldOffset.backingFile)
        if backing != 0 {
            let length: UInt32 = bytes.bigEndian(at: FieldOffset.backingFile + 8)
            return backing <= UInt64(bytes.count) && UInt64(length) <= UInt64(bytes.count) - backing
        }
        while bytes.count - position >= 8 {
            if QCOW2HeaderExtension.Kind(rawValue: bytes.bigEndian(at: position)) == .end { return true }
            let length = Int(bytes.bigEndian(at: position + 4) as UInt32)
            position = min(position + 8 + (length + 7) / 8 * 8, bytes.count)
        }
        return false
    }

    private init(_ bytes: [UInt8], clusterBits: Int) throws(StorageError) {
        self.clusterBits = clusterBits
        version = bytes.bigEndian(at: 4)
        size = bytes.bigEndian(at: FieldOffset.size)
        encryptionMethod = bytes.bigEndian(at: 32)
        l1EntryCount = bytes.bigEndian(at: FieldOffset.l1EntryCount)
        l1TableOffset = bytes.bigEndian(at: FieldOffset.l1TableOffset)
        refcountTableOffset = bytes.bigEndian(at: FieldOffset.refcountTableOffset)
        refcountTableClusterCount = bytes.bigEndian(at: FieldOffset.refcountTableClusterCount)
        snapshotCount = bytes.bigEndian(at: FieldOffset.snapshotCount)
        snapshotTableOffset = bytes.bigEndian(at: FieldOffset.snapshotTableOffset)
        incompatibleFeatures = []
        compatibleFeatures = []
        autoclearFeatures = []
        refcountOrder = 4
        compressionType = .zlib
        unknownFields = []
        backingFile = nil
        extensions = []

        var headerByteCount = Self.version2ByteCount
        if version == 3 { headerByteCount = try decodeVersion3(bytes) }
        try decodeBackingFile(bytes, headerByteCount: headerByteCount)
        try checkFields()
    }

    private mutating func decodeVersion3(_ bytes: [UInt8]) throws(StorageError) -> Int {
        incompatibleFeatures = .init(rawValue: bytes.bigEndian(at: FieldOffset.incompatibleFeatures))
        compatibleFeatures = .init(rawValue: bytes.bigEndian(at: FieldOffset.compatibleFeatures))
        autoclearFeatures = .init(rawValue: bytes.bigEndian(at: FieldOffset.autoclearFeatures))
        let order: UInt32 = bytes.bigEndian(at: FieldOffset.refcountOrder)
        guard QCOW2Limits.refcountOrder.contains(Int(order)) else {
            throw Self.invalid("refcount_order \(order) is not in 0...6")
        }
        refcountOrder = Int(order)
        let length: UInt32 = bytes.bigEndian(at: FieldOffset.headerByteCount)
        guard length >= Self.smallestVersion3ByteCount, length % 8 == 0, length <= clusterSize else {
            throw Self.invalid("header_length \(length) is not a multiple of 8 between 104 and the cluster size")
        }
        let headerByteCount = Int(length)
        let type = headerByteCount > FieldOffset.compressionType ? bytes[FieldOffset.compressionType] : 0
        guard let known = QCOW2CompressionType(rawValue: type) else {
            throw StorageError(.notSupported, "read image header", why: "unknown compression type \(type)")
        }
        guard (known != .zlib) == incompatibleFeatures.contains(.compressionType) else {
            throw Self.invalid("compression type \(type) does not agree with its feature bit")
        }
        compressionType = known
        if headerByteCount > Self.version3ByteCount {
            unknownFields = Array(bytes[Self.version3ByteCount..<headerByteCount])
        }
        return headerByteCount
    }

    private mutating func decodeBackingFile(_ bytes: [UInt8], headerByteCount: Int) throws(StorageError) {
        let offset: UInt64 = bytes.bigEndian(at: FieldOffset.backingFile)
        let length: UInt32 = bytes.bigEndian(at: FieldOffset.backingFile + 8)
        var extensionsEnd = min(1 << clusterBits, bytes.count)
        if offset != 0 {
            guard length <= QCOW2Limits.backingFileName else {
                throw Self.invalid("the backing file name has \(length) bytes, more than 1023")
            }
            guard offset >= UInt64(headerByteCount), offset <= clusterSize, UInt64(length) <= clusterSize - offset
            else {
                throw Self.invalid("the backing file name lies outside the first cluster")
            }
            let name = bytes[Int(offset)..<Int(offset) + Int(length)]
            guard let text = String(validating: name, as: UTF8.self), !name.contains(0) else {
                throw Self.invalid("the backing file name is not valid text")
            }
            if length > 0 { backingFile = text }
            extensionsEnd = Int(offset)
        }
        try decodeExtensions(bytes, headerByteCount..<extensionsEnd)
    }

    private mutating func decodeExtensions(_ bytes: [UInt8], _ range: Range<Int>) throws(StorageError) {
        var position = range.lowerBound
        while range.upperBound - position >= 8 {
            let kind = QCOW2HeaderExtension.Kind(rawValue: bytes.bigEndian(at: position))
            let length: UInt32 = bytes.bigEndian(at: position + 4)
            if kind == .end { return }
            position += 8
            guard Int(length) <= range.upperBound - position else {
                throw Self.invalid("extension 0x\(String(kind.rawValue, radix: 16)) runs past the end of the header")
            }
            extensions.append(QCOW2HeaderExtension(kind, data: Array(bytes[position..<position + Int(length)])))
            position = min(position + (Int(length) + 7) / 8 * 8, range.upperBound)
        }
    }

    /// Throws `corrupt` unless the fields agree with each other and with the limits.
    func checkFields() throws(StorageError) {
        if hasExtendedL2, !QCOW2Limits.extendedL2ClusterBits.contains(clusterBits) {
            throw Self.invalid("extended L2 entries need clusters of 16 KiB or more")
        }
        if size >= QCOW2Limits.hostOffset { throw Self.invalid("a size of \(size) bytes is too large") }
        try checkTable("L1 table", at: l1TableOffset, UInt64(l1EntryCount) * 8, limit: QCOW2Limits.l1Table)
        if UInt64(l1EntryCount) < layout.l1EntryCount(forSize: size) {
            throw Self.invalid("an L1 table of \(l1EntryCount) entries is too small for \(size) bytes")
        }
        if refcountTableClusterCount == 0 { throw Self.invalid("there is no refcount table") }
        try checkTable(
            "refcount table", at: refcountTableOffset, UInt64(refcountTableClusterCount) << UInt64(clusterBits),
            limit: QCOW2Limits.refcountTable)
        if snapshotCount > QCOW2Limits.snapshotCount {
            throw Self.invalid("\(snapshotCount) snapshots are more than \(QCOW2Limits.snapshotCount)")
        }
        if snapshotCount > 0 {
            try checkTable("snapshot table", at: snapshotTableOffset, 1, limit: QCOW2Limits.snapshotTable)
        }
    }

    private func checkTable(_ name: String, at offset: UInt64, _ byteCount: UInt64, limit: UInt64) throws(StorageError)
    {
        if byteCount > limit { throw Self.invalid("the \(name) has \(byteCount) bytes, more than \(limit)") }
        if byteCount == 0 { return }
        guard offset % clusterSize == 0, offset > 0, offset < QCOW2Limits.hostOffset else {
            throw Self.invalid("the \(name) cannot be at offset \(offset)")
        }
    }
}

extension QCOW2Header {
    /// Puts the fields that change while an image is open into its first sector.
    func store(into sector: inout [UInt8]) {
        if backingFile == nil {
            sector.setBigEndian(UInt64(0), at: FieldOffset.backingFile)
            sector.setBigEndian(UInt32(0), at: FieldOffset.backingFile + 8)
        }
        sector.setBigEndian(size, at: FieldOffset.size)
        sector.setBigEndian(l1EntryCount, at: FieldOffset.l1EntryCount)
        sector.setBigEndian(l1TableOffset, at: FieldOffset.l1TableOffset)
        sector.setBigEndian(refcountTableOffset, at: FieldOffset.refcountTableOffset)
        sector.setBigEndian(refcountTableClusterCount, at: FieldOffset.refcountTableClusterCount)
        sector.setBigEndian(snapshotCount, at: FieldOffset.snapshotCount)
        sector.setBigEndian(snapshotTableOffset, at: FieldOffset.snapshotTableOffset)
        if version == 2 { return }
        sector.setBigEndian(incompatibleFeatures.rawValue, at: FieldOffset.incompatibleFeatures)
        sector.setBigEndian(compatibleFeatures.rawValue, at: FieldOffset.compatibleFeatures)
        sector.setBigEndian(autoclearFeatures.rawValue, at: FieldOffset.autoclearFeatures)
    }

    /// The first cluster of the image. Throws `invalidArgument` when it does not all fit.
    public func encoded() throws(StorageError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendBigEndian(Self.magic)
        bytes.appendBigEndian(version)
        bytes.appendBigEndian(UInt64(0))
        bytes.appendBigEndian(UInt32(0))
        bytes.appendBigEndian(UInt32(clusterBits))
        bytes.appendBigEndian(size)
        bytes.appendBigEndian(encryptionMethod)
        bytes.appendBigEndian(l1EntryCount)
        bytes.appendBigEndian(l1TableOffset)
        bytes.appendBigEndian(refcountTableOffset)
        bytes.appendBigEndian(refcountTableClusterCount)
        bytes.appendBigEndian(snapshotCount)
        bytes.appendBigEndian(snapshotTableOffset)
        if version == 3 {
            bytes.appendBigEndian(incompatibleFeatures.rawValue)
            bytes.appendBigEndian(compatibleFeatures.rawValue)
            bytes.appendBigEndian(autoclearFeatures.rawValue)
            bytes.appendBigEndian(UInt32(refcountOrder))
            bytes.appendBigEndian(UInt32(Self.version3ByteCount + unknownFields.count))
            bytes.append(compressionType.rawValue)
            bytes.pad(to: 8)
            bytes += unknownFields
        }
        for part in extensions {
            bytes.appendBigEndian(part.kind.rawValue)
            bytes.appendBigEndian(UInt32(part.data.count))
            bytes += part.data
            bytes.pad(to: 8)
        }
        bytes.appendBigEndian(UInt64(0))
        if let backingFile {
            let name = Array(backingFile.utf8)
            guard name.count <= QCOW2Limits.backingFileName else {
                throw StorageError(
                    .invalidArgument, "write image header", why: "the backing file name has more than 1023 bytes")
            }
            bytes.setBigEndian(UInt64(bytes.count), at: FieldOffset.backingFile)
            bytes.setBigEndian(UInt32(name.count), at: FieldOffset.backingFile + 8)
            bytes += name
        }
        guard bytes.count <= Int(clusterSize) else {
            throw StorageError(
                .invalidArgument, "write image header",
                why: "\(bytes.count) bytes of header, extensions and backing file name do not fit a cluster")
        }
        bytes.pad(to: Int(clusterSize))
        return bytes
    }
}
