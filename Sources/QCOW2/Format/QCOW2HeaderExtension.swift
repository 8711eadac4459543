/// A part of the header that starts with its type and length; programs keep those they do not know.
public struct QCOW2HeaderExtension: Equatable, Sendable {
    /// What `data` is; the values are those of the specification.
    public struct Kind: RawRepresentable, Hashable, Sendable {
        /// The number in the image.
        public let rawValue: UInt32

        /// The kind with this number.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// The end of the list.
        static let end = Kind(rawValue: 0)
        /// The format of the backing file, a string.
        public static let backingFormat = Kind(rawValue: 0xe279_2aca)
        /// Names of feature bits: type, bit number, name of 46 bytes, for each.
        public static let featureNames = Kind(rawValue: 0x6803_f857)
        /// Where the directory of dirty bitmaps lies.
        public static let bitmaps = Kind(rawValue: 0x2385_2875)
        /// Where the header of full-disk encryption lies.
        public static let encryption = Kind(rawValue: 0x0537_be77)
        /// The name of the external data file, a string.
        public static let dataFile = Kind(rawValue: 0x4441_5441)
    }

    /// What the data is.
    public var kind: Kind
    /// Without the padding to 8 bytes.
    public var data: [UInt8]

    /// An extension that holds `data`.
    public init(_ kind: Kind, data: [UInt8]) {
        self.kind = kind
        self.data = data
    }

    /// In the image, in bytes.
    var encodedByteCount: Int { 8 + (data.count + 7) / 8 * 8 }
}

/// One row of the feature name extension.
struct QCOW2FeatureName: Equatable, Sendable {
    /// The header field that the bit belongs to.
    enum Field: UInt8 { case incompatible, compatible, autoclear }

    static let byteCount = 48

    let field: UInt8
    let bit: UInt8
    let name: String

    init(_ field: Field, _ bit: UInt8, _ name: String) {
        (self.field, self.bit, self.name) = (field.rawValue, bit, name)
    }

    /// The row in the first `byteCount` bytes.
    init(_ bytes: ArraySlice<UInt8>) {
        let name = bytes.dropFirst(2).prefix(Self.byteCount - 2).prefix { $0 != 0 }
        field = bytes.first ?? 0
        bit = bytes.dropFirst().first ?? 0
        self.name = String(decoding: name, as: UTF8.self)
    }

    var encoded: [UInt8] {
        let text = Array(name.utf8.prefix(Self.byteCount - 2))
        return [field, bit] + text + Array(repeating: 0, count: Self.byteCount - 2 - text.count)
    }

    /// The names of the features that images written by this module may carry.
    static let standard: [QCOW2FeatureName] = [
        QCOW2FeatureName(.incompatible, 0, "dirty bit"),
        QCOW2FeatureName(.incompatible, 1, "corrupt bit"),
        QCOW2FeatureName(.incompatible, 2, "external data file"),
        QCOW2FeatureName(.incompatible, 3, "compression type"),
        QCOW2FeatureName(.incompatible, 4, "extended L2 entries"),
        QCOW2FeatureName(.compatible, 0, "lazy refcounts"),
        QCOW2FeatureName(.autoclear, 0, "bitmaps"),
        QCOW2FeatureName(.autoclear, 1, "raw external data"),
    ]
}
