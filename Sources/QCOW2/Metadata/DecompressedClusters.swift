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

/// Where the next compressed cluster goes: after the last one, while that host cluster has room.
struct CompressedTail {
    /// In bytes; 0 where a new host cluster is needed.
    var offset: UInt64 = 0

    /// This host cluster is being freed: it takes no more data.
    mutating func leave(_ cluster: UInt64, _ layout: QCOW2Layout) {
        if offset != 0, layout.cluster(of: offset) == cluster { offset = 0 }
    }
}
