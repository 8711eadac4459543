import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Brings back what a session that died had acknowledged and not flushed: nobody else uses the image yet.
    func recover(_ journal: QCOW2Journal, tag: UInt64) async throws(StorageError) {
        guard var records = journal.records(tag: tag) else { return }
        // A session that died while it made the disk smaller has entries past the end.
        let clusterCount = state.withLock { layout.clusterCount(forSize: $0.size) }
        records.removeAll { $0.cluster >= clusterCount }
        try state.withLock { state throws(StorageError) in
            for record in records { try state.check(record) }
        }
        if isReadOnly { return try await overlay(records) }

        // The dead session may have made the file longer than it needs.
        state.withLock { $0.hasGrown = true }
        // Every cluster first, so that no table is put where data is.
        for record in records { try await repeatLoading { $0.claim(record) } }
        for record in records { try await repeatLoading { $0.replay(record) } }
        try await exclusively { () async throws(StorageError) in
            try await settle()
            try await commitHeader { $0.autoclearFeatures.sessionTag = 0 }
        }
        MappedFile.remove(journal.path)
    }

    /// What a step of the recovery needs before it can be done.
    enum Need {
        case nothing
        case load(MetadataPiece)
        case table(Int)
        case failed(StorageError)
    }

    private func repeatLoading(_ step: (inout QCOW2State) -> Need) async throws(StorageError) {
        while true {
            switch state.withLock({ step(&$0) }) {
            case .nothing: return
            case .load(let piece): try await load(piece)
            case .table(let index): try await prepareTable(index)
            case .failed(let error): throw error
            }
        }
    }

    /// Shows the records without writing them.
    private func overlay(_ records: [JournalRecord]) async throws(StorageError) {
        for record in records { try await repeatLoading { $0.overlay(record) } }
    }
}

extension QCOW2State {
    /// Throws `corrupt` for a record that no session can have written.
    func check(_ record: JournalRecord) throws(StorageError) {
        let isEntry = !record.entry.isCompressed && record.entry.word & invalidEntryBits == 0
        let isInside = record.entry.offset < baseSize || header.hasExternalData
        guard isEntry, isInside else {
            throw StorageError(
                .corrupt, "recover image", at: "guest cluster \(record.cluster)",
                why: "the journal has an entry that cannot be")
        }
    }

    /// Makes sure that the record's cluster counts.
    mutating func claim(_ record: JournalRecord) -> QCOW2Volume.Need {
        guard record.entry.offset != 0, !header.hasExternalData else { return .nothing }
        do throws(Refcounts.Obstacle) {
            try refcounts.claim(layout.cluster(of: record.entry.offset))
            return .nothing
        } catch {
            return need(error)
        }
    }

    /// Links the record's cluster as the dead session had.
    mutating func replay(_ record: JournalRecord) -> QCOW2Volume.Need {
        let slice = layout.slice(of: record.cluster)
        let index = layout.l1Index(ofSlice: slice)
        if index >= l1.count { return .nothing }
        if !L1Entry(l1[index]).isCopied { return .table(index) }
        guard let slot = slices.find(slice) else { return .load(.slice(slice)) }
        let word = layout.word(of: record.cluster)
        let old = L2Entry(slices.slots[slot].words[word])
        if old.isCompressed || old.offset != record.entry.offset { unlink(old) }
        setEntry(record.entry, record.bitmap, at: record.cluster, slot)
        return .nothing
    }

    mutating func overlay(_ record: JournalRecord) -> QCOW2Volume.Need {
        let slice = layout.slice(of: record.cluster)
        let index = layout.l1Index(ofSlice: slice)
        if index >= l1.count { return .nothing }
        if slices.find(slice) == nil {
            if L1Entry(l1[index]).offset != 0 { return .load(.slice(slice)) }
            insertSlice(slice, Array(repeating: 0, count: layout.wordsPerSlice))
        }
        guard let slot = slices.find(slice) else { return .nothing }
        setEntry(record.entry, record.bitmap, at: record.cluster, slot)
        return .nothing
    }

    private func need(_ obstacle: Refcounts.Obstacle) -> QCOW2Volume.Need {
        switch obstacle {
        case .blockNotLoaded(let index): .load(.refcountBlock(index))
        case .failed(let error): .failed(error)
        }
    }
}
