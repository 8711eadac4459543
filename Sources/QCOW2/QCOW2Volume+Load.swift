import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// Reads a piece of metadata into memory, or waits for whoever is doing so. It may be gone again afterwards: look
    /// again.
    func load(_ piece: MetadataPiece) async throws(StorageError) {
        enum Role {
            case loads(offset: UInt64, byteCount: Int), waits, done
        }
        let role = try state.withLock { state throws(StorageError) -> Role in
            if state.loading[piece] != nil { return .waits }
            switch piece {
            case .slice(let slice):
                if state.slices.contains(slice) { return .done }
                let offset = try state.hostOffset(ofSlice: slice)
                state.loading[piece] = []
                return .loads(offset: offset, byteCount: layout.sliceByteCount)
            case .refcountBlock(let index):
                if state.refcounts.blocks[index] != nil { return .done }
                let offset = state.refcounts.table.indices.contains(index) ? state.refcounts.table[index] : 0
                try state.checkMetadata(offset, "refcount block")
                state.loading[piece] = []
                return .loads(offset: offset, byteCount: Int(layout.clusterSize))
            case .header:
                if state.isReadyForWriting { return .done }
                state.loading[piece] = []
                return .loads(offset: 0, byteCount: 0)
            }
        }
        switch role {
        case .done: return
        case .waits:
            await withCheckedContinuation { continuation in
                state.withLock { state in
                    if state.loading[piece] == nil {
                        continuation.resume()
                    } else {
                        state.loading[piece]?.append(continuation)
                    }
                }
            }
        case .loads(let offset, let byteCount):
            defer { finishLoading(piece) }
            switch piece {
            case .slice(let slice):
                let words = try await Self.readWords(base, offset, byteCount / 8)
                state.withLock { $0.insertSlice(slice, words) }
            case .refcountBlock(let index):
                let size = base.geometry.size
                let available = Int(min(UInt64(byteCount), size > offset ? size - offset : 0))
                let bytes = try await base.readBytes(at: offset, count: available, padTo: byteCount)
                state.withLock { $0.refcounts.insertBlock(bytes, at: index) }
            case .header: try await markWriting()
            }
        }
    }

    /// Makes the header ready for the first change of this session; the caller is inside the gate.
    func prepareForWriting() async throws(StorageError) {
        while !state.withLock({ $0.isReadyForWriting }) { try await load(.header) }
    }

    /// Clears the autoclear features that this module does not keep up, as the specification asks, and binds the
    /// journal to the image.
    private func markWriting() async throws(StorageError) {
        let old = state.withLock { $0.header.autoclearFeatures }
        var new = old.intersection(.rawExternalData)
        var writer: JournalWriter?
        if let journal {
            new.insert(.session)
            new.sessionTag |= UInt64.random(in: .min ... .max)
            writer = try JournalWriter(journal, tag: new.sessionTag)
        }
        let marked = new
        if marked != old {
            try await writeHeader { $0.autoclearFeatures = marked }
            // Nothing that the features would be wrong about may become durable before. The mark of a session is of
            // no use after the host has died.
            if !old.subtracting(marked).subtracting(.sessionMarks).isEmpty { try await synchronize() }
        }
        state.withLock { state in
            state.journal = writer
            state.isReadyForWriting = true
        }
    }

    /// Takes the mark of this session from the image, whose tables are all written, and removes the journal.
    func endSession() async throws(StorageError) {
        guard let writer = state.withLock({ $0.journal }) else { return }
        try await writeHeader { $0.autoclearFeatures.sessionTag = 0 }
        try await synchronize()
        state.withLock { $0.journal = nil }
        MappedFile.remove(writer.path)
    }

    private func finishLoading(_ piece: MetadataPiece) {
        let waiters = state.withLock { $0.loading.removeValue(forKey: piece) }
        for waiter in waiters ?? [] { waiter.resume() }
    }
}
