import BlockStorage

/// The parts in which a file of known size is fetched, and what each of them must add up to: a value without I/O.
struct SegmentPlan: Sendable {
    /// The checksums of parts of a file, as a metalink gives them.
    struct Pieces: Equatable, Sendable {
        /// Of each piece but the last, in bytes.
        var length: UInt64
        var checksums: [Checksum]
    }

    /// Where nothing else decides, in bytes: long enough that asking costs little, short enough to be kept in memory.
    static let usualSize: UInt64 = 2 << 20
    static let largestSize: UInt64 = 64 << 20

    let size: UInt64
    let segmentSize: UInt64
    private let pieces: Pieces?

    /// Throws `corrupt` when the pieces are not those of a file of `size` bytes, and `notSupported` for pieces that
    /// are too long to be kept in memory.
    init(size: UInt64, pieces: Pieces? = nil) throws(StorageError) {
        self.size = size
        self.pieces = pieces
        guard let pieces else {
            segmentSize = Self.usualSize
            return
        }
        guard pieces.length > 0, UInt64(pieces.checksums.count) == size.divided(roundingUpBy: pieces.length) else {
            throw StorageError(
                .corrupt, "read metalink",
                why: "it has \(pieces.checksums.count) pieces of \(pieces.length) bytes for a file of \(size)")
        }
        guard pieces.length <= Self.largestSize else {
            throw StorageError(
                .notSupported, "read metalink",
                why: "its pieces have \(pieces.length) bytes, more than \(Self.largestSize)")
        }
        segmentSize = max(1, Self.usualSize / pieces.length) * pieces.length
    }

    /// How many segments there are.
    var count: Int { Int(clamping: size.divided(roundingUpBy: segmentSize)) }

    /// The bytes of a segment, which must be one of the file.
    func range(of segment: Int) -> Range<UInt64> {
        let start = UInt64(segment) * segmentSize
        return start..<min(size, start.addingSaturating(segmentSize))
    }

    /// Whether wrong bytes are noticed at once.
    var hasPieces: Bool { pieces != nil }

    /// The pieces of a segment: bytes from its beginning, and what they add up to.
    func pieces(of segment: Int) -> [(range: Range<Int>, checksum: Checksum)] {
        guard let pieces else { return [] }
        let range = range(of: segment)
        let first = Int(range.lowerBound / pieces.length)
        return stride(from: range.lowerBound, to: range.upperBound, by: Int(pieces.length)).enumerated().map {
            let start = Int($1 - range.lowerBound)
            let end = Int(min(range.upperBound, $1.addingSaturating(pieces.length)) - range.lowerBound)
            return (start..<end, pieces.checksums[first + $0])
        }
    }
}

extension UInt64 {
    /// The quotient, rounded up; the divisor is positive.
    fileprivate func divided(roundingUpBy divisor: UInt64) -> UInt64 {
        self / divisor + (self % divisor > 0 ? 1 : 0)
    }
}
