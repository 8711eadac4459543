import BlockStorage

extension ImageCheck {
    /// Goes through the active L1 table and those of the snapshots once, and lists the L2 tables they lead to.
    mutating func findL2Tables() async throws(StorageError) {
        try await findL2Tables(at: header.l1TableOffset, count: UInt64(header.l1EntryCount), isActive: true, "active")
        var entryCount: UInt64 = 0
        for snapshot in snapshots.snapshots {
            entryCount += UInt64(snapshot.l1EntryCount)
            guard entryCount <= Self.snapshotL1EntryLimit else {
                throw StorageError(.notSupported, "check image", why: "the L1 tables of its snapshots are too large")
            }
            try await findL2Tables(
                at: snapshot.l1TableOffset, count: UInt64(snapshot.l1EntryCount), isActive: false,
                "snapshot \(snapshot.id)")
        }
    }

    private mutating func findL2Tables(
        at offset: UInt64, count: UInt64, isActive: Bool, _ name: String
    ) async throws(StorageError) {
        var pieces = TablePieces(reader, at: offset, count: count)
        while let (first, words) = try await pieces.next() {
            for (index, word) in words.enumerated() where word != 0 {
                let entry = L1Entry(word)
                if entry.hasReservedBits { addCorruption("\(name) L1 entry \(first + UInt64(index)): reserved bits") }
                guard entry.offset != 0 else { continue }
                if isActive {
                    let refcount = try await refcounts.refcount(of: layout.cluster(of: entry.offset))
                    if entry.isCopied != (refcount == 1) {
                        addCorruption(
                            "L1 entry \(first + UInt64(index)): COPIED is \(entry.isCopied) for refcount \(refcount)")
                    }
                }
                if !layout.isAligned(entry.offset) {
                    addCorruption("\(name) L1 entry \(first + UInt64(index)): unaligned L2 table")
                }
                let known = l2Tables[entry.offset] ?? (0, false)
                l2Tables[entry.offset] = (min(known.times, .max - 1) + 1, known.isActive || isActive)
                guard l2Tables.count <= Self.l2TableLimit else {
                    throw StorageError(
                        .notSupported, "check image", why: "it has more than \(Self.l2TableLimit) L2 tables")
                }
            }
        }
    }

    /// Counts every reference to a cluster of the counter's window.
    mutating func walk() async throws(StorageError) {
        reference(0, layout.clusterSize, as: .header, "header")
        reference(header.l1TableOffset, UInt64(header.l1EntryCount) * 8, as: .l1Table, "active L1 table")
        for snapshot in snapshots.snapshots {
            reference(
                snapshot.l1TableOffset, UInt64(snapshot.l1EntryCount) * 8, as: .l1Table,
                "L1 table of snapshot \(snapshot.id)")
        }
        reference(header.snapshotTableOffset, snapshots.byteCount, as: .snapshotTable, "snapshot table")
        if countsRefcountTable {
            reference(
                header.refcountTableOffset, UInt64(header.refcountTableClusterCount) * layout.clusterSize,
                as: .refcountTable, "refcount table")
            walkRefcountBlocks()
        }
        for table in l2Tables.keys.sorted() {
            let (times, isActive) = l2Tables[table] ?? (0, false)
            reference(table, layout.clusterSize, as: .l2Table, times: times, "L2 table")
            if layout.isAligned(table) && table < fileSize {
                try await walkL2Table(at: table, times: times, isActive: isActive)
            }
        }
        try await walkBitmaps()
    }

    /// Counts a reference to each cluster that `byteCount` bytes at `offset` touch. The last cluster of a file may be
    /// there only in part.
    private mutating func reference(
        _ offset: UInt64, _ byteCount: UInt64, as use: ReferenceCounter.Use, times: UInt32 = 1,
        _ name: @autoclosure () -> String
    ) {
        guard byteCount > 0 else { return }
        let (end, overflow) = offset.addingReportingOverflow(byteCount)
        if overflow || end > fileSize && end - fileSize >= layout.clusterSize {
            addCorruption("\(name()) at \(offset) lies outside the file", times: times)
            return
        }
        counter.add(layout.cluster(of: offset)...layout.cluster(of: end - 1), as: use, times: times)
    }

    private mutating func walkL2Table(at table: UInt64, times: UInt32, isActive: Bool) async throws(StorageError) {
        let words = try await reader.words(at: table, count: Int(layout.clusterSize / 8))
        for number in 0..<layout.l2EntryCount {
            let index = number * layout.wordsPerEntry
            let entry = L2Entry(words[index])
            let subclusters = SubclusterBitmap(layout.hasExtendedL2 ? words[index + 1] : 0)
            if entry.word == 0 && subclusters.word == 0 { continue }
            if entry.isCompressed {
                walkCompressed(entry, subclusters, table, times: times, isActive: isActive)
            } else {
                try await walkStandard(entry, subclusters, table, times: times, isActive: isActive)
            }
        }
    }

