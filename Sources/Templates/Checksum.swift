import BlockStorage

/// What the bytes of a file add up to: `sha256:9f86d0…`.
public struct Checksum: Hashable, Sendable, CustomStringConvertible {
    public enum Algorithm: String, Sendable, CaseIterable {
        case md5, sha1, sha224, sha256, sha384, sha512

        /// The length of its result, in bytes.
        public var byteCount: Int {
            switch self {
            case .md5: 16
            case .sha1: 20
            case .sha224: 28
            case .sha256: 32
            case .sha384: 48
            case .sha512: 64
            }
        }
    }

    public let algorithm: Algorithm
    /// As many as `algorithm` says.
    public let bytes: [UInt8]

    /// Reads `ALG:HEX`, in upper or lower case.
    ///
    /// Throws `invalidArgument`, with one of a few fixed sentences: what was given is not repeated.
    public init(_ text: String) throws(StorageError) {
        let parts = text.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let name = String(parts[0]), let algorithm = Algorithm(rawValue: name.lowercased())
        else {
            throw Self.invalid(
                "use ALGORITHM:DIGITS with md5, sha1, sha224, sha256, sha384 or sha512, for example sha256:9f86d0…")
        }
        guard parts[1].count == 2 * algorithm.byteCount else {
            throw Self.invalid("a \(algorithm) checksum has \(2 * algorithm.byteCount) hexadecimal digits")
        }
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in parts[1] {
            guard let value = Self.value(ofDigit: digit) else {
                throw Self.invalid("a checksum consists of hexadecimal digits")
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        self.init(algorithm, bytes)
    }

    init(_ algorithm: Algorithm, _ bytes: [UInt8]) {
        self.algorithm = algorithm
        self.bytes = bytes
    }

    /// `ALG:HEX` in lower case; `Checksum(_:)` reads it.
    public var description: String {
        let digits = Array("0123456789abcdef")
        return bytes.reduce(into: "\(algorithm.rawValue):") { text, byte in
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
    }

    private static func value(ofDigit digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func invalid(_ why: String) -> StorageError {
        StorageError(.invalidArgument, "checksum", why: why)
    }
}
