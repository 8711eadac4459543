/// Host clusters that nothing refers to any more but that cannot be used again yet.
///
/// Each cluster of each range stands for one reference that is gone. It passes through two lists: unlinked in memory;
/// unlinked in an epoch that a flush has closed. Once that flush has made the unlinking durable and the epoch has
/// drained, refcounts are lowered and space is punched out.
struct FreedClusters {
    private var unlinked: [Range<UInt64>] = []
    private var closed: [Range<UInt64>] = []
    /// The unlinking of everything in `closed` is durable.
    private var isClosedDurable = false
    /// In clusters, of both lists.
    private(set) var count: UInt64 = 0

    mutating func append(_ clusters: Range<UInt64>) {
        count += UInt64(clusters.count)
        if let last = unlinked.last, last.upperBound == clusters.lowerBound {
            unlinked[unlinked.count - 1] = last.lowerBound..<clusters.upperBound
        } else {
            unlinked.append(clusters)
        }
    }

    mutating func append(_ cluster: UInt64) { append(cluster..<cluster + 1) }

    var hasClosed: Bool { !closed.isEmpty }
    var hasUnlinked: Bool { !unlinked.isEmpty }

    /// A flush begins a new epoch; `closed` must be empty.
    mutating func close() {
        closed = unlinked
        unlinked = []
        isClosedDurable = false
    }

    /// The flush that closed the list has succeeded.
    mutating func markDurable() { isClosedDurable = true }

    /// What may be released; the caller knows that the epoch has drained.
    mutating func takeReleasable() -> [Range<UInt64>] {
        guard isClosedDurable else { return [] }
        let taken = closed
        closed = []
        for clusters in taken { count -= UInt64(clusters.count) }
        return taken
    }
}
