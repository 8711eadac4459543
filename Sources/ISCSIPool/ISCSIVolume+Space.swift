#if ISCSI
    import BlockStorage
    import IORuntime
    import Synchronization

    extension ISCSIVolume {
        /// Blocks that one command writes the same to, so that it ends well before its deadline.
        private static let largestWriteSame: UInt64 = 16 << 20
        private static let largestUnmap: UInt64 = 1 << 30
        /// Answers about allocation that one call asks for; what is left is taken for data.
        private static let largestAllocationCount = 1024

        /// Deallocates the blocks, where the unit can. They then read as zeros or as before.
        public func discard(_ range: Range<UInt64>) async throws(StorageError) {
            try checkChange(range)
            if lacksUnmap.load(ordering: .relaxed) { return }
            let stated = UInt64(unit.limits.largestUnmap) * blockSize
            try await forEachPart(of: range, min(stated == 0 ? .max : stated, Self.largestUnmap)) {
                (part) async throws(StorageError) in
                let list = SCSIUnmapList.bytes(
                    part.lowerBound / self.blockSize,
                    count: UInt32((part.upperBound - part.lowerBound) / self.blockSize))
                // tgt says of the list of UNMAP that it has not taken it.
                try await self.perform(
                    .unmap(byteCount: SCSIUnmapList.byteCount), sending: list.rawBytes, mayBeShort: true, "discard")
            }
        }

        public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
            try checkChange(range)
            if lacksWriteSame.load(ordering: .relaxed) {
                if options.contains(.fastOnly) { throw noFastZeroes }
                try await writeZeroesOneByOne(range)
            } else {
                try await writeSame(range, options)
            }
            if options.contains(.forceUnitAccess) { try await flush() }
        }

        private func writeSame(_ range: Range<UInt64>, _ options: ZeroOptions) async throws(StorageError) {
            let stated = unit.limits.largestWriteSame.multipliedReportingOverflow(by: blockSize)
            let limit = stated.partialValue == 0 || stated.overflow ? UInt64.max : stated.partialValue
            let mayUnmap =
                !options.contains(.keepAllocated) && unit.capacity.isThin && unit.capacity.readsZeroes
                && unit.provisioning.hasWriteSameUnmap
            let zeros = [UInt8](repeating: 0, count: Int(blockSize))
            try await forEachPart(of: range, min(limit, mayUnmap ? Self.largestUnmap : Self.largestWriteSame)) {
                (part) async throws(StorageError) in
                let count = UInt32((part.upperBound - part.lowerBound) / self.blockSize)
                do throws(StorageError) {
                    try await self.perform(
                        .writeSame(
                            part.lowerBound / self.blockSize, count: count, unmap: mayUnmap,
                            blockSize: Int(self.blockSize)), sending: zeros.rawBytes, "write zeros")
                } catch {
                    guard error.code == .notSupported else { throw error }
                    self.lacksWriteSame.store(true, ordering: .relaxed)
                    if options.contains(.fastOnly) { throw self.noFastZeroes }
                    try await self.writeZeroesOneByOne(part)
                }
            }
        }

        private func writeZeroesOneByOne(_ range: Range<UInt64>) async throws(StorageError) {
            var buffer = IOBuffer(byteCount: 1 << 20)
            buffer.zero()
            let limit = UInt64(buffer.byteCount)
            var position = range.lowerBound
            while position < range.upperBound {
                let count = min(range.upperBound - position, limit)
                try await write(buffer.bytes.extracting(0..<Int(count)), at: position, options: [])
                position += count
            }
        }

        private var noFastZeroes: StorageError {
            StorageError(.notSupported, "write zeros", at: stack, why: "the target does not know WRITE SAME")
        }

        /// What the unit says is deallocated is a hole; all else is data, as is everything where it answers about other
        /// blocks than it was asked for.
        public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
            try checkOpen()
            try geometry.check(range)
            var extents: [Extent] = []
            func add(_ part: Range<UInt64>, _ kind: Extent.Kind) {
                if part.isEmpty { return }
                if let last = extents.last, last.kind == kind {
                    extents[extents.count - 1].range = last.range.lowerBound..<part.upperBound
                } else {
                    extents.append(Extent(part, kind))
                }
            }
            var position = range.lowerBound
            var answers = 0
            while position < range.upperBound, answers < Self.largestAllocationCount,
                let allocation = try await allocation(from: position / blockSize)
            {
                answers += 1
                for run in allocation.runs where position < range.upperBound {
                    let (bytes, overflow) = run.range.upperBound.multipliedReportingOverflow(by: blockSize)
                    let end = min(range.upperBound, overflow ? .max : bytes)
                    add(position..<end, run.isAllocated ? .data : .hole)
                    position = end
                }
            }
            add(position..<range.upperBound, .data)
            return extents
        }

        /// Which blocks are allocated from `place` on; nil where the unit cannot say.
        private func allocation(from place: UInt64) async throws(StorageError) -> SCSIAllocation? {
            if lacksAllocation.load(ordering: .relaxed) { return nil }
            var buffer = IOBuffer(byteCount: Int(SCSIAllocation.byteCount))
            buffer.zero()
            let command = link.command(.getLBAStatus(place, byteCount: SCSIAllocation.byteCount))
            // Sound: the buffer lives until the command is back.
            unsafe command.add(buffer.memory)
            let missing: Int
            do throws(StorageError) {
                missing = try await perform(mayBeShort: command, "list extents")
            } catch {
                guard error.code == .notSupported else { throw error }
                lacksAllocation.store(true, ordering: .relaxed)
                return nil
            }
            return SCSIAllocation(buffer.bytes.extracting(first: max(0, buffer.byteCount - missing)), from: place)
        }

        private func perform(
            _ request: SCSICommand, sending bytes: RawSpan, mayBeShort: Bool = false, _ what: String
        ) async throws(StorageError) {
            let command = link.command(request)
            unsafe command.add(bytes.pinned)
            if mayBeShort {
                _ = try await perform(mayBeShort: command, what)
            } else {
                try await perform(command, what)
            }
        }

        private func forEachPart(
            of range: Range<UInt64>, _ largest: UInt64, _ body: (Range<UInt64>) async throws(StorageError) -> Void
        ) async throws(StorageError) {
            let step = max(largest / blockSize, 1) * blockSize
            var position = range.lowerBound
            while position < range.upperBound {
                let end = min(range.upperBound, position.addingSaturating(step))
                try await body(position..<end)
                position = end
            }
        }

        private func checkChange(_ range: Range<UInt64>) throws(StorageError) {
            try checkOpen()
            try geometry.checkWritable()
            try geometry.check(range)
        }
    }
#endif
