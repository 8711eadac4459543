#if ISCSI
    import BlockStorage
    import IORuntime
    import QCOW2

    extension ISCSIPool {
        public func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError) {
            let what = "delete volume"
            try VolumeName.check(name)
            try await names.withName(name) { () async throws(StorageError) in
                guard let unit = try await findIfPresent(name) else { return }
                guard let mark = unit.mark else {
                    throw failure(.invalidArgument, what, name, "it was put there by something else: adopt it first")
                }
                guard mark.kind == .volume else { throw failure(.invalidArgument, what, name, "it is a template") }
                switch policy {
                case .refuse: break
                case .trash: throw failure(.notSupported, what, name, "the pool has no trash")
                case .flatten:
                    try await checkUnused(unit, what)
                    for clone in try await clones(of: unit.id) {
                        guard clone.visibleName != nil else { continue }
                        try await flatten(clone, what)
                    }
                }
                try await delete(unit, what)
            }
        }

        public func deleteTemplate(_ name: String) async throws(StorageError) {
            let what = "delete template"
            try VolumeName.check(name)
            try await names.withName(name) { () async throws(StorageError) in
                guard let unit = try await findIfPresent(name) else { return }
                guard unit.mark?.kind == .template else {
                    throw failure(.invalidArgument, what, name, "it is not a template")
                }
                try await delete(unit, what)
            }
        }

        /// Has the array remove a unit for good that nobody uses.
        private func delete(_ unit: LUN, _ what: String) async throws(StorageError) {
            try await checkDeletable(unit, what)
            try await recording("delete", of: unit.mark?.name ?? unit.name) { (ticket) async throws(StorageError) in
                let begun: LUN
                do throws(StorageError) {
                    begun = try await begin(unit, ticket, what, isLocking: true) { $0.phase = .deleting }
                } catch {
                    if error.code == .notFound { return }
                    throw error
                }
                do throws(StorageError) {
                    // Who has cloned or opened it just before is seen now; who does so later sees the mark.
                    try await checkDeletable(begun, what)
                    try await confirm(begun, what)
                } catch {
                    try await undelete(begun)
                    throw error
                }
                try await uncancelled { () async throws(StorageError) in
                    try await self.provisioner.delete(begun.id)
                }
                journal(of: begun.id)?.remove()
            }
        }

        /// Gives up deleting a unit.
        func undelete(_ begun: LUN) async throws(StorageError) {
            do throws(StorageError) {
                try await finish(begun) { $0.phase = .ready }
            } catch {
                // Whoever has written over the mark does not know that it is locked.
                if error.code == .conflict { try await unlock(begun) }
                throw error
            }
        }

        /// Throws `busy`, naming them, while others use the unit, were cloned from it, or have made snapshots of it.
        func checkDeletable(_ unit: LUN, _ what: String) async throws(StorageError) {
            try await checkUnused(unit, what)
            try refuse(try await clones(of: unit.id), what, unit.mark?.name ?? unit.name)
            let foreign = try await provisioner.snapshots(of: unit.id).filter { $0.ticket == nil }
            guard foreign.isEmpty else {
                throw failure(
                    .busy, what, unit.mark?.name ?? unit.name,
                    "it has snapshots that are not Sluice's to remove: "
                        + foreign.prefix(20).map(\.name).joined(separator: ", "))
            }
        }

        /// Throws `busy`, naming them, unless there are no clones.
        func refuse(_ clones: [LUN], _ what: String, _ name: String) throws(StorageError) {
            if clones.isEmpty { return }
            let some = clones.prefix(20).map { $0.mark?.name ?? $0.name }.sorted().joined(separator: ", ")
            let rest = clones.count > 20 ? " and \(clones.count - 20) more" : ""
            throw failure(.busy, what, name, "other volumes were cloned from it: \(some)\(rest)")
        }

        public func renameVolume(_ name: String, to newName: String) async throws(StorageError) {
            let what = "rename volume"
            try VolumeName.check(name)
            try VolumeName.check(newName)
            _ = try await findVolume(name, what)
            if name == newName { return }
            // In one order, so that two renames never wait for each other.
            try await names.withName(min(name, newName)) { () async throws(StorageError) in
                try await names.withName(max(name, newName)) { () async throws(StorageError) in
                    let (unit, _) = try await findVolume(name, what)
                    if try await findIfPresent(newName) != nil { throw taken(newName) }
                    try await checkUnused(unit, what)
                    try await recording("rename", of: name) { (ticket) async throws(StorageError) in
                        let begun = try await begin(unit, ticket, what) { $0.newName = newName }
                        try await contend(begun, for: newName, what, of: name)
                        try await finish(begun) { $0.name = newName }
                    }
                }
            }
        }
    }
#endif
