#if ISCSI
    import BlockStorage
    import IORuntime
    import TGTControl

    /// What tgtd is told. All of it with the pool's lock held.
    extension TGTProvisioner {
        /// Whether initiators can log in to the unit's target, and find the unit there.
        func isComplete(_ target: TGTTarget, _ unit: TGTState.Unit, _ state: TGTState) -> Bool {
            hasUnit(target, unit, state) && missingAccounts(of: target, state).isEmpty
                && target.accounts.count == 2 && target.rules == ["ALL"]
        }

        /// Of the two accounts, those that the target does not have: the initiators' and (outgoing) its own.
        private func missingAccounts(
            of target: TGTTarget, _ state: TGTState
        ) -> [(user: String, isOutgoing: Bool)] {
            [(state.user, false), (state.targetUser, true)].filter { user, isOutgoing in
                !target.accounts.contains(isOutgoing ? "\(user) (outgoing)" : user)
            }
        }

        private func hasUnit(_ target: TGTTarget, _ unit: TGTState.Unit, _ state: TGTState) -> Bool {
            target.units.contains {
                $0.number == UInt64(TGTState.unitNumber) && $0.path == store.path(of: unit.file)
                    && $0.identity?.hasPrefix(state.identity(unit.id)) == true
            }
        }

        /// Has tgtd serve all units that are ready, those that it knows already as they are. Others than the `new` one
        /// it has forgotten: when it is told of them again is written before anybody can log in, and once more after.
        func serve(_ state: inout TGTState, new: LUN.ID? = nil) async throws(StorageError) {
            let targets = try await served()
            let byName = Dictionary(targets.map { ($0.name, $0) }) { first, _ in first }
            var taken = Set(targets.map(\.number))
            var needsAccounts = true
            // Whoever holds one alone has seen that nobody else was logged in.
            let forgotten = state.units.filter {
                $0.phase == .ready && $0.id != new && $0.mark.holder == nil && byName[state.targetName($0.id)] == nil
            }.map(\.id)
            if !forgotten.isEmpty {
                for id in forgotten { state[id]?.servedAgainAt = now() }
                try await store.save(state)
            }
            for unit in state.units where unit.phase == .ready {
                let name = state.targetName(unit.id)
                if let target = byName[name], isComplete(target, unit, state) { continue }
                // One that is being copied lets nobody in, but is there.
                if let target = byName[name], hasUnit(target, unit, state), unit.isFrozen { continue }
                if needsAccounts {
                    try await createAccounts(state)
                    needsAccounts = false
                }
                if let target = byName[name] {
                    try await complete(target, unit, state)
                } else {
                    try await create(name, unit, state, taken: &taken)
                }
            }
            for id in forgotten { state[id]?.servedAgainAt = now() }
        }

        private func createAccounts(_ state: TGTState) async throws(StorageError) {
            for (user, party) in [(state.user, TGTStore.Party.initiator), (state.targetUser, .target)] {
                let secret = try await store.secret(of: party)
                try await unless(.alreadyExists) { () async throws(StorageError) in
                    try await control.createAccount(user, secret: secret)
                }
            }
        }

        private func create(
            _ name: String, _ unit: TGTState.Unit, _ state: TGTState, taken: inout Set<Int32>
        ) async throws(StorageError) {
            var number = state.targetNumber(unit.id)
            for _ in 0..<64 {
                while taken.contains(number) { number += 1 }
                taken.insert(number)
                do throws(StorageError) {
                    try await control.createTarget(number, name: name)
                } catch {
                    // Somebody else has taken the number since.
                    if error.code == .alreadyExists { continue }
                    throw error
                }
                return try await complete(TGTTarget(number: number, name: name), unit, state)
            }
            throw failure(.conflict, "serve unit", unit.id, "other programs make targets at tgtd too fast")
        }

        /// Adds what a target lacks. Initiators are let in last, when nothing is missing.
        private func complete(
            _ target: TGTTarget, _ unit: TGTState.Unit, _ state: TGTState
        ) async throws(StorageError) {
            for (user, isOutgoing) in missingAccounts(of: target, state) {
                try await unless(.alreadyExists) { () async throws(StorageError) in
                    try await control.bindAccount(user, target: target.number, isOutgoing: isOutgoing)
                }
            }
            if !hasUnit(target, unit, state) {
                if target.units.contains(where: { $0.number == UInt64(TGTState.unitNumber) }) {
                    try await removeUnit(target, unit)
                }
                try await addUnit(target.number, unit, state)
            }
            // Nothing tells whether it may already.
            if headerDigest != .none { try await control.permitHeaderDigest(target: target.number) }
            if target.rules != ["ALL"], !unit.isFrozen {
                try await unless(.alreadyExists) { () async throws(StorageError) in
                    try await control.allow(.all, target: target.number)
                }
            }
        }

        private func addUnit(
            _ target: Int32, _ unit: TGTState.Unit, _ state: TGTState
        ) async throws(StorageError) {
            try await control.createUnit(TGTState.unitNumber, target: target, path: store.path(of: unit.file))
            let identity = state.identity(unit.id)
            try await control.identify(
                TGTState.unitNumber, target: target, identity: identity, serialNumber: identity)
        }

        /// tgtd keeps a unit while it has commands; they end.
        private func removeUnit(_ target: TGTTarget, _ unit: TGTState.Unit) async throws(StorageError) {
            let end = ContinuousClock.now + deadline
            while true {
                do throws(StorageError) {
                    return try await unless(.notFound) { () async throws(StorageError) in
                        try await control.deleteUnit(TGTState.unitNumber, target: target.number)
                    }
                } catch {
                    guard error.code == .busy, ContinuousClock.now < end, !Task.isCancelled else { throw error }
                }
                await IOExecutor.sleep(for: .milliseconds(1))
            }
        }

        /// Has tgtd look at a unit's file again: its size has changed, or it is another file. The unit is gone for a
        /// moment; those who are logged in ask again for it.
        func serveAnew(_ unit: TGTState.Unit, _ state: inout TGTState) async throws(StorageError) {
            let name = state.targetName(unit.id)
            if let target = try await served().first(where: { $0.name == name }),
                target.units.contains(where: { $0.number == UInt64(TGTState.unitNumber) })
            {
                try await removeUnit(target, unit)
            }
            state[unit.id]?.isStale = nil
            try await serve(&state)
        }

        /// Ends a target of ours: nobody can log in any more, then those go who are logged in, then the unit, and the
        /// target.
        func end(_ target: TGTTarget) async throws(StorageError) {
            try await shut(target)
            let end = ContinuousClock.now + deadline
            while true {
                do throws(StorageError) {
                    // By force it would end tgtd itself where a session has commands left.
                    for connection in try await control.connections(target: target.number) {
                        try await unless(.notFound) { () async throws(StorageError) in
                            try await control.close(connection, target: target.number)
                        }
                    }
                    for unit in target.units where unit.number != 0 {
                        try await unless(.notFound) { () async throws(StorageError) in
                            try await control.deleteUnit(UInt16(clamping: unit.number), target: target.number)
                        }
                    }
                    return try await control.deleteTarget(target.number)
                } catch {
                    if error.code == .notFound { return }
                    guard error.code == .busy, ContinuousClock.now < end, !Task.isCancelled else { throw error }
                }
                await IOExecutor.sleep(for: .milliseconds(2))
            }
        }

        /// Lets nobody else log in.
        func shut(_ target: TGTTarget) async throws(StorageError) {
            for rule in target.rules {
                try await unless(.notFound) { () async throws(StorageError) in
                    try await control.disallow(rule == "ALL" ? .all : .name(rule), target: target.number)
                }
            }
        }

        private func unless(
            _ code: StorageError.Code, _ body: () async throws(StorageError) -> Void
        ) async throws(StorageError) {
            do throws(StorageError) {
                try await body()
            } catch {
                if error.code != code { throw error }
            }
        }
    }
#endif
