import BlockStorage
import IORuntime

extension ImageCheck {
    /// Compares the references counted in the counter's window with the refcounts that the image records.
    mutating func compare() async throws(StorageError) {
        var blocks: Set<UInt64> = []
        var offsets: Set<UInt64> = []
        for (index, word) in refcounts.entries.enumerated() where word != 0 {
            // A block that is used twice is damaged, and comparing it once is enough.
            if let offset = refcounts.blockOffset(UInt64(index)), offsets.insert(offset).inserted {
                blocks.insert(UInt64(index))
            }
        }
        let blockBits = UInt64(layout.refcountBlockBits)
        for page in counter.pageNumbers {
            let first = page << ReferenceCounter.pageBits
            let last = first + UInt64(ReferenceCounter.pageEntryCount) - 1
            for block in first >> blockBits...last >> blockBits { blocks.insert(block) }
        }
        for block in blocks.sorted() { try await compare(block) }
    }

    private mutating func compare(_ block: UInt64) async throws(StorageError) {
        let first = block << UInt64(layout.refcountBlockBits)
        let (end, overflow) = first.addingReportingOverflow(layout.clustersPerRefcountBlock)
        let clusters = (first..<(overflow ? .max : end)).clamped(to: counter.window)
        guard !clusters.isEmpty else { return }
        let recorded = try await refcounts.block(block)
        if !counter.hasPage(touching: clusters), recorded?.rawBytes.isZero ?? true { return }
        for cluster in clusters.clamped(to: 0..<endOfInterest(recorded, first: first)) {
            let references = counter.count(of: cluster)
            let refcount =
                recorded.map {
                    RefcountFields.value(at: Int(cluster - first), in: $0, order: layout.refcountOrder)
                } ?? 0
            if refcount == 0 && references == 0 { continue }
            compare(cluster, refcount: refcount, references: references)
        }
    }

    /// Behind the end of the file there are no references, and most blocks count nothing there either.
    private func endOfInterest(_ block: [UInt8]?, first: UInt64) -> UInt64 {
        let fileEnd = layout.clusterCount(forSize: fileSize) + 1
        guard let block, fileEnd > first, fileEnd - first < layout.clustersPerRefcountBlock else { return .max }
        let usedByteCount = Int((((fileEnd - first) << UInt64(layout.refcountOrder)) + 7) / 8)
        return block.rawBytes.extracting(usedByteCount..<block.count).isZero ? fileEnd : .max
    }

    private mutating func compare(_ cluster: UInt64, refcount: UInt64, references: UInt64) {
        if refcount > references {
            report.leaks += 1
            note("cluster \(cluster): leaked, refcount \(refcount), references \(references)")
        } else if refcount < references {
            report.corruptions += 1
            note("cluster \(cluster): refcount \(refcount) is less than its \(references) references")
        }
        let uses = counter.uses(of: cluster)
        if uses.rawValue.nonzeroBitCount > 1 {
            report.corruptions += 1
            note("cluster \(cluster): used as \(uses)")
        }
    }
}

extension ReferenceCounter.Use: CustomStringConvertible {
    private static let names = [
        "header", "L1 table", "L2 table", "refcount table", "refcount block", "snapshot table", "bitmap", "data",
    ]

    var description: String {
        Self.names.enumerated().filter { rawValue >> UInt8($0.offset) & 1 != 0 }.map(\.element)
            .joined(separator: " and ")
    }
}
