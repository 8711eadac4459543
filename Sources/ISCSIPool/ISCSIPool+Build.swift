#if ISCSI
    import BlockStorage
    import IORuntime

    /// How units come to be and change, in steps that a crash may stop at.
    extension ISCSIPool {
        /// The keys of an intent's details.
        enum Detail {
            /// What stands in the marks of the units and snapshots that the operation makes or changes.
            static let ticket = "ticket"
            /// The process that does it.
            static let process = "process"
        }

        /// Runs `body` with a new ticket, after it is recorded what is going to happen. When it fails, what it did is
        /// undone.
        func recording<Result: Sendable>(
            _ operation: String, of volume: String, _ body: (_ ticket: String) async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let intent = intent(operation, of: volume)
            let token = try await options.intents?.begin(intent)
            let result: Result
            do throws(StorageError) {
                result = try await body(intent.details[Detail.ticket] ?? "")
            } catch {
                // Where that fails too, the intent stays: whoever finds it tries again. So it does after a call that
                // may still be under way, and make later what is not there to be removed now.
                let isOver = error.code != .timedOut && error.code != .connectionLost
                try? await undo(intent, isOver ? token : nil)
                throw error
            }
            try await end(token)
            return result
        }

        func intent(_ operation: String, of volume: String) -> Intent {
            var details = [Detail.ticket: Self.unique()]
            details[Detail.process] = ProcessIdentity.current()?.text
            return Intent(operation: operation, pool: name, volume: volume, details: details)
        }

        func undo(_ intent: Intent, _ token: IntentToken?) async throws(StorageError) {
            try await uncancelled { () async throws(StorageError) in
                try await self.recover(intent)
                if let token { try await self.options.intents?.end(token) }
            }
        }

        func end(_ token: IntentToken?) async throws(StorageError) {
            guard let token else { return }
            try await uncancelled { () async throws(StorageError) in try await self.options.intents?.end(token) }
        }

        /// A mark for a unit that is made now.
        func mark(
            _ name: String, _ kind: LUNMark.Kind, _ ticket: String, _ provisioning: ProvisioningType = .thin
        ) -> LUNMark {
            var mark = LUNMark(name: name, kind: kind, phase: .building, provisioning: provisioning)
            sign(&mark, ticket)
            return mark
        }

        /// Says in a mark that this process is at work, and on what.
        func sign(_ mark: inout LUNMark, _ ticket: String) {
            mark.ticket = ticket
            mark.process = ProcessIdentity.current()
            mark.host = LUNMark.tag(options.initiatorName)
        }

        /// Builds a volume of `size` bytes: `make` has the array make its unit, of `least` bytes or more, and `finish`
        /// does the rest with it before it gets its name.
        ///
        /// Throws `alreadyExists` when the name is taken, and `quotaExceeded`.
        func build(
            _ operation: String, _ name: String, size: UInt64, _ format: VolumeFormat, _ qos: QoSPolicy?,
            _ provisioning: ProvisioningType = .thin, source: LUNMark.Source? = nil, atLeast least: UInt64 = 0,
            make: (LUNRequest) async throws(StorageError) -> LUN,
            finish: (LUN) async throws(StorageError) -> Void
        ) async throws(StorageError) {
            let what = "\(operation) volume"
            let whole = try max(unitSize(size, format, what, name), least)
            let qos = try completed(qos, what, name)
            try await checkRoom(
                Provisioned(bytes: whole, minIOPS: qos?.minIOPS ?? 0), for: name, what, of: name)
            try await recording(operation, of: name) { (ticket) async throws(StorageError) in
                var mark = mark(name, .volume, ticket, provisioning)
                mark.source = source
                mark.format = format
                if format == .qcow2 { mark.virtualSize = size }
                // What is too long for the array is found before there is anything.
                _ = try mark.text()
                let unit = try await make(LUNRequest(size: whole, qos: qos, mark: mark))
                try await contend(unit, for: name, what, of: name)
                try await finish(unit)
                try await publish(unit)
            }
        }

        /// Makes a unit that is complete, and has the right to its name, visible.
        func publish(_ unit: LUN) async throws(StorageError) {
            try await finish(unit) { $0.phase = .ready }
        }

        /// Marks a volume for what is about to be done to it, under a ticket that an intent has. What another host is
        /// doing to it is waited for. `isLocking` has the array let nobody use it until that is done.
        func begin(
            _ unit: LUN, _ ticket: String, _ what: String, isLocking: Bool = false, _ change: (inout LUNMark) -> Void
        ) async throws(StorageError) -> LUN {
            guard let old = unit.mark else {
                throw failure(.invalidArgument, what, unit.name, "it was put there by something else: adopt it first")
            }
            var turn = 0
            while true {
                let current = try await settled(unit, old, what)
                guard let mark = current.mark else { return current }
                var new = mark
                change(&new)
                sign(&new, ticket)
                _ = try new.text()
                do throws(StorageError) {
                    return try await provisioner.change(
                        current.id, LUNChange(mark: new, isLocked: isLocking ? true : nil, expected: .some(mark)))
                } catch {
                    // Somebody attaches or detaches it, or has begun something else.
                    guard error.code == .conflict, turn < 100, !Task.isCancelled else { throw error }
                }
                turn += 1
                await Self.pause(turn)
            }
        }

        /// Makes sure that a unit is still as it was marked for what is about to be done to it, and that nobody has taken
        /// it. Arrays compare nothing: who had read the mark before that may have written another over it.
        func confirm(_ begun: LUN, _ what: String) async throws(StorageError) {
            let name = begun.mark?.name ?? begun.name
            guard let mark = try await provisioner.unit(begun.id)?.mark, mark.ticket == begun.mark?.ticket,
                mark.phase == begun.mark?.phase, mark.isReverting == begun.mark?.isReverting
            else { throw failure(.conflict, what, name, "another host has changed it at this moment") }
            if let holder = mark.holder, !isDead(holder) { throw held(by: holder, what, name) }
        }

        /// Has the array let others use a unit again that was locked for what its mark says is done to it.
        func unlock(_ unit: LUN) async throws(StorageError) {
            guard unit.isLocked, let mark = unit.mark, mark.isLocking else { return }
            let id = unit.id
            try await uncancelled { () async throws(StorageError) in
                _ = try await self.provisioner.change(id, LUNChange(isLocked: false))
            }
        }

        /// Waits a little before what was in the way is looked at again, longer from turn to turn.
        static func pause(_ turn: Int) async {
            let most = 8 << min(max(turn, 0), 6)
            await IOExecutor.sleep(for: .milliseconds(Int.random(in: most / 2...most)))
        }

        /// The unit when nobody is at work on it.
        private func settled(
            _ unit: LUN, _ mark: LUNMark, _ what: String
        ) async throws(StorageError) -> LUN {
            let end = ContinuousClock.now + options.deadline
            guard var unit = try await provisioner.unit(unit.id) else {
                throw failure(.notFound, what, mark.name, "it was removed at this moment")
            }
            var turn = 0
            while unit.mark?.ticket != nil {
                let who = unit.mark?.process
                if let mark = unit.mark, isAbandoned(mark) {
                    try await settle(unit)
                } else if ContinuousClock.now > end || Task.isCancelled {
                    throw failure(
                        .busy, what, mark.name,
                        "another operation on it is under way\(who.map { ": \($0)" } ?? ""); \(remedy(mark.name))")
                } else {
                    turn += 1
                    await Self.pause(turn)
                }
                guard let now = try await provisioner.unit(unit.id), now.mark?.name == mark.name,
                    now.mark?.phase != .building
                else { throw failure(.conflict, what, mark.name, "it was replaced at this moment") }
                unit = now
            }
            guard unit.mark?.phase == .ready else {
                throw failure(.conflict, what, mark.name, "it was deleted at this moment")
            }
            return unit
        }

        /// Takes the ticket back: what was to be done is done, with what `change` does to the mark, and at once what
        /// `with` does to the unit.
        @discardableResult
        func finish(
            _ unit: LUN, with: LUNChange = LUNChange(), _ change: (inout LUNMark) -> Void = { _ in }
        ) async throws(StorageError) -> LUN {
            var with = with
            if unit.isLocked, unit.mark?.isLocking == true { with.isLocked = false }
            return try await amend(unit, with: with) { mark in
                change(&mark)
                (mark.ticket, mark.process, mark.host, mark.newName) = (nil, nil, nil, nil)
                (mark.promisedBytes, mark.promisedIOPS, mark.isReverting) = (nil, nil, nil)
            }
        }

        /// Changes the mark of a unit that has our ticket, and at once what `with` does to the unit.
        func amend(
            _ unit: LUN, with: LUNChange, _ change: (inout LUNMark) -> Void
        ) async throws(StorageError) -> LUN {
            var current = unit
            for turn in 1...100 {
                guard let mark = current.mark, mark.ticket == unit.mark?.ticket else { break }
                var new = mark
                change(&new)
                var whole = with
                whole.mark = new
                whole.expected = .some(mark)
                let (id, final) = (unit.id, whole)
                do throws(StorageError) {
                    return try await uncancelled { () async throws(StorageError) in
                        try await self.provisioner.change(id, final)
                    }
                } catch {
                    // Somebody attaches or detaches it at this moment.
                    if error.code != .conflict { throw error }
                }
                await Self.pause(turn)
                let now = try await uncancelled { () async throws(StorageError) in try await self.provisioner.unit(id) }
                guard let now else { break }
                current = now
            }
            throw failure(
                .conflict, "change volume", unit.mark?.name ?? unit.name, "another host has changed it at this moment")
        }
    }
#endif
