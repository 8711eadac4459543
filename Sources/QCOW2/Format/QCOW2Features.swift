/// Features that a program must know to read an image at all (header bytes 72 to 79).
public struct QCOW2IncompatibleFeatures: OptionSet, Sendable, Hashable {
    /// The header field.
    public let rawValue: UInt64

    /// The features of a header field.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Refcounts may be stale and have to be rebuilt before anything relies on them.
    public static let dirty = QCOW2IncompatibleFeatures(rawValue: 1 << 0)
    /// The metadata is known to be damaged: only repair may write.
    public static let corrupt = QCOW2IncompatibleFeatures(rawValue: 1 << 1)
    /// Guest data lies in another file.
    public static let externalDataFile = QCOW2IncompatibleFeatures(rawValue: 1 << 2)
    /// Byte 104 of the header names a compression type other than zlib.
    public static let compressionType = QCOW2IncompatibleFeatures(rawValue: 1 << 3)
    /// L2 entries have 128 bits and address 32 subclusters.
    public static let extendedL2 = QCOW2IncompatibleFeatures(rawValue: 1 << 4)

    /// What this module reads and writes.
    static let known: QCOW2IncompatibleFeatures = [
        .dirty, .corrupt, .externalDataFile, .compressionType, .extendedL2,
    ]
}

/// Features that a program may ignore (header bytes 80 to 87).
public struct QCOW2CompatibleFeatures: OptionSet, Sendable, Hashable {
    /// The header field.
    public let rawValue: UInt64

    /// The features of a header field.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// QEMU may postpone refcount updates, marking the image dirty. Sluice keeps the flag and never postpones them.
    public static let lazyRefcounts = QCOW2CompatibleFeatures(rawValue: 1 << 0)
}

/// Features that a program which does not know them clears before its first write (header bytes 88 to 95).
public struct QCOW2AutoclearFeatures: OptionSet, Sendable, Hashable {
    /// The header field.
    public let rawValue: UInt64

    /// The features of a header field.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The dirty bitmaps match the data.
    public static let bitmaps = QCOW2AutoclearFeatures(rawValue: 1 << 0)
    /// The external data file is a raw image of the disk.
    public static let rawExternalData = QCOW2AutoclearFeatures(rawValue: 1 << 1)
    /// A writable session of Sluice; see `sessionTag`.
    static let session = QCOW2AutoclearFeatures(rawValue: 1 << 63)

    /// The random mark that a writable session of Sluice leaves in bits 16 to 63, bit 63 always set; 0 without one.
    ///
    /// Any other program that opens the image for writing clears bits that it does not know, so a mark that is still
    /// there proves that nobody else has written since.
    public var sessionTag: UInt64 {
        get { contains(.session) ? rawValue & Self.sessionTagMask : 0 }
        set { self = Self(rawValue: rawValue & ~Self.sessionTagMask | newValue & Self.sessionTagMask) }
    }

    static let sessionTagMask: UInt64 = ~0xffff
    /// All bits of the mark.
    static let sessionMarks = QCOW2AutoclearFeatures(rawValue: sessionTagMask)
}

/// How compressed clusters are compressed.
public enum QCOW2CompressionType: UInt8, Sendable, CaseIterable {
    /// Raw deflate, without zlib's header.
    case zlib = 0
    /// Zstandard frames.
    case zstd = 1
}
