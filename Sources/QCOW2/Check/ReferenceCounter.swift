/// How often each host cluster is referenced, and as what, in a bounded amount of memory.
///
/// Counts lie in pages that exist where something was counted. When there are too many, the counter narrows its window
/// and forgets the pages above it: whoever counts then repeats the walk for the next window.
struct ReferenceCounter {
    /// What a cluster holds. A cluster that is more than one thing is damaged, whatever its refcount.
    struct Use: OptionSet {
        let rawValue: UInt8

        static let header = Use(rawValue: 1 << 0)
        static let l1Table = Use(rawValue: 1 << 1)
        static let l2Table = Use(rawValue: 1 << 2)
        static let refcountTable = Use(rawValue: 1 << 3)
        static let refcountBlock = Use(rawValue: 1 << 4)
        static let snapshotTable = Use(rawValue: 1 << 5)
        /// Bitmaps and the header of full-disk encryption.
        static let other = Use(rawValue: 1 << 6)
        static let data = Use(rawValue: 1 << 7)
    }

    static let pageBits: UInt64 = 10
    static let pageEntryCount = 1 << Int(pageBits)
    /// Above this a count no longer grows.
    static let largestCount: UInt32 = (1 << 24) - 1

    /// The clusters that this walk counts.
    private(set) var window: Range<UInt64>
    private let pageLimit: Int
    /// By cluster number over `pageEntryCount`. An entry has the uses in the upper 8 bits and the count in the others.
    private var pages: [UInt64: [UInt32]] = [:]

    /// Counts clusters from `start` on, in at most `memoryLimit` bytes.
    init(from start: UInt64, memoryLimit: Int) {
        window = start..<UInt64.max
        pageLimit = max(memoryLimit / (4 * Self.pageEntryCount), 2)
    }

    mutating func add(_ clusters: ClosedRange<UInt64>, as use: Use, times: UInt32 = 1) {
        for cluster in clusters where window.contains(cluster) {
            let page = cluster >> Self.pageBits
            if pages[page] == nil {
                if pages.count == pageLimit { narrow() }
                guard window.contains(cluster) else { return }
                pages[page] = Array(repeating: 0, count: Self.pageEntryCount)
            }
            let index = Int(cluster) & (Self.pageEntryCount - 1)
            Self.count(&pages[page, default: []][index], use, times)
        }
    }

    private static func count(_ entry: inout UInt32, _ use: Use, _ times: UInt32) {
        let count = min(UInt64(entry & largestCount) + UInt64(times), UInt64(largestCount))
        entry = entry & ~largestCount | UInt32(use.rawValue) << 24 | UInt32(count)
    }

    /// Gives up the upper half of the pages.
    private mutating func narrow() {
        let keys = pages.keys.sorted()
        let kept = max(keys.count / 2, 1)
        for key in keys[kept...] { pages[key] = nil }
        window = window.lowerBound..<keys[kept] << Self.pageBits
    }

    func count(of cluster: UInt64) -> UInt64 { UInt64(entry(cluster) & Self.largestCount) }
    func uses(of cluster: UInt64) -> Use { Use(rawValue: UInt8(entry(cluster) >> 24)) }

    private func entry(_ cluster: UInt64) -> UInt32 {
        pages[cluster >> Self.pageBits]?[Int(cluster) & (Self.pageEntryCount - 1)] ?? 0
    }

    /// The numbers of the pages that exist, in order.
    var pageNumbers: [UInt64] { pages.keys.sorted() }

    func hasPage(touching clusters: Range<UInt64>) -> Bool {
        guard !clusters.isEmpty else { return false }
        let touched = clusters.lowerBound >> Self.pageBits...(clusters.upperBound - 1) >> Self.pageBits
        if touched.upperBound - touched.lowerBound > UInt64(pages.count) {
            return pages.keys.contains { touched.contains($0) }
        }
        return touched.contains { pages[$0] != nil }
    }
}
