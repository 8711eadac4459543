/// How a template source is packed. Declared, by its name or by the caller; what the bytes look like decides nothing.
public enum Compression: String, Sendable, CaseIterable {
    case gzip, bzip2, xz, zstd, zip

    /// What the ending of a file's name declares: `.gz`, `.bz2`, `.xz`, `.zst` or `.zip`; nil for any other.
    public init?(fileName: String) {
        let name = fileName.lowercased()
        let match = Self.allCases.first { name.hasSuffix($0.fileNameEnding) }
        guard let match else { return nil }
        self = match
    }

    /// With its dot.
    public var fileNameEnding: String {
        switch self {
        case .gzip: ".gz"
        case .bzip2: ".bz2"
        case .xz: ".xz"
        case .zstd: ".zst"
        case .zip: ".zip"
        }
    }

    /// The bytes with which every file of this kind begins.
    var magic: [UInt8] {
        switch self {
        case .gzip: [0x1f, 0x8b, 0x08]
        case .bzip2: Array("BZh".utf8)
        case .xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
        case .zstd: [0x28, 0xb5, 0x2f, 0xfd]
        case .zip: [0x50, 0x4b, 0x03, 0x04]
        }
    }
}
