#if Downloads
    import BlockStorage
    import IORuntime
    import NIOCore

    /// A file on web servers as a volume: what is read is fetched, a segment at a time, and kept for a while.
    ///
    /// What a server sent once it must send again: every segment's checksum is remembered, so that no server can show
    /// one image to whoever inspects it and another to whoever copies it.
    final class DownloadVolume: SummingVolume {
        /// What is kept in memory, in bytes: enough that an image in the usual order is fetched once.
        private static let cacheSize: UInt64 = 96 << 20
        /// What is fetched ahead of whoever reads in order, in bytes: the next segments come from other mirrors, or in
        /// other requests, while this one is read.
        private static let readAhead: UInt64 = 8 << 20

        private struct State {
            /// Segments that are kept or fetched.
            var kept: [Int: Task<Result<ByteBuffer, StorageError>, Never>] = [:]
            /// Those of `kept`, the one that was not used for the longest time first.
            var order: [Int] = []
            var checksums: [Int: Checksum] = [:]
            var highest = -1
            var isRead = false
            var isClosed = false
            /// Who waits for `highest` or `isRead` to change.
            var follower: CheckedContinuation<Void, Never>?
        }

        private let download: Download
        private let plan: SegmentPlan
        private let state = Locked(State())
        let geometry: VolumeGeometry

        init(_ download: Download, _ plan: SegmentPlan) {
            (self.download, self.plan) = (download, plan)
            geometry = VolumeGeometry(size: plan.size, largestTransfer: 1 << 30, isReadOnly: true)
        }

        var stack: String { "download:\(download.place)" }

        func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
            try geometry.check(offset, buffer.byteCount)
            var done = 0
            let byteCount = buffer.byteCount
            while done < byteCount {
                let position = offset + UInt64(done)
                let segment = Int(position / plan.segmentSize)
                note(segment)
                let bytes = try await self.segment(segment)
                let start = Int(position - plan.range(of: segment).lowerBound)
                let part = bytes.readableBytesSpan.extracting(droppingFirst: start)
                let count = min(part.byteCount, byteCount - done)
                buffer.copy(from: part.extracting(first: count), to: done)
                done += count
            }
        }

        /// Remembers how far the file has been read, for whoever adds it up.
        private func note(_ segment: Int) {
            let follower = state.withLock { state -> CheckedContinuation<Void, Never>? in
                guard segment > state.highest else { return nil }
                state.highest = segment
                defer { state.follower = nil }
                return state.follower
            }
            follower?.resume()
        }

        private func segment(_ segment: Int) async throws(StorageError) -> ByteBuffer {
            let task = try state.withLock {
                state throws(StorageError) -> Task<Result<ByteBuffer, StorageError>, Never> in
                if state.isClosed {
                    throw StorageError(Task.isCancelled ? .cancelled : .notAttached, "read volume", at: stack)
                }
                let task = fetch(segment, &state)
                if state.kept[segment - 1] != nil {
                    let last = min(plan.count - 1, segment + max(1, Int(Self.readAhead / plan.segmentSize)))
                    for next in segment..<last where state.kept[next + 1] == nil { _ = fetch(next + 1, &state) }
                }
                return task
            }
            let result = await task.value
            if case .failure = result {
                state.withLock { state in
                    state.kept[segment] = nil
                    state.order.removeAll { $0 == segment }
                }
            }
            return try result.get()
        }

        /// The task that fetches a segment, or has done so.
        private func fetch(
            _ segment: Int, _ state: inout State
        ) -> Task<Result<ByteBuffer, StorageError>, Never> {
            if let task = state.kept[segment] {
                state.order.removeAll { $0 == segment }
                state.order.append(segment)
                return task
            }
            // A task of its own: who asked first may give up while others still want it.
            let task = Task { () async -> Result<ByteBuffer, StorageError> in
                do throws(StorageError) {
                    let bytes = try await self.download.fetch(segment, of: self.plan)
                    try self.compare(bytes, segment)
                    return .success(bytes)
                } catch {
                    return .failure(error)
                }
            }
            state.kept[segment] = task
            state.order.append(segment)
            let room = max(4, Int(Self.cacheSize / plan.segmentSize))
            while state.order.count > room { state.kept[state.order.removeFirst()] = nil }
            return task
        }

        private func compare(_ bytes: ByteBuffer, _ segment: Int) throws(StorageError) {
            let checksum = try download.digest(bytes, .sha256)
            let isSame = state.withLock { state in
                defer { state.checksums[segment] = checksum }
                return state.checksums[segment].map { $0 == checksum } ?? true
            }
            guard isSame else {
                throw StorageError(
                    .conflict, "download", at: download.place,
                    why:
                        "the source changed while it was downloaded: bytes \(plan.range(of: segment)) are not what they were"
                )
            }
        }

        /// Adds up all of the file while others read it, following them so that most is fetched once.
        func addUp(_ algorithms: [Checksum.Algorithm]) async throws(StorageError) -> [Checksum] {
            // Whoever looked at the image before has been all over it.
            state.withLock { $0.highest = -1 }
            let digesters = try algorithms.map { algorithm throws(StorageError) in try Digester(algorithm) }
            for segment in 0..<plan.count {
                while !canAddUp(segment) {
                    await withTaskCancellationHandler {
                        await withCheckedContinuation { continuation in
                            let mustWait = state.withLock { state in
                                guard segment > state.highest, !state.isRead, !state.isClosed, !Task.isCancelled else {
                                    return false
                                }
                                state.follower = continuation
                                return true
                            }
                            if !mustWait { continuation.resume() }
                        }
                    } onCancel: {
                        didRead()
                    }
                    if Task.isCancelled { throw StorageError(.cancelled, "download", at: stack) }
                }
                let bytes = try await self.segment(segment)
                for digester in digesters { try digester.add(bytes.readableBytesSpan) }
            }
            return try digesters.map { digester throws(StorageError) in try digester.finish() }
        }

        private func canAddUp(_ segment: Int) -> Bool {
            state.withLock { $0.isRead || segment <= $0.highest }
        }

        /// Nothing more is read: whoever adds up need not follow any more.
        func didRead() {
            let follower = state.withLock { state in
                state.isRead = true
                defer { state.follower = nil }
                return state.follower
            }
            follower?.resume()
        }

        /// Ends every read, and all that come later.
        @discardableResult
        func cancel() -> [Task<Result<ByteBuffer, StorageError>, Never>] {
            didRead()
            let tasks = state.withLock { state in
                state.isClosed = true
                defer { (state.kept, state.order) = ([:], []) }
                return Array(state.kept.values)
            }
            for task in tasks { task.cancel() }
            return tasks
        }

        func close() async {
            for task in cancel() { _ = await task.value }
        }

        func extents(in range: Range<UInt64>) throws(StorageError) -> [Extent] {
            try geometry.check(range)
            return range.isEmpty ? [] : [Extent(range, .data)]
        }

        private func refuse() -> StorageError {
            StorageError(.readOnly, "write volume", at: stack, why: "web servers are only read from")
        }

        func flush() {}
        func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) throws(StorageError) { throw refuse() }
        func discard(_ range: Range<UInt64>) throws(StorageError) { throw refuse() }
        func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) throws(StorageError) { throw refuse() }
        func resize(to size: UInt64) throws(StorageError) { throw refuse() }
    }
#endif
