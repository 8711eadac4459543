#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIVolume {
        /// Writes `bytes` at `offset` if `expected` is there, in one step that nobody comes between: COMPARE AND WRITE.
        /// False where something else is there; nothing is written then.
        ///
        /// Both have the same number of whole blocks, at most as many as the unit compares at once. When the connection
        /// is lost meanwhile the blocks are looked at. They hold `bytes`, and it was done; or `expected`, and it is done
        /// now; or else nobody can tell, which throws `connectionLost`. So whoever uses it writes bytes that nobody else
        /// writes. Throws `notSupported` where the unit does not know the command.
        public func compareAndWrite(
            _ expected: RawSpan, _ bytes: RawSpan, at offset: UInt64
        ) async throws(StorageError) -> Bool {
            let what = "compare and write"
            try checkOpen()
            try geometry.checkWritable()
            try geometry.check(offset, expected.byteCount)
            let count = expected.byteCount / Int(blockSize)
            guard expected.byteCount == bytes.byteCount, count > 0 else {
                throw StorageError(.invalidArgument, what, at: stack, why: "there is not a block to write for each")
            }
            guard count <= Int(unit.limits.largestCompareAndWrite), let blockCount = UInt8(exactly: count) else {
                throw StorageError(
                    .notSupported, what, at: stack,
                    why: "the unit compares at most \(unit.limits.largestCompareAndWrite) blocks")
            }
            let due = link.deadline.due
            while true {
                let command = ISCSICommand(
                    .compareAndWrite(offset / blockSize, count: blockCount, byteCount: 2 * bytes.byteCount), due: due)
                unsafe command.add(expected.pinned)
                unsafe command.add(bytes.pinned)
                switch await link.perform(command) {
                case .good(missing: 0): return true
                case .refused(let status) where status.isMiscompare: return false
                case .lost:
                    // The next session ends what the lost one has left before this is read.
                    var found = IOBuffer(byteCount: bytes.byteCount)
                    var span = found.mutableBytes
                    try await read(into: &span, at: offset)
                    if found.bytes.hasSameBytes(as: bytes) { return true }
                    if found.bytes.hasSameBytes(as: expected) { continue }
                    throw StorageError(
                        .connectionLost, what, at: stack,
                        why: "the connection was lost, and the blocks hold neither: it may have been done")
                case let outcome:
                    if let error = failure(outcome, what) { throw error }
                    throw StorageError(.internalError, what, at: stack)
                }
            }
        }

        /// Who has the unit for its own, or nil: the end of the initiator's name, or the key of other software. Anyone
        /// may ask. Throws `notSupported` where the target knows no reservations.
        public func reservationHolder() async throws(StorageError) -> String? {
            try checkOpen()
            var buffer = IOBuffer(byteCount: Int(SCSIReservation.byteCount))
            buffer.zero()
            let command = link.command(.persistentReserveIn(.keys, byteCount: SCSIReservation.byteCount))
            // Sound: the buffer lives until the command is back.
            unsafe command.add(buffer.memory)
            let missing = try await perform(mayBeShort: command, "ask who has the volume")
            let keys = SCSIReservation.Keys(buffer.bytes.extracting(first: max(0, buffer.byteCount - missing)))
            let key = keys?.keys.first.map { SCSIReservationKey($0) }
            return key.map { $0.initiator ?? "\($0)" }
        }
    }
#endif
