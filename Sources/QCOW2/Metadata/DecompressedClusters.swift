/// The compressed clusters that were read last, expanded; small reads come in a row.
struct DecompressedClusters {
    private static let limit = 4

    private var entries: [(word: UInt64, bytes: [UInt8])] = []

    /// The bytes of the cluster with this L2 entry.
    func find(_ entry: L2Entry) -> [UInt8]? { entries.first { $0.word == entry.word }?.bytes }

    mutating func insert(_ entry: L2Entry, _ bytes: [UInt8]) {
        remove(entry)
        if entries.count == Self.limit { entries.removeFirst() }
        entries.append((entry.word, bytes))
    }

    /// The entry's cluster is no longer mapped: other data may get its place.
    mutating func remove(_ entry: L2Entry) { entries.removeAll { $0.word == entry.word } }

    mutating func removeAll() { entries = [] }
}
