#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        public func openVolume(
            _ reference: VolumeReference, mode: OpenMode
        ) async throws(StorageError) -> any Volume {
            let what = "open volume"
            try VolumeName.check(reference.name)
            let unit = try await findManaged(reference.name, what)
            if let snapshot = reference.snapshot {
                try VolumeName.check(snapshot, as: "snapshot name")
                guard mode == .readOnly else {
                    throw failure(.readOnly, what, "\(reference)", "a snapshot is never written")
                }
                return try await openSnapshot(reference, of: unit)
            }
            if unit.mark?.kind == .template, mode == .exclusive {
                throw failure(.readOnly, what, reference.name, "it is a template, and templates are never written")
            }
            return try await open(unit, mode, reference.name)
        }

        /// Opens a unit, and registers it among those that this process has open.
        ///
        /// Without `asImage` the unit that an image is on, and not the image.
        func open(
            _ unit: LUN, _ mode: OpenMode, _ name: String, asImage: Bool = true
        ) async throws(StorageError) -> UnitVolume {
            guard attachments.begin(unit.id, mode) else {
                throw failure(.busy, "open volume", name, "this process has it open")
            }
            do throws(StorageError) {
                let volume =
                    switch mode {
                    case .readOnly: try await openToRead(unit, name, asImage: asImage)
                    case .exclusive: try await openToWrite(unit, name, asImage: asImage)
                    }
                attachments.end(unit.id, mode, volume)
                return volume
            } catch {
                attachments.end(unit.id, mode, nil)
                throw error
            }
        }

        private func openToRead(
            _ unit: LUN, _ name: String, asImage: Bool
        ) async throws(StorageError) -> UnitVolume {
            let what = "open volume"
            let volume = try await connect(unit, .shared, isReadOnly: true)
            do throws(StorageError) {
                // Who writes has said so in the mark before it looked who is logged in.
                let current = try await stillThere(unit, what, name)
                if let holder = current.mark?.holder, !isDead(holder), try await isReserved(volume) {
                    throw held(by: holder, what, name)
                }
                let contents =
                    asImage ? try await opened(volume, current.mark, unit.id, isReadOnly: true) : volume
                return UnitVolume(contents, on: volume, deadline: options.deadline) {
                    [self] () async throws(StorageError) in
                    try await leave(unit.id, nil)
                }
            } catch {
                try? await volume.close()
                throw error
            }
        }

        /// Whether somebody has the unit for its own. What a mark says of that may be left from before: an array that
        /// lost power may have lost its reservations. Who is just taking it has said so in the mark first, and sees the
        /// reader afterwards.
        private func isReserved(_ volume: ISCSIVolume) async throws(StorageError) -> Bool {
            do throws(StorageError) {
                return try await volume.reservationHolder() != nil
            } catch {
                if error.code == .notSupported { return true }
                throw error
            }
        }

        private func openToWrite(
            _ unit: LUN, _ name: String, asImage: Bool
        ) async throws(StorageError) -> UnitVolume {
            let what = "open volume"
            let own = try ownHold(what, name)
            let before = try await stillThere(unit, what, name).mark?.holder
            // The array may have lost the reservation of somebody who lives, and is about to make it again.
            if let before, !isStale(before) { throw held(by: before, what, name) }
            try await setHolder(of: unit.id, own, insteadOf: before, what, name)
            let volume: ISCSIVolume
            do throws(StorageError) {
                // Where somebody held it, nobody else was logged in.
                if before == nil { try await checkReturning(unit, what, name) }
                volume = try await connect(unit, before == nil ? .exclusive : .preempting, isReadOnly: false)
            } catch {
                try? await clearHolder(of: unit.id, own)
                guard error.code == .busy else { throw error }
                if let holder = try await provisioner.unit(unit.id)?.mark?.holder { throw held(by: holder, what, name) }
                throw error
            }
            do throws(StorageError) {
                // Of two that wrote at the same moment the other's may have stayed.
                let current = try await stillThere(unit, what, name)
                if let other = current.mark?.holder, other != own, !isStale(other) {
                    throw held(by: other, what, name)
                }
                if current.mark?.holder != own {
                    try await setHolder(of: unit.id, own, insteadOf: current.mark?.holder, what, name)
                }
                try await checkAlone(unit, what, name)
                let contents =
                    asImage ? try await opened(volume, current.mark, unit.id, isReadOnly: false) : volume
                // A resize that died may have left another.
                if asImage, current.mark?.format == .qcow2 { try await note(contents.geometry.size, of: unit.id, name) }
                return UnitVolume(contents, on: volume, deadline: options.deadline) {
                    [self] () async throws(StorageError) in
                    try await leave(unit.id, own)
                }
            } catch {
                try? await volume.close()
                try? await leave(unit.id, own)
                throw error
            }
        }

        /// This process as one that has a unit open for writing.
        func ownHold(_ what: String, _ name: String) throws(StorageError) -> LUNMark.Holder {
            guard let process = ProcessIdentity.current() else {
                throw failure(.internalError, what, name, "/proc does not say which process this is")
            }
            return LUNMark.Holder(process, initiator: options.initiatorName)
        }

        /// Whether a holder of a unit that this process has not open is one no more.
        private func isStale(_ holder: LUNMark.Holder) -> Bool {
            // Of this process: it is what a failed attempt has left.
            isDead(holder)
                || holder.process.isThisProcess
                    && holder.initiator == LUNMark.Holder(holder.process, initiator: options.initiatorName).initiator
        }

        func held(by holder: LUNMark.Holder, _ what: String, _ name: String) -> StorageError {
            failure(.busy, what, name, "it is held by \(holder.process), initiator \(holder.initiator)")
        }

        /// The unit by now. Throws `notFound` where it is gone, and `busy` where it is being deleted or reverted.
        private func stillThere(_ unit: LUN, _ what: String, _ name: String) async throws(StorageError) -> LUN {
            guard let current = try await provisioner.unit(unit.id), let mark = current.mark else {
                throw failure(.notFound, what, name, "it was removed at this moment")
            }
            let isOurs = mark.phase == .building && mark.ticket == unit.mark?.ticket
            guard mark.phase == .ready || isOurs else {
                throw failure(.busy, what, name, "it is being deleted")
            }
            // Who copies it looks who is logged in after it has said so.
            guard current.isReady else { throw failure(.busy, what, name, "it is being copied") }
            if mark.isReverting == true { throw failure(.busy, what, name, "it is being reverted") }
            if current.isLocked { throw failure(.busy, what, name, "the array has locked it") }
            return current
        }

        func setHolder(
            of id: LUN.ID, _ holder: LUNMark.Holder, insteadOf old: LUNMark.Holder?, _ what: String, _ name: String
        ) async throws(StorageError) {
            for _ in 0..<100 {
                guard let mark = try await provisioner.unit(id)?.mark else {
                    throw failure(.notFound, what, name, "it was removed at this moment")
                }
                guard mark.holder == old else {
                    if let other = mark.holder { throw held(by: other, what, name) }
                    throw failure(.conflict, what, name, "another host attaches it at this moment")
                }
                var new = mark
                new.holder = holder
                do throws(StorageError) {
                    _ = try await provisioner.change(id, LUNChange(mark: new, expected: .some(mark)))
                    return
                } catch {
                    if error.code != .conflict { throw error }
                }
            }
            throw failure(.busy, what, name, "other operations on it do not come to an end")
        }

        /// Forgets who had a unit open, if it is still the one.
        func clearHolder(of id: LUN.ID, _ holder: LUNMark.Holder) async throws(StorageError) {
            for _ in 0..<100 {
                guard let mark = try await provisioner.unit(id)?.mark, mark.holder == holder else { return }
                var new = mark
                new.holder = nil
                do throws(StorageError) {
                    _ = try await provisioner.change(id, LUNChange(mark: new, expected: .some(mark)))
                    return
                } catch {
                    if error.code == .notFound { return }
                    if error.code != .conflict { throw error }
                }
            }
        }

        /// What follows the end of a session.
        private func leave(_ id: LUN.ID, _ holder: LUNMark.Holder?) async throws(StorageError) {
            if let holder { try await clearHolder(of: id, holder) }
            if !attachments.isShared(id) {
                try await provisioner.withdrawAccess(to: id, for: options.initiatorName)
            }
        }

        /// Throws `busy` while a hypervisor may be about to come back that was logged in when the target was started again.
        private func checkReturning(_ unit: LUN, _ what: String, _ name: String) async throws(StorageError) {
            guard let session = try await provisioner.sessions(of: unit.id).first(where: \.isAway) else { return }
            throw failure(.busy, what, name, "\(session.initiator) is logged in")
        }

        /// Throws `busy`, naming them, while anybody but this process's one session is logged in.
        private func checkAlone(_ unit: LUN, _ what: String, _ name: String) async throws(StorageError) {
            try await checkSessions(of: unit, what, name, own: 1)
        }

        /// Throws `busy`, naming them, while anybody has the unit open. What this process is just opening is `isOurs`.
        func checkUnused(_ unit: LUN, _ what: String, isOurs: Bool = false) async throws(StorageError) {
            let name = unit.mark?.name ?? unit.name
            if !isOurs, attachments.isOpen(unit.id) { throw failure(.busy, what, name, "this process has it open") }
            if let holder = unit.mark?.holder {
                guard isDead(holder) else { throw held(by: holder, what, name) }
                try await release(unit, holder)
            }
            try await checkSessions(of: unit, what, name, own: 0)
        }

        /// Throws `busy`, naming them, while anybody is logged in but sessions of this host, as many as there are
        /// `own`.
        func checkSessions(
            of unit: LUN, _ what: String, _ name: String, own: Int
        ) async throws(StorageError) {
            let end = ContinuousClock.now + Self.patience
            while true {
                let sessions = try await provisioner.sessions(of: unit.id)
                let others = sessions.filter { $0.initiator != options.initiatorName }
                if others.isEmpty, sessions.count <= own { return }
                guard ContinuousClock.now < end, !Task.isCancelled else {
                    let other = others.first ?? sessions.first
                    let address = other?.address.map { " at \($0)" } ?? ""
                    throw failure(
                        .busy, what, name, "\(other?.initiator ?? "an initiator")\(address) is logged in")
                }
                // Another operation may have it open for a moment, and a process that died its last one.
                await IOExecutor.sleep(for: .milliseconds(25))
            }
        }

        private static let patience = Duration.seconds(1)

        /// Logs in to a unit.
        func connect(
            _ unit: LUN, _ attachment: ISCSIVolume.Attachment, isReadOnly: Bool
        ) async throws(StorageError) -> ISCSIVolume {
            let (target, lun) = try await target(of: unit)
            var options = ISCSIVolume.Options()
            options.deadline = self.options.deadline
            options.isReadOnly = isReadOnly
            options.attachment = attachment
            let (provisioner, initiator) = (provisioner, self.options.initiatorName)
            options.willReconnect = { () async throws(StorageError) in
                _ = try await provisioner.access(to: unit, for: initiator)
            }
            do throws(StorageError) {
                return try await ISCSIVolume.open(target, lun: lun, options: options)
            } catch {
                // Nobody may be let in since a moment ago.
                _ = try await provisioner.access(to: unit, for: initiator)
                throw error
            }
        }

        /// The target of a unit, with what this host logs in with.
        func target(of unit: LUN) async throws(StorageError) -> (ISCSITarget, UInt16) {
            guard let path = unit.path else {
                throw failure(.notFound, "open volume", unit.mark?.name ?? unit.name, "the array names no target")
            }
            let access = try await provisioner.access(to: unit, for: options.initiatorName)
            let target = ISCSITarget(
                portals: access.portals, name: path.target, initiatorName: options.initiatorName,
                credentials: access.credentials, targetCredentials: access.targetCredentials,
                headerDigest: options.headerDigest, boundAddress: options.boundAddress)
            return (target, path.lun)
        }

        public func breakLock(of volume: String) async throws(StorageError) {
            let what = "break lock"
            try VolumeName.check(volume)
            // What was only half made is gone then, and what was deleted may be.
            if try await endWork(on: volume, what), try await findIfPresent(volume)?.mark == nil { return }
            let unit = try await findManaged(volume, what)
            guard attachments.begin(unit.id, .exclusive) else {
                throw failure(.busy, what, volume, "this process has it open: detach it")
            }
            defer { attachments.end(unit.id, .exclusive, nil) }
            try await connect(unit, .preempting, isReadOnly: false).close()
            if let holder = unit.mark?.holder { try await clearHolder(of: unit.id, holder) }
        }

        /// Has the array clone a snapshot, to be read and then removed: a snapshot is no unit.
        private func openSnapshot(
            _ reference: VolumeReference, of unit: LUN
        ) async throws(StorageError) -> any Volume {
            let what = "open snapshot"
            guard let snapshot = try await snapshot(of: unit, reference, what) else {
                throw failure(.notFound, what, "\(reference)", "there is no such snapshot")
            }
            let size = try rounded(snapshot.size, what, "\(reference)")
            let qos = try completed(nil, what, "\(reference)")
            // It counts for others as long as it is there, and is not refused: a full pool is one to copy things from. No
            // log has it: it lasts as long as the volume is open. Its mark tells what is left of it by whom.
            let intent = intent("open snapshot", of: reference.name)
            do throws(StorageError) {
                var mark = mark(reference.name, .template, intent.details[Detail.ticket] ?? "")
                mark.format = unit.mark?.format ?? .raw
                let clone = try await provisioner.clone(
                    unit.id, snapshot: snapshot.id, isQuiet: false, LUNRequest(size: size, qos: qos, mark: mark))
                let volume = try await connect(clone, .shared, isReadOnly: true)
                let contents: any Volume
                do throws(StorageError) {
                    contents = try await opened(volume, clone.mark, clone.id, isReadOnly: true)
                } catch {
                    try? await volume.close()
                    throw error
                }
                return UnitVolume(contents, on: volume, deadline: options.deadline) {
                    [self] () async throws(StorageError) in
                    try await provisioner.delete(clone.id)
                }
            } catch {
                // Also what the array had made when its answer was lost.
                try? await undo(intent, nil)
                throw error
            }
        }
    }
#endif
