#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        /// Undoes what was being made, and finishes what was being deleted, by the ticket in the intent.
        ///
        /// Throws `busy` while the process that has recorded it lives.
        public func recover(_ intent: Intent) async throws(StorageError) {
            let process = intent.details[Detail.process].flatMap(ProcessIdentity.init(text:))
            if let process, process.isAlive, !process.isThisProcess {
                throw failure(.busy, "recover", intent.volume, "\(process) is still at it")
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
                    if try await !clones(of: unit.id).isEmpty {
                        try await finish(unit) { $0.phase = .ready }
                    } else {
                        try await provisioner.delete(unit.id)
                    }
                case .ready:
                    try await finish(unit)
                }
            } catch {
                // Somebody else was faster.
                if error.code != .notFound && error.code != .conflict { throw error }
            }
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
            var options = ISCSIVolume.Options()
            // What does not answer now is asked again at the next start.
            options.deadline = min(self.options.deadline, .seconds(10))
            options.attachment = .preempting
            let (target, lun) = try await target(of: unit)
            // Whoever has it since has said so before.
            guard let current = try await provisioner.unit(unit.id), current.mark?.holder == holder else { return }
            do throws(StorageError) {
                try await ISCSIVolume.open(target, lun: lun, options: options).close()
            } catch {
                if error.code != .notSupported { throw error }
            }
            try await clearHolder(of: unit.id, holder)
            try await provisioner.withdrawAccess(to: unit.id, for: self.options.initiatorName)
        }
    }
#endif