    private mutating func walkCompressed(
        _ entry: L2Entry, _ subclusters: SubclusterBitmap, _ table: UInt64, times: UInt32, isActive: Bool
    ) {
        if entry.isCopied { addCorruption("L2 table \(table): a compressed cluster is marked COPIED", times: times) }
        if header.hasExternalData {
            addCorruption("L2 table \(table): a compressed cluster with an external data file", times: times)
        }
        if subclusters.word != 0 {
            addCorruption("L2 table \(table): a compressed cluster with subclusters", times: times)
        }
        let cluster = CompressedCluster(entry, clusterBits: layout.clusterBits)
        if isActive && isFirstWalk { report.allocatedClusters += 1 }
        reference(
            cluster.offset, UInt64(cluster.byteCount), as: .data, times: times, "L2 table \(table): compressed cluster")
    }

    private mutating func walkStandard(
        _ entry: L2Entry, _ subclusters: SubclusterBitmap, _ table: UInt64, times: UInt32, isActive: Bool
    ) async throws(StorageError) {
        if entry.hasReservedBits(zeroFlagAllowed: !layout.hasExtendedL2) {
            addCorruption("L2 table \(table): reserved bits in entry 0x\(String(entry.word, radix: 16))", times: times)
        }
        if !subclusters.isValid {
            addCorruption("L2 table \(table): subclusters that are allocated and zero", times: times)
        }
        // Offset 0 means a cluster only in an external data file, for the first one of the disk.
        guard entry.offset != 0 || header.hasExternalData && entry.isCopied else {
            if subclusters.allocated != 0 {
                addCorruption("L2 table \(table): subclusters without a cluster", times: times)
            }
            return
        }
        if !layout.isAligned(entry.offset) {
            addCorruption("L2 table \(table): unaligned cluster at \(entry.offset)", times: times)
        }
        if isActive && isFirstWalk {
            report.allocatedClusters += 1
            let refcount =
                header.hasExternalData ? 1 : try await refcounts.refcount(of: layout.cluster(of: entry.offset))
            if entry.isCopied != (refcount == 1) {
                addCorruption(
                    "L2 table \(table): COPIED is \(entry.isCopied) for a cluster at \(entry.offset) with refcount "
                        + "\(refcount)")
            }
        }
        if !header.hasExternalData {
            reference(entry.offset, layout.clusterSize, as: .data, times: times, "L2 table \(table): data cluster")
        }
    }

    /// Bitmaps that another program has made stale by clearing their feature bit are no longer referenced.
    private mutating func walkBitmaps() async throws(StorageError) {
        guard countsStaleBitmaps || header.autoclearFeatures.contains(.bitmaps) else { return }
        guard let directory = try header.bitmapDirectory() else { return }
        reference(directory.offset, directory.byteCount, as: .other, "bitmap directory")
        let bytes = try await reader.bytes(at: directory.offset, count: Int(directory.byteCount))
        var position = 0
        var entryCount: UInt64 = 0
        for index in 0..<directory.count {
            guard let bitmap = BitmapDirectoryEntry(bytes, at: position) else {
                return addCorruption("bitmap \(index): the directory is cut short")
            }
            position = bitmap.end
            entryCount += bitmap.tableEntryCount
            guard entryCount <= BitmapDirectoryEntry.tableEntryLimit else {
                return addCorruption("bitmap \(index): the tables of all bitmaps are too large")
            }
            reference(bitmap.tableOffset, bitmap.tableEntryCount * 8, as: .other, "table of bitmap \(index)")
            var pieces = TablePieces(reader, at: bitmap.tableOffset, count: bitmap.tableEntryCount)
            while let (_, words) = try await pieces.next() {
                for word in words where L1Entry(word).offset != 0 {
                    reference(L1Entry(word).offset, layout.clusterSize, as: .other, "bitmap \(index)")
                }
            }
        }
    }

    private mutating func walkRefcountBlocks() {
        var seen: Set<UInt64> = []
        for (index, word) in refcounts.entries.enumerated() where word != 0 {
            if word % QCOW2Limits.sector != 0 { addCorruption("refcount table entry \(index): reserved bits") }
            guard let offset = refcounts.blockOffset(UInt64(index)) else {
                addCorruption("refcount table entry \(index): unaligned block")
                continue
            }
            if !seen.insert(offset).inserted {
                addCorruption("refcount table entry \(index): a block that is used twice")
            }
            reference(offset, layout.clusterSize, as: .refcountBlock, "refcount block \(index)")
        }
    }
}
