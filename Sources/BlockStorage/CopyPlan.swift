/// A part of a copy that is done at once.
struct CopyPiece: Equatable, Sendable {
    var range: Range<UInt64>
    /// Whether the source may hold anything but zeros here.
    var isData: Bool
}

/// Cuts the extents of a source into pieces.
struct CopyPlan: Sendable {
    /// In bytes.
    let size: UInt64
    /// The unit in which data and zeros are told apart, in bytes: a power of two, and a multiple of every block size.
    let granularity: UInt64
    /// The largest piece of data, in bytes: a multiple of `granularity`.
    let requestSize: UInt64

    /// The largest piece of zeros, in bytes.
    static let zeroPieceSize: UInt64 = 64 << 20
    private static let smallestWindow: UInt64 = 256 << 20
    private static let largestWindow: UInt64 = 64 << 30
    /// A window that has more extents than this was large enough.
    private static let fewExtents = 64

    private(set) var windowSize = Self.smallestWindow
    private(set) var position: UInt64 = 0

    init(source: VolumeGeometry, destination: VolumeGeometry, requestSize: Int) {
        size = source.size
        let blocks = [source.blockSize, destination.blockSize, min(destination.preferredTransfer, 64 << 10), 4 << 10]
        granularity = blocks.reduce(1) { max($0, UInt64($1)) }
        let largest = min(
            UInt64(max(1, requestSize)), UInt64(source.largestTransfer), UInt64(destination.largestTransfer))
        self.requestSize = max(granularity, largest / granularity * granularity)
    }

    /// The part of the source whose extents are to be asked for next; nil at the end.
    func nextWindow() -> Range<UInt64>? {
        position < size ? position..<min(size, position.addingSaturating(windowSize)) : nil
    }

    /// The pieces of the window whose extents these are, in order; moves on to the next window.
    ///
    /// Extents are rounded to the granularity, in favour of data. What `extents` leaves out counts as data.
    mutating func pieces(of extents: [Extent]) -> [CopyPiece] {
        guard let window = nextWindow() else { return [] }
        position = window.upperBound
        windowSize = extents.count > Self.fewExtents ? Self.smallestWindow : min(windowSize * 2, Self.largestWindow)

        var runs: [CopyPiece] = []
        var end = window.lowerBound
        func append(_ upperBound: UInt64, isData: Bool) {
            guard upperBound > end else { return }
            if let last = runs.last, last.isData == isData {
                runs[runs.count - 1].range = last.range.lowerBound..<upperBound
            } else {
                runs.append(CopyPiece(range: end..<upperBound, isData: isData))
            }
            end = upperBound
        }
        for zeros in Self.zeroRuns(of: extents) {
            // Zeros cover only whole units; the rest of the window is data.
            let start = zeros.lowerBound.addingSaturating(granularity - 1) / granularity * granularity
            let stop = zeros.upperBound >= size ? size : zeros.upperBound / granularity * granularity
            guard start < stop, stop <= window.upperBound else { continue }
            append(start, isData: true)
            append(stop, isData: false)
        }
        append(window.upperBound, isData: true)
        return runs.flatMap { run in cut(run, every: run.isData ? requestSize : Self.zeroPieceSize) }
    }

    /// The holes and zeros, where neighbours of both kinds are one.
    private static func zeroRuns(of extents: [Extent]) -> [Range<UInt64>] {
        extents.reduce(into: []) { runs, extent in
            guard extent.kind != .data else { return }
            if let last = runs.last, last.upperBound == extent.range.lowerBound {
                runs[runs.count - 1] = last.lowerBound..<extent.range.upperBound
            } else {
                runs.append(extent.range)
            }
        }
    }

    private func cut(_ run: CopyPiece, every length: UInt64) -> [CopyPiece] {
        var pieces: [CopyPiece] = []
        var start = run.range.lowerBound
        while start < run.range.upperBound {
            let end = min(run.range.upperBound, (start / length + 1) * length)
            pieces.append(CopyPiece(range: start..<end, isData: run.isData))
            start = end
        }
        return pieces
    }
}
