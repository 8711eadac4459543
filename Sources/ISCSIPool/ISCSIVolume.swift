#if ISCSI
    import BlockStorage
    import IORuntime
    import Synchronization

    /// A logical unit of an iSCSI target that is open.
    ///
    /// Every request has a deadline. Until then a lost connection is made again, by whatever portal answers, and what
    /// was on its way is sent again. A request that is late throws `timedOut`, or `connectionLost` while there is no
    /// connection; its memory is free then. A late write may have landed; it falls on nothing that is written later,
    /// because the unit is reset before. A target whose cache does not survive its restart loses what was not flushed,
    /// as a disk does.
    ///
    /// With a dozen commands or more at the target several answers are taken at once, which costs less processor time; none
    /// waits longer than some two milliseconds for others.
    ///
    /// A flush that has failed fails every later one, as does one that was at the target and ended without its answer:
    /// the answer may have been that it failed, after which some targets have nothing left to flush. One whose
    /// connection was lost is sent again, as every initiator does, until its deadline.
    public final class ISCSIVolume: Volume {
        /// Who may write to the unit while it is open.
        public enum Attachment: Sendable {
            /// Whoever else logs in.
            case shared
            /// Nobody else: a persistent reservation of the type "write exclusive, all registrants" says so, and others
            /// may read. Throws `busy` with the holder's name where somebody has it, and `notSupported` for a target
            /// that knows no reservations.
            case exclusive
            /// As `exclusive`, and whoever has it loses it: its writes throw `fenced`.
            case preempting
        }

        /// How a volume is used.
        public struct Options: Sendable {
            /// For each request, reconnecting included: 30 seconds by default.
            public var deadline: Duration = .seconds(30)
            /// Commands that may be at the target at once, at least 1. Targets that take fewer get fewer.
            public var queueDepth = 128
            public var isReadOnly = false
            /// Whether this is the only one that writes.
            public var attachment = Attachment.shared
            /// Called when a session was lost and the target answers, but refuses another: one that was started anew may
            /// have to be told what it has. It has a quarter of the deadline, and the target is asked again whatever it
            /// throws: whoever manages the target need not be there as long as the target is.
            public var willReconnect: (@Sendable () async throws(StorageError) -> Void)?

            public init() {}
        }

        /// `/IQN/LUN`, where the LUN is the one that was found.
        public let path: ISCSIPath
        let link: ISCSILink
        let unit: ISCSIUnit
        private let reservation: ISCSIReservation?
        private let isReadOnly: Bool
        private let size: ISCSISize
        private let isClosed = Atomic(false)
        /// The first failed flush. One that no target had is not one: what it was to write is still there.
        private let flushFailure = Locked<StorageError?>(nil)
        /// Bytes that one command transfers.
        private let largestCommand: Int
        /// What the unit has refused as unknown.
        let lacksWriteSame = Atomic(false)
        let lacksUnmap: Atomic<Bool>
        let lacksAllocation: Atomic<Bool>

        /// Logs in to a target and opens one of its units.
        ///
        /// Throws `authenticationFailed` where either side does not prove itself, `notFound` where there is no such
        /// target or no such disk, `connectionLost` where no portal answers.
        public static func open(
            _ target: ISCSITarget, lun: UInt16, options: Options = Options()
        ) async throws(StorageError) -> ISCSIVolume {
            let path = ISCSIPath(target: target.name, lun: lun)
            var login = try ISCSILogin(target, deadline: IODeadline(options.deadline))
            login.willReconnect = options.willReconnect
            let facts = Locked<ISCSIUnit?>(nil)
            let reservation = options.attachment == .shared ? nil : ISCSIReservation(target, path)
            var failure = StorageError(.connectionLost, "open volume", at: "\(path)")
            for turn in target.portals.indices {
                do throws(StorageError) {
                    let session = try await login.session(turn) { (session) async throws(StorageError) in
                        let unit = try await ISCSIUnit.describe(session, path)
                        facts.withLock { $0 = unit }
                        try await reservation?.take(session, preempt: options.attachment == .preempting)
                    }
                    guard let unit = facts.withLock({ $0 }) else { throw failure }
                    // What failed late before is not what is written from now on.
                    login.lateFailure.withLock { $0 = nil }
                    let found = ISCSIPath(target: target.name, lun: SCSIUnitList.plain(unit.number))
                    return ISCSIVolume(found, unit, reservation, session, login, options)
                } catch {
                    failure = error
                    // Only another way there may help.
                    guard error.isRetryable else { break }
                }
            }
            if let reservation, reservation.needsCleaning, let unit = facts.withLock({ $0 }) {
                await clean(reservation, unit, login)
            }
            throw failure
        }

        /// Removes what an attempt to open has left, by whatever portal answers.
        private static func clean(_ reservation: ISCSIReservation, _ unit: ISCSIUnit, _ login: ISCSILogin) async {
            try? await uncancelled { () async throws(StorageError) in
                for turn in login.target.portals.indices where reservation.needsCleaning {
                    let session = try? await login.session(turn) { (session) async throws(StorageError) in
                        try await unit.recognize(session, reservation.path)
                        try await reservation.giveUp(session)
                    }
                    if let session { await login.end(session) }
                }
            }
        }

        private init(
            _ path: ISCSIPath, _ unit: ISCSIUnit, _ reservation: ISCSIReservation?, _ session: ISCSISession,
            _ login: ISCSILogin, _ options: Options
        ) {
            (self.path, self.unit, self.reservation) = (path, unit, reservation)
            isReadOnly = options.isReadOnly || unit.modes.isWriteProtected
            let canDeallocate = unit.capacity.isThin && unit.provisioning.hasUnmap
            lacksUnmap = Atomic(!canDeallocate)
            lacksAllocation = Atomic(!(unit.capacity.isThin && unit.capacity.readsZeroes))
            let blockSize = Int(unit.capacity.blockSize)
            let stated = UInt64(unit.limits.largestTransfer) * UInt64(blockSize)
            largestCommand = min(stated == 0 ? .max : Int(clamping: stated), 1 << 20) / blockSize * blockSize
            let size = ISCSISize(unit.capacity)
            self.size = size
            let lastAddress = Locked(session.address)
            link = ISCSILink(
                session, login, depth: max(1, options.queueDepth), isExclusive: reservation != nil
            ) { (session, needsReset) async throws(StorageError) in
                // Nothing is changed, and nothing ended, before it is sure that the unit is the same, and ours.
                try await unit.recognize(session, path)
                try await reservation?.resume(session)
                if needsReset {
                    try await session.endLeftovers(ofSession: session.address == lastAddress.withLock { $0 })
                }
                try await session.becomeReady()
                let capacity = try await unit.currentCapacity(session, path)
                try await reservation?.confirm(session)
                lastAddress.withLock { $0 = session.address }
                size.set(capacity.size)
            } changed: { link in
                await size.refresh(link)
            }
        }

        deinit {
            let link = link
            if !isClosed.load(ordering: .acquiring) { Task.detached { await link.close() } }
        }

        public var geometry: VolumeGeometry {
            let optimal = UInt64(unit.limits.optimalGranularity) * UInt64(unit.capacity.blockSize)
            let isUsable = optimal.nonzeroBitCount == 1 && (4096...1 << 20).contains(optimal)
            return VolumeGeometry(
                size: size.bytes, blockSize: unit.capacity.blockSize,
                preferredTransfer: isUsable ? UInt32(optimal) : 64 << 10, largestTransfer: 32 << 20,
                isReadOnly: isReadOnly)
        }

        public var stack: String { "iscsi:\(path)" }

        var blockSize: UInt64 { UInt64(unit.capacity.blockSize) }

        // MARK: - Data

        public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
            try check(offset, buffer.byteCount)
            try await transfer(IOSegment(pinning: &buffer, at: offset), isWrite: false, [])
        }

        public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
            try check(offset, bytes.byteCount)
            try geometry.checkWritable()
            try await transfer(IOSegment(pinning: bytes, at: offset), isWrite: true, options)
        }

        public func readv(_ vector: IOVector) async throws(StorageError) {
            try check(vector)
            try await transfer(vector, isWrite: false, [])
        }

        public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
            try check(vector)
            try geometry.checkWritable()
            try await transfer(vector, isWrite: true, options)
        }

        public func flush() async throws(StorageError) {
            try checkOpen()
            try await synchronize(due: link.deadline.due)
        }

        private func synchronize(due: UInt64) async throws(StorageError) {
            if isReadOnly { return }
            try checkDurable()
            let command = ISCSICommand(.synchronizeCache, due: due)
            do throws(StorageError) {
                try await perform(command, "flush")
            } catch {
                switch error.code {
                case .timedOut where !command.isUncertain, .connectionLost where !command.isUncertain,
                    .cancelled where !command.isUncertain, .busy where !command.isUncertain:
                    break
                default: flushFailure.withLock { $0 = $0 ?? error }
                }
                throw error
            }
            try checkDurable()
        }

        /// Throws where bytes are lost that the target had taken.
        private func checkDurable() throws(StorageError) {
            if let failure = flushFailure.withLock({ $0 }) { throw failure }
            if let status = link.login.lateFailure.withLock({ $0 }) { throw status.error("flush", at: stack) }
        }

        /// Asks for the unit's size again. A target tells of a change itself, but some leave it out.
        public func rescan() async throws(StorageError) {
            try checkOpen()
            if case .good = await size.refresh(link) { return }
            throw StorageError(.connectionLost, "rescan", at: stack, why: "the target does not state a size")
        }

        public func close() async throws(StorageError) {
            if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
            try await uncancelled { () async throws(StorageError) in
                var failure: StorageError?
                do throws(StorageError) { try await self.synchronize(due: self.link.deadline.due) } catch {
                    failure = error
                }
                do throws(StorageError) { try await self.release() } catch { failure = failure ?? error }
                await self.link.close()
                if let failure { throw failure }
            }
        }

        /// Gives up the exclusive use. Who waited for the target in vain before does not wait as long again: what is left
        /// of it is ours when the unit is opened again.
        private func release() async throws(StorageError) {
            guard let (request, parameters) = reservation?.release else { return }
            let due = link.trouble == nil ? link.deadline.due : IODeadline(min(link.deadline.limit, .seconds(1))).due
            while true {
                let command = ISCSICommand(request, due: due)
                unsafe command.add(parameters.rawBytes.pinned)
                let outcome = await link.perform(command)
                // Whether a lost session did it or not, the next has our key again.
                if case .lost = outcome { continue }
                // Who has taken the unit has taken the key, too.
                if case .fenced = outcome { return }
                if let error = failure(outcome, "detach volume") { throw error }
                return
            }
        }

        /// Whether it has not been closed.
        package var isOpen: Bool { !isClosed.load(ordering: .acquiring) }

        // MARK: -

        /// One segment; in parts where it is larger than a command may be.
        private func transfer(
            _ segment: IOSegment, isWrite: Bool, _ options: WriteOptions
        ) async throws(StorageError) {
            if segment.byteCount > largestCommand {
                var vector = IOVector()
                vector.append(segment)
                return try await transfer(vector, isWrite: isWrite, options)
            }
            if segment.byteCount > 0 {
                let command = command(segment.range, isWrite: isWrite, options)
                unsafe command.add(segment.memory)
                try await perform(command, isWrite ? "write" : "read")
            }
            try await flushIfAsked(options, isWrite)
        }

        /// One command for each run of bytes that follow each other, as far as commands go; all at once.
        private func transfer(
            _ vector: IOVector, isWrite: Bool, _ options: WriteOptions
        ) async throws(StorageError) {
            var commands: [ISCSICommand] = []
            var pieces: [IOSegment] = []
            func finishRun() {
                guard let first = pieces.first, let last = pieces.last else { return }
                let command = command(first.offset..<last.range.upperBound, isWrite: isWrite, options)
                for piece in pieces { unsafe command.add(piece.memory) }
                commands.append(command)
                pieces = []
            }
            var runByteCount = 0
            for index in 0..<vector.count {
                var done = 0
                while done < vector[index].byteCount {
                    if pieces.last?.range.upperBound != vector[index].offset + UInt64(done)
                        || runByteCount == largestCommand
                    {
                        finishRun()
                        runByteCount = 0
                    }
                    let count = min(vector[index].byteCount - done, largestCommand - runByteCount)
                    pieces.append(vector[index].part(done..<done + count, at: vector[index].offset + UInt64(done)))
                    runByteCount += count
                    done += count
                }
            }
            finishRun()
            try await perform(commands, isWrite ? "write" : "read")
            try await flushIfAsked(options, isWrite)
        }

        private func command(_ range: Range<UInt64>, isWrite: Bool, _ options: WriteOptions) -> ISCSICommand {
            let byteCount = Int(range.upperBound - range.lowerBound)
            let place = range.lowerBound / blockSize
            let count = UInt32(byteCount) / unit.capacity.blockSize
            guard isWrite else { return link.command(.read(place, count: count, byteCount: byteCount)) }
            let isForced = options.contains(.forceUnitAccess) && unit.modes.hasForceUnitAccess
            return link.command(.write(place, count: count, byteCount: byteCount, forceUnitAccess: isForced))
        }

        private func flushIfAsked(_ options: WriteOptions, _ isWrite: Bool) async throws(StorageError) {
            if isWrite, options.contains(.forceUnitAccess), !unit.modes.hasForceUnitAccess { try await flush() }
        }

        /// Does a command to its end.
        func perform(_ command: ISCSICommand, _ what: String) async throws(StorageError) {
            if let error = failure(await link.perform(command), what) { throw error }
        }

        /// As `perform`, for a command whose answer may be shorter than there is room for: by how many bytes it is.
        func perform(mayBeShort command: ISCSICommand, _ what: String) async throws(StorageError) -> Int {
            let outcome = await link.perform(command)
            if case .good(let missing) = outcome { return missing }
            if let error = failure(outcome, what) { throw error }
            return 0
        }

        /// Does all of them, and throws the first error once all are back.
        func perform(_ commands: [ISCSICommand], _ what: String) async throws(StorageError) {
            for command in commands { link.start(command) }
            var first: StorageError?
            for command in commands {
                let error = failure(await link.outcome(of: command), what)
                first = first ?? error
            }
            if let first { throw first }
        }

        func failure(_ outcome: ISCSICommand.Outcome, _ what: String) -> StorageError? {
            switch outcome {
            case .good(missing: 0): nil
            case .good(let missing):
                StorageError(.inputOutput, what, at: stack, why: "the target leaves out \(missing) bytes")
            case .refused(let status) where status.code == SCSIStatus.reservationConflict && reservation != nil:
                StorageError(.fenced, what, at: stack, why: "another initiator has taken the unit over")
            case .refused(let status): status.error(what, at: stack)
            case .fenced(let error): StorageError(.fenced, what, at: stack, why: error.why)
            case .lost:
                StorageError(
                    .connectionLost, what, at: stack, why: "the connection was lost, and it may have been done")
            case .late:
                link.trouble.map { StorageError($0.code, what, at: stack, why: $0.why) }
                    ?? StorageError(.timedOut, what, at: stack, why: "the target has not answered in time")
            case .cancelled: StorageError(.cancelled, what, at: stack)
            case .closed: StorageError(.notAttached, what, at: stack, why: "the volume is closed")
            }
        }

        func checkOpen() throws(StorageError) {
            if isClosed.load(ordering: .acquiring) {
                throw StorageError(.notAttached, "access volume", at: stack, why: "the volume is closed")
            }
        }

        private func check(_ offset: UInt64, _ byteCount: Int) throws(StorageError) {
            try checkOpen()
            try geometry.check(offset, byteCount)
        }

        private func check(_ vector: IOVector) throws(StorageError) {
            try checkOpen()
            let geometry = geometry
            for index in 0..<vector.count { try geometry.check(vector[index].offset, vector[index].byteCount) }
        }
    }

    /// The size of a unit as it was heard last.
    final class ISCSISize: Sendable {
        private let value: Atomic<UInt64>
        /// A unit whose blocks have another size is another unit.
        private let blockSize: UInt32

        init(_ capacity: SCSICapacity) {
            value = Atomic(capacity.size)
            blockSize = capacity.blockSize
        }

        var bytes: UInt64 { value.load(ordering: .acquiring) }

        func set(_ bytes: UInt64) { value.store(bytes, ordering: .releasing) }

        /// Asks for it again.
        @discardableResult
        func refresh(_ link: ISCSILink) async -> ISCSICommand.Outcome {
            var buffer = IOBuffer(byteCount: Int(SCSICapacity.byteCount))
            buffer.zero()
            let command = link.command(.readCapacity(byteCount: SCSICapacity.byteCount))
            // Sound: the buffer lives until the command is back.
            unsafe command.add(buffer.memory)
            let outcome = await link.perform(command)
            if case .good(let missing) = outcome,
                let capacity = SCSICapacity(buffer.bytes.extracting(first: max(0, buffer.byteCount - missing))),
                capacity.blockSize == blockSize
            {
                set(capacity.size)
            }
            return outcome
        }
    }
#endif
