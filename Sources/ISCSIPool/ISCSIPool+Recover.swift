#if ISCSI
    import BlockStorage
    import IORuntime
    import QCOW2

    extension ISCSIPool {
        /// Undoes what was being made, and finishes what was being deleted, by the ticket in the intent.
        ///
        /// Throws `busy` unless the process that has recorded it is known to be gone, or is this one.
        public func recover(_ intent: Intent) async throws(StorageError) {
            let process = intent.details[Detail.process].flatMap(ProcessIdentity.init(text:))
            // Intents are this host's: what ran before its last start is gone.
            if let process, !process.isThisProcess, !process.isDead, !process.isOfEarlierBoot {
                throw failure(.busy, "recover", intent.volume, "\(process) may still be at it")
            }
            guard let ticket = intent.details[Detail.ticket], !ticket.isEmpty else { return }
            for snapshot in try await provisioner.snapshots(of: nil) where snapshot.work == ticket[...] {
                try await provisioner.deleteSnapshot(snapshot.id, of: snapshot.unit)
            }
            for unit in try await provisioner.units() where unit.mark?.ticket == ticket { try await settle(unit) }
            // What it had open it has not any more.
            if let process, !process.isThisProcess { try await sweep() }
        }

        /// Undoes or finishes what a process had begun with a unit that has its ticket.
        func settle(_ unit: LUN) async throws(StorageError) {
            guard let mark = unit.mark, mark.ticket != nil else { return }
            do throws(StorageError) {
                switch mark.phase {
                case .building:
                    try await provisioner.delete(unit.id)
                case .deleting:
                    try await settleDeletion(of: unit)
                case .ready:
                    // It may be rolled back already.
                    if mark.isReverting == true { try await forgetJournal(ofImageOn: unit) }
                    try await finish(unit)
                }
            } catch {
                // Somebody else was faster.
                if error.code != .notFound && error.code != .conflict { throw error }
            }
        }

        /// Deletes a unit for good unless it is in use, or cloned: whoever was deleting it may have died before it looked,
        /// or have seen that and not have got to say so.
        private func settleDeletion(of unit: LUN) async throws(StorageError) {
            // As it is by now: who has it open says so in the mark.
            guard let current = try await provisioner.unit(unit.id), let mark = current.mark, mark.phase == .deleting,
                mark.ticket == unit.mark?.ticket
            else { return }
            do throws(StorageError) {
                try await checkDeletable(current, "delete")
                try await confirm(current, "delete")
            } catch {
                guard error.code == .busy || error.code == .conflict else { throw error }
                return try await undelete(current)
            }
            try await provisioner.delete(current.id)
            journal(of: current.id)?.remove()
        }

        /// Takes up what processes of this host have left that are dead: what they were at, and what they had open.
        func sweep() async throws(StorageError) {
            try await sweep(try await provisioner.units())
        }

        func sweep(_ units: [LUN]) async throws(StorageError) {
            for unit in units {
                guard let mark = unit.mark else { continue }
                if mark.ticket != nil, isAbandoned(mark) {
                    for snapshot in try await provisioner.snapshots(of: unit.id)
                    where snapshot.work == mark.ticket?[...] {
                        try await provisioner.deleteSnapshot(snapshot.id, of: unit.id)
                    }
                    try await settle(unit)
                } else if mark.phase == .ready, let holder = mark.holder, isDead(holder) {
                    try? await release(unit, holder)
                }
            }
        }

        /// What to do about a process that is at work for ever: only people know that its host is gone.
        func remedy(_ name: String) -> String {
            "if its host is gone for good, sluice volume break-lock \(self.name)/\(name) ends what it has begun"
        }

        /// Undoes or finishes what others have begun with a name, on people's word that they never come back. False
        /// where there is no such thing.
        ///
        /// Throws `busy` where a process of this host is at it that runs.
        func endWork(on name: String, _ what: String) async throws(StorageError) -> Bool {
            let units = try await provisioner.units()
            let isVisible = find(name, in: units) != nil
            let begun = units.filter { unit in
                guard let mark = unit.mark, mark.ticket != nil else { return false }
                if mark.newName == name { return true }
                // Templates that are being written, and snapshots that are read, are in nobody's way.
                return mark.name == name && (mark.kind == .volume || !isVisible)
            }
            if begun.isEmpty { return false }
            for unit in begun {
                guard let process = unit.mark?.process, process.isAlive else { continue }
                throw failure(.busy, what, name, "\(process), of this host, is at work on it")
            }
            try await recording("break lock", of: name) { (ticket) async throws(StorageError) in
                for unit in begun {
                    guard let old = unit.mark else { continue }
                    // Under a ticket of ours: whoever lives after all finds that the work is its own no more.
                    var mark = old
                    sign(&mark, ticket)
                    let taken = try await provisioner.change(unit.id, LUNChange(mark: mark, expected: .some(old)))
                    // Nobody may come to rely on what that host deletes if it does come back.
                    for snapshot in try await provisioner.snapshots(of: unit.id)
                    where snapshot.work == old.ticket?[...] {
                        try await provisioner.deleteSnapshot(snapshot.id, of: unit.id)
                    }
                    try await settle(taken)
                }
            }
            return true
        }

        /// Whether a holder was a process of this host, and is gone.
        func isDead(_ holder: LUNMark.Holder) -> Bool {
            if holder.process.isDead { return true }
            // No other host has this initiator's name.
            return holder.initiator == LUNMark.Holder(holder.process, initiator: options.initiatorName).initiator
                && holder.process.isOfEarlierBoot
        }

        /// Whether who is at work on a unit was a process of this host, and is gone.
        func isAbandoned(_ mark: LUNMark) -> Bool {
            guard let process = mark.process else { return false }
            return process.isDead || mark.host == LUNMark.tag(options.initiatorName) && process.isOfEarlierBoot
        }

        /// Gives up what a dead process had a unit open with.
        func release(_ unit: LUN, _ holder: LUNMark.Holder) async throws(StorageError) {
            guard attachments.begin(unit.id, .exclusive) else { return }
            defer { attachments.end(unit.id, .exclusive, nil) }
            try await unlock(unit)
            var options = ISCSIVolume.Options()
            // What does not answer now is asked again at the next start.
            options.deadline = min(self.options.deadline, .seconds(10))
            options.attachment = .preempting
            let (what, name) = ("release volume", unit.mark?.name ?? unit.name)
            let own = try ownHold(what, name)
            // Nobody else's may be the reservation that is taken away: who wants the unit sees that we have it.
            do throws(StorageError) {
                try await setHolder(of: unit.id, own, insteadOf: holder, what, name)
            } catch {
                // Somebody else was faster.
                if error.code == .notFound || error.code == .conflict { return }
                throw error
            }
            do throws(StorageError) {
                let (target, lun) = try await target(of: unit)
                try await ISCSIVolume.open(target, lun: lun, options: options).close()
            } catch {
                if error.code != .notSupported {
                    // The dead one's reservation stays, and with it the reason to try again.
                    try? await setHolder(of: unit.id, holder, insteadOf: own, what, name)
                    throw error
                }
            }
            try await clearHolder(of: unit.id, own)
            try await provisioner.withdrawAccess(to: unit.id, for: self.options.initiatorName)
        }
    }
#endif
