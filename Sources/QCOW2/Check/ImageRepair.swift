import BlockStorage
import IORuntime

/// Makes refcounts and COPIED flags agree with the references in an image.
///
/// Leaks are given back in place, which is safe sector by sector: each refcount is either what it was or right. Anything
/// more gets new refcount blocks and a new table, in free clusters behind everything else, which one write of the header
/// puts in the place of the old ones. COPIED flags follow the refcounts and come last, again sector by sector.
struct ImageRepair {
    private let volume: any ResizableVolume
    private let repair: CheckRepair
    private let memoryLimit: Int

    init(_ volume: any ResizableVolume, _ repair: CheckRepair, memoryLimit: Int) {
        self.volume = volume
        self.repair = repair
        self.memoryLimit = memoryLimit
    }

    /// Repairs what the report of a check says.
    func run(_ report: CheckReport) async throws(StorageError) {
        try volume.geometry.checkWritable()
        switch repair {
        case .none: return
        case .leaks: try await giveBackLeaks()
        case .all: try await rebuildRefcounts()
        }
        // Flags are set from refcounts: only where those are right.
        if repair == .all || report.corruptions == 0 { try await correctCopiedFlags() }
        try await volume.flush()
        if repair == .all { try await clearCorruptFeature() }
    }

    private func giveBackLeaks() async throws(StorageError) {
        var check = try await ImageCheck(volume, memoryLimit: memoryLimit)
        check.countsStaleBitmaps = true
        try await check.forEachWindow(memoryLimit: memoryLimit) { (check) async throws(StorageError) in
            for block in check.refcounts.entries.indices {
                try await giveBackLeaks(inBlock: UInt64(block), &check)
            }
        }
        try await volume.flush()
    }

    private func giveBackLeaks(inBlock block: UInt64, _ check: inout ImageCheck) async throws(StorageError) {
        guard let offset = check.refcounts.blockOffset(block) else { return }
        let layout = check.layout
        let first = block << UInt64(layout.refcountBlockBits)
        let clusters = (first..<first.addingSaturating(layout.clustersPerRefcountBlock))
            .clamped(to: check.counter.window)
        guard !clusters.isEmpty, var bytes = try await check.refcounts.block(block), !bytes.rawBytes.isZero else {
            return
        }
        var hasChanged = false
        for cluster in clusters {
            let index = Int(cluster - first)
            let references = check.counter.count(of: cluster)
            guard RefcountFields.value(at: index, in: bytes, order: layout.refcountOrder) > references else { continue }
            RefcountFields.set(references, at: index, in: &bytes, order: layout.refcountOrder)
            hasChanged = true
        }
        if hasChanged {
            try await volume.writeBytes(bytes, at: offset)
            check.refcounts.update(block, bytes)
        }
    }

    private func correctCopiedFlags() async throws(StorageError) {
        var check = try await ImageCheck(volume, memoryLimit: memoryLimit)
        let header = check.header, layout = check.layout
        let size = volume.geometry.size
        var pieces = TablePieces(check.reader, at: header.l1TableOffset, count: UInt64(header.l1EntryCount))
        while let (first, entries) = try await pieces.next() {
            var corrected = entries
            for (index, word) in entries.enumerated() where L1Entry(word).offset != 0 {
                let offset = L1Entry(word).offset
                let refcount = try await check.refcounts.refcount(of: layout.cluster(of: offset))
                corrected[index] = word & ~L1Entry.copiedFlag | (refcount == 1 ? L1Entry.copiedFlag : 0)
                if layout.isAligned(offset), offset < size {
                    try await correctCopiedFlags(inTable: offset, &check)
                }
            }
            try await write(corrected, over: entries, at: header.l1TableOffset + first * 8)
        }
    }

    private func correctCopiedFlags(inTable table: UInt64, _ check: inout ImageCheck) async throws(StorageError) {
        let layout = check.layout
        let words = try await check.reader.words(at: table, count: Int(layout.clusterSize / 8))
        var corrected = words
        for index in stride(from: 0, to: words.count, by: layout.wordsPerEntry) where words[index] != 0 {
            let entry = L2Entry(words[index])
            if entry.isCompressed {
                corrected[index] &= ~L2Entry.copiedFlag
            } else if entry.offset != 0, !check.header.hasExternalData {
                let refcount = try await check.refcounts.refcount(of: layout.cluster(of: entry.offset))
                corrected[index] = entry.word & ~L2Entry.copiedFlag | (refcount == 1 ? L2Entry.copiedFlag : 0)
            }
        }
        try await write(corrected, over: words, at: table)
    }

    /// Writes the words that changed, and no others.
    private func write(_ words: [UInt64], over old: [UInt64], at offset: UInt64) async throws(StorageError) {
        for index in words.indices where words[index] != old[index] {
            var bytes: [UInt8] = []
            bytes.appendBigEndian(words[index])
            try await volume.writeBytes(bytes, at: offset + UInt64(index * 8))
        }
    }

    /// Clears the corrupt bit of an image that is not corrupt any more.
    private func clearCorruptFeature() async throws(StorageError) {
        let check = try await ImageCheck.run(volume, memoryLimit: memoryLimit)
        guard check.header.incompatibleFeatures.contains(.corrupt), check.report.corruptions == 0 else { return }
        let features = check.header.incompatibleFeatures.subtracting(.corrupt)
        var bytes: [UInt8] = []
        bytes.appendBigEndian(features.rawValue)
        try await volume.writeBytes(bytes, at: UInt64(QCOW2Header.FieldOffset.incompatibleFeatures))
        try await volume.flush()
    }

    private func rebuildRefcounts() async throws(StorageError) {
        var check = try await ImageCheck(volume, memoryLimit: memoryLimit)
        check.countsStaleBitmaps = true
        check.countsRefcountTable = false
        var rebuilt = RebuiltRefcounts(volume, check.header)
        try await check.forEachWindow(memoryLimit: memoryLimit) { (check) async throws(StorageError) in
            try await rebuilt.add(check.counter)
        }
        try await rebuilt.finish()
    }
}
