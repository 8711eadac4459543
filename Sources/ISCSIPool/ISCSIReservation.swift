#if ISCSI
    import BlockStorage
    import IORuntime

    /// The exclusive use of a unit, by a persistent reservation.
    ///
    /// Whoever attaches registers a key, and then looks for others: of two that do so at the same time at least one
    /// finds the other, and goes away. The target lets nobody write who is not registered.
    struct ISCSIReservation: Sendable {
        let key: SCSIReservationKey
        let path: ISCSIPath
        /// The target may have our key.
        private let isRegistered = Locked(false)
        /// The target keeps reservations when it loses power.
        private let survivesPowerLoss = Locked(false)

        init(_ target: ISCSITarget, _ path: ISCSIPath) {
            key = SCSIReservationKey(initiator: target.initiatorName, nonce: .random(in: 1...UInt16.max))
            self.path = path
        }

        /// Takes the unit. Throws `busy` with the holder's name where it is taken, and `notSupported` for a target
        /// without reservations. With `preempt` the holder loses it, and what it has at the unit is ended.
        func take(_ session: ISCSISession, preempt: Bool) async throws(StorageError) {
            let before = try await session.reservationKeys()
            // Our own is there after an attempt by another portal.
            if hasOthers(before), !preempt { throw held(before) }
            isRegistered.withLock { $0 = true }
            try await register(session)
            do throws(StorageError) {
                var registered = try await session.reservationKeys()
                if hasOthers(registered) {
                    guard preempt else { throw held(registered) }
                    try await self.preempt(session, registered)
                }
                try await session.reserve(.reserve, key.number, 0)
                registered = try await session.reservationKeys()
                if hasOthers(registered) || !registered.keys.contains(key.number) { throw held(registered) }
                // Nothing of an earlier holder, or of one that died, may fall on what is written from now on; not every
                // target aborts when it preempts.
                try await session.endLeftovers(ofSession: false)
                try await session.becomeReady()
                try await confirm(session)
            } catch {
                try? await giveUp(session)
                throw error
            }
        }

        /// Whether an attempt to take the unit has left our key there.
        var needsCleaning: Bool { isRegistered.withLock { $0 } }

        /// Removes our key, and the reservation with it.
        func giveUp(_ session: ISCSISession) async throws(StorageError) {
            try await session.reserve(.register, key.number, 0)
            isRegistered.withLock { $0 = false }
        }

        /// Throws `fenced` where the unit is not ours any more: what it had to say of that is heard by now.
        func confirm(_ session: ISCSISession) async throws(StorageError) {
            let found = try await session.reservationKeys()
            guard found.keys.contains(key.number) else { throw fenced(found) }
        }

        /// Takes the unit again in a later session. Throws `fenced` where somebody else has had it meanwhile.
        func resume(_ session: ISCSISession) async throws(StorageError) {
            let found = try await session.reservationKeys()
            let isOurs = found.keys.contains(key.number)
            // A target that was started anew, and that nobody has reserved since. Who had it before nobody knows, but
            // where keys are kept none of ours means that another took it away.
            let isFresh = found.keys.isEmpty && found.generation == 0 && !survivesPowerLoss.withLock { $0 }
            guard isOurs || isFresh else { throw fenced(found) }
            try await register(session)
            var registered = try await session.reservationKeys()
            if registered.keys.count > 1, !hasOthers(registered) {
                // Some targets keep the key of a session that is gone beside that of its successor.
                try await session.reserve(.reserve, key.number, 0)
                try await session.preempt(key.number, 0)
            }
            try await session.reserve(.reserve, key.number, 0)
            registered = try await session.reservationKeys()
            // Others that came first; those that come later go away.
            if isFresh, hasOthers(registered) {
                try? await session.reserve(.register, key.number, 0)
                throw fenced(registered)
            }
            guard registered.keys.contains(key.number) else { throw fenced(registered) }
        }

        /// The command, and its parameters, after which our key is gone, and the reservation with it.
        var release: (request: SCSICommand, parameters: [UInt8]) {
            (
                .persistentReserveOut(.register, type: SCSIReservation.type),
                SCSIReservation.parameters(key.number, 0)
            )
        }

        /// Registers our key, to be kept when the target loses power where it can do that.
        private func register(_ session: ISCSISession) async throws(StorageError) {
            do throws(StorageError) {
                try await session.reserve(.registerAndIgnoreExistingKey, 0, key.number, survivesPowerLoss: true)
                survivesPowerLoss.withLock { $0 = true }
            } catch {
                guard error.code == .notSupported else { throw error }
                try await session.reserve(.registerAndIgnoreExistingKey, 0, key.number)
                survivesPowerLoss.withLock { $0 = false }
            }
        }

        private func preempt(_ session: ISCSISession, _ found: SCSIReservation.Keys) async throws(StorageError) {
            let reservation = try await session.ask(
                .persistentReserveIn(.reservation, byteCount: SCSIReservation.byteCount))
            // One of all registrants is preempted as a whole, by no key.
            let isOfAll = SCSIReservation.isOfAllRegistrants(reservation.rawBytes)
            for other in isOfAll ? [0] : Set(found.keys).subtracting([key.number]) {
                try await session.preempt(key.number, other)
            }
        }

        private func hasOthers(_ found: SCSIReservation.Keys) -> Bool {
            found.keys.contains { $0 != key.number }
        }

        private func held(_ found: SCSIReservation.Keys) -> StorageError {
            let holder = found.keys.first { $0 != key.number }
            return StorageError(
                .busy, "attach volume", at: "\(path)",
                why: holder.map { "\(SCSIReservationKey($0)) has it" } ?? "another initiator attaches it now")
        }

        private func fenced(_ found: SCSIReservation.Keys) -> StorageError {
            let holder = found.keys.first.map { "\(SCSIReservationKey($0))" } ?? "another initiator"
            return StorageError(.fenced, "use volume", at: "\(path)", why: "\(holder) has taken it over")
        }
    }

    extension ISCSISession {
        fileprivate func reservationKeys() async throws(StorageError) -> SCSIReservation.Keys {
            let answer = try await ask(.persistentReserveIn(.keys, byteCount: SCSIReservation.byteCount))
            guard let keys = SCSIReservation.Keys(answer.rawBytes) else {
                throw StorageError(.inputOutput, "attach volume", why: "the target's list of reservations is too short")
            }
            return keys
        }

        /// Does one action about a reservation, with our key and the one that it is about.
        fileprivate func reserve(
            _ action: SCSICommand.ReservationAction, _ key: UInt64, _ other: UInt64, survivesPowerLoss: Bool = false
        ) async throws(StorageError) {
            let answer = try await attempt(
                .persistentReserveOut(action, type: SCSIReservation.type),
                sending: SCSIReservation.parameters(key, other, survivesPowerLoss: survivesPowerLoss))
            if case .refused(let status) = answer { throw status.error("attach volume", at: "") }
        }

        /// Takes from those who have registered `other`, or from all where all hold it and `other` is 0.
        fileprivate func preempt(_ key: UInt64, _ other: UInt64) async throws(StorageError) {
            do throws(StorageError) {
                try await reserve(.preemptAndAbort, key, other)
            } catch {
                // tgt knows the other form only.
                guard error.code == .notSupported else { throw error }
                try await reserve(.preempt, key, other)
            }
        }
    }
#endif
