#if ISCSI
    import BlockStorage
    import IORuntime

    /// What a logical unit says of itself.
    struct ISCSIUnit: Sendable {
        /// As REPORT LUNS writes it.
        let number: UInt16
        let capacity: SCSICapacity
        let limits: SCSILimits
        let provisioning: SCSIProvisioning
        let modes: SCSIModes
        /// What tells this unit from any other: vital product data, page 83h. Empty where it has none.
        let identity: [UInt8]

        /// Finds the unit and asks it for everything. Throws `notFound` where the target has no disk of that number.
        ///
        /// Arrays that give every volume a target of its own write `/0` for its one unit, whatever its number: where
        /// there is no disk 0, it is the target's only disk.
        static func describe(_ session: ISCSISession, _ path: ISCSIPath) async throws(StorageError) -> ISCSIUnit {
            func missing(_ why: String) -> StorageError {
                StorageError(.notFound, "open volume", at: "\(path)", why: why)
            }
            let list = try await session.ask(.reportLUNs(byteCount: SCSIUnitList.byteCount), of: 0)
            let numbers = SCSIUnitList(list.rawBytes)?.numbers ?? []
            var disks: [UInt16] = []
            for number in numbers where SCSIUnitList.plain(number) == path.lun {
                if try await session.isDisk(number) { disks = [number] }
            }
            if disks.isEmpty, path.lun == 0 {
                for number in numbers where disks.count < 2 {
                    if try await session.isDisk(number) { disks.append(number) }
                }
            }
            guard let number = disks.first else { throw missing("the target has no disk of that number") }
            if disks.count > 1 { throw missing("the target has no disk 0, and more than one other") }
            session.lun = number
            try await session.becomeReady()
            let capacity = try await session.capacity(path)
            let limits = try await session.askOptional(.inquiry(page: SCSILimits.page, byteCount: 64))
            let provisioning = try await session.askOptional(.inquiry(page: SCSIProvisioning.page, byteCount: 64))
            let modes = try await session.askOptional(.modeSenseCaching(byteCount: 64))
            return ISCSIUnit(
                number: number, capacity: capacity, limits: SCSILimits(limits.rawBytes),
                provisioning: SCSIProvisioning(provisioning.rawBytes), modes: SCSIModes(modes.rawBytes),
                identity: try await session.identity())
        }

        /// Finds the unit again in a later session. Throws `notFound` where another has taken its place, or may have:
        /// one that states no identity is never known again.
        func recognize(_ session: ISCSISession, _ path: ISCSIPath) async throws(StorageError) {
            session.lun = number
            try await session.becomeReady()
            guard try await session.isDisk(number), !identity.isEmpty, try await session.identity() == identity else {
                throw StorageError(
                    .notFound, "use volume", at: "\(path)", why: "another unit has taken its place, or none")
            }
        }

        /// The capacity by now, which may have changed.
        func currentCapacity(_ session: ISCSISession, _ path: ISCSIPath) async throws(StorageError) -> SCSICapacity {
            let capacity = try await session.capacity(path)
            guard capacity.blockSize == self.capacity.blockSize else {
                throw StorageError(.notFound, "use volume", at: "\(path)", why: "its block size has changed")
            }
            return capacity
        }
    }

    extension ISCSISession {
        /// Asks the unit something, and returns the bytes of its answer. Only while nobody else uses the session.
        func ask(_ request: SCSICommand, of unit: UInt16? = nil) async throws(StorageError) -> [UInt8] {
            switch try await attempt(request, of: unit) {
            case .bytes(let answer): return answer
            case .refused(let status): throw status.error("ask unit", at: "")
            }
        }

        /// As `ask`; nothing where the unit does not know the question, or answers only those who have reserved it.
        func askOptional(_ request: SCSICommand) async throws(StorageError) -> [UInt8] {
            switch try await attempt(request, of: nil) {
            case .bytes(let answer): return answer
            case .refused(let status) where status.isUnsupported || status.code == SCSIStatus.reservationConflict:
                return []
            case .refused(let status): throw status.error("ask unit", at: "")
            }
        }

        enum Answer {
            case bytes([UInt8])
            case refused(SCSIStatus)
        }

        /// Sends a command until the target does not put it off any more. Parameters to send come in `bytes`.
        func attempt(
            _ request: SCSICommand, of unit: UInt16? = nil, sending bytes: [UInt8] = []
        ) async throws(StorageError) -> Answer {
            var buffer = IOBuffer(byteCount: max(1, request.byteCount))
            var status = SCSIStatus(code: SCSIStatus.busy)
            // Every reason to put a command off is told once, but one that is told for ever must end, too.
            for round in 0..<64 {
                let command = ISCSICommand(request, due: .max)
                // Sound: the buffer lives until the command is back, or the session has ended, and this call with it.
                if request.byteCount > 0 {
                    buffer.zero()
                    let memory = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer.memory[0..<request.byteCount])
                    unsafe memory.copyBytes(from: bytes.prefix(request.byteCount))
                    unsafe command.add(memory)
                }
                guard queue(command, to: unit) else { throw failure(.connectionLost, "ask unit") }
                do throws(StorageError) {
                    try await drive("ask unit") { command.outcome != nil }
                } catch {
                    end()
                    throw error
                }
                switch command.outcome {
                case .good(let missing)?:
                    guard request.direction == .fromTarget else { return .bytes([]) }
                    let count = max(0, request.byteCount - missing)
                    return .bytes(unsafe Array(UnsafeRawBufferPointer(buffer.memory)[0..<count]))
                case .refused(let refusal)?:
                    status = refusal
                    // The session has noted it, and this command was not done.
                    if status.isDeferred { continue }
                    if status.remedy == .none { return .refused(status) }
                    if ![.again, .againAfterLook].contains(status.remedy) || round > 8 {
                        await IOExecutor.sleep(for: .milliseconds(20))
                    }
                default: throw failure(.connectionLost, "ask unit")
                }
            }
            return .refused(status)
        }

        /// Whether a unit is a disk, which commands go to from now on.
        func isDisk(_ unit: UInt16) async throws(StorageError) -> Bool {
            lun = unit
            let inquiry = try await ask(.inquiry(byteCount: 96))
            return SCSIInquiry.isDisk(inquiry.rawBytes)
        }

        /// The unit's own designators.
        fileprivate func identity() async throws(StorageError) -> [UInt8] {
            let page = try await askOptional(.inquiry(page: SCSIIdentity.page, byteCount: 1024))
            return SCSIIdentity.designators(page.rawBytes)
        }

        /// Lets the unit say all that it has to say to a new session.
        func becomeReady() async throws(StorageError) { _ = try await ask(.testUnitReady) }

        /// Throws for a unit that has no bytes, or none that can be counted.
        func capacity(_ path: ISCSIPath) async throws(StorageError) -> SCSICapacity {
            let answer = try await ask(.readCapacity(byteCount: SCSICapacity.byteCount))
            guard let capacity = SCSICapacity(answer.rawBytes) else {
                throw StorageError(
                    .inputOutput, "open volume", at: "\(path)", why: "the target states no size that can be")
            }
            return capacity
        }

        /// LOGICAL UNIT RESET (RFC 7143, 11.5.1).
        private static let resetUnit: UInt8 = 5

        /// Ends what an earlier session left at the unit. A target that does not know how has ended it with that
        /// session if this one succeeds it at the same portal, as RFC 7143, section 6.3.5, demands.
        func endLeftovers(ofSession isSuccessor: Bool) async throws(StorageError) {
            var request = ISCSIRequest(.taskManagement, flags: 0x80 | Self.resetUnit, isImmediate: true)
            request.put(unit: lun)
            request.put(ISCSIPacket.noTag, at: 20)
            switch try await exchange("reset unit", request, answeredBy: .taskManagement).packet.response {
            case 0: return
            case 5 where isSuccessor: return
            case let response:
                throw StorageError(
                    response == 5 ? .notSupported : .inputOutput, "reset unit",
                    why: "the target has not ended the unit's commands (response \(response))")
            }
        }
    }
#endif
