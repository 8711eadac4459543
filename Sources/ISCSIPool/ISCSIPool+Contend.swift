#if ISCSI
    import BlockStorage
    import IORuntime

    /// How hosts agree on who gets a name, and the rest of the room, at an array that does not check it.
    ///
    /// Whoever wants something says so in a unit's mark, and then looks at all units. Of two, the one who marked later
    /// sees the other. Who sees somebody with an older unit goes away; who sees somebody with a younger one waits until
    /// that has gone away, or has got it. So one gets it at most, whatever the order in which an array shows what it
    /// was told, and nobody waits in a circle. What a dead process of this host wants is taken away; what another
    /// host's wants stays until that host's next start, or until people say that there will be none.
    extension ISCSIPool {
        /// Makes sure that the unit, which is marked so, may have the name (unless nil) and the room that it wants.
        ///
        /// Throws `alreadyExists` or `quotaExceeded` where it may not: then the mark must go.
        func contend(
            _ unit: LUN, for name: String?, _ what: String, of volume: String
        ) async throws(StorageError) {
            let end = ContinuousClock.now + options.deadline
            var turn = 0
            while true {
                let census = try await census()
                let waitsForName = try waits(unit, for: name, census)
                let waitsForRoom = try await waitsForRoom(unit, census, what, of: volume)
                guard waitsForName || waitsForRoom else { return }
                try await sweep(census.units)
                guard ContinuousClock.now < end, !Task.isCancelled else {
                    let own = unit.mark?.ticket
                    let other = census.units.compactMap(\.mark).first { $0.ticket != nil && $0.ticket != own }
                    let who = other.map { " for \($0.name)\($0.process.map { " (\($0))" } ?? "")" } ?? ""
                    throw failure(
                        .busy, what, volume,
                        "another host wants the same\(who), and does not come to an end; "
                            + remedy(other?.name ?? volume))
                }
                turn += 1
                await Self.pause(turn)
            }
        }

        /// Whether somebody else may still get the name.
        private func waits(_ unit: LUN, for name: String?, _ census: UnitCensus) throws(StorageError) -> Bool {
            guard let name else { return false }
            var isWaiting = false
            for other in census.units where other.id != unit.id {
                guard let mark = other.mark else {
                    if other.visibleName == name { throw taken(name) }
                    continue
                }
                if mark.phase == .ready, mark.name == name, mark.newName != name { throw taken(name) }
                let wantsIt =
                    mark.newName == name || mark.phase == .building && mark.kind == .volume && mark.name == name
                // One that is being deleted gets its name back where a clone of it was made at that moment.
                let mayKeepIt = mark.phase == .deleting && mark.name == name
                guard wantsIt || mayKeepIt else { continue }
                if wantsIt, other.id < unit.id {
                    throw failure(
                        .alreadyExists, "create", name,
                        "another process makes it\(mark.process.map { ": \($0)" } ?? ""); \(remedy(name))")
                }
                isWaiting = true
            }
            return isWaiting
        }

        /// Whether somebody else may still get the room.
        private func waitsForRoom(
            _ unit: LUN, _ census: UnitCensus, _ what: String, of volume: String
        ) async throws(StorageError) -> Bool {
            if options.limits == .none { return false }
            let capacity = try await provisioner.capacity().bytes
            // As the array has it by now: what it has rounded counts.
            let own = census.provisioned(census.units.first { $0.id == unit.id } ?? unit)
            let others = census.provisioned(without: unit.id)
            let settled = others.settled + own.settled
            func check(beside promised: Provisioned) throws(StorageError) {
                try options.limits.check(
                    own.pending, beside: promised, capacity: capacity, what, at: "\(self.name)/\(volume)")
            }
            do throws(StorageError) {
                try check(beside: settled + others.pending)
                return false
            } catch {
                // Who is younger goes away where there is no room for both, or has got it.
                let older = census.units.filter { $0.id < unit.id }
                try check(beside: older.reduce(settled) { $0 + census.provisioned($1).pending })
                return true
            }
        }

        /// Throws what `contend` is certain to throw, before anything is made.
        func checkRoom(
            _ demand: Provisioned, for name: String?, _ what: String, of volume: String
        ) async throws(StorageError) {
            if let name, let existing = try await findIfPresent(name), existing.visibleName == name {
                throw taken(name)
            }
            if options.limits == .none || demand == Provisioned() { return }
            let census = try await census()
            try options.limits.check(
                demand, beside: census.provisioned(without: nil).settled,
                capacity: try await provisioner.capacity().bytes, what, at: "\(self.name)/\(volume)")
        }
    }
#endif
