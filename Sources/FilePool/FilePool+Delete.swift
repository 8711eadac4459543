import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    public func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError) {
        try VolumeName.check(name)
        if policy == .trash {
            throw failure(.notSupported, "delete volume", name, "a file pool has no trash")
        }
        try await names.withName(name) { () async throws(StorageError) in
            guard let file = try await findIfPresent(name) else { return try await cancelReservation(name) }
            guard let declaration = file.declaration else {
                // Something else has taken the name that was kept: it stays, and what was kept goes.
                if try await self.store.declaration(of: name)?.kind == .reservation {
                    return try await cancelReservation(name)
                }
                throw failure(
                    .invalidArgument, "delete volume", name, "it was put there by something else: adopt it first")
            }
            guard declaration.kind == .volume else {
                throw failure(.invalidArgument, "delete volume", name, "it is a template")
            }
            if policy == .flatten {
                for clone in try await references(to: file) { try await flattenVolume(clone) }
            }
            try await delete(file, "delete volume")
        }
    }

    public func deleteTemplate(_ name: String) async throws(StorageError) {
        try VolumeName.check(name)
        try await names.withName(name) { () async throws(StorageError) in
            guard let file = try await findIfPresent(name) else { return }
            guard file.declaration?.kind == .template else {
                throw failure(.invalidArgument, "delete template", name, "it is not a template")
            }
            try await delete(file, "delete template")
        }
    }

    /// Removes a file that nothing reads through and nobody has open.
    private func delete(_ file: PoolFile, _ what: String) async throws(StorageError) {
        try await withNobodyUsing(file) { () async throws(StorageError) in
            try await checkUnreferenced(file, what)
            // First the name alone: a clone that another host makes at this moment either is seen by the second look,
            // or sees that the name is gone.
            let hidden = HiddenName.staging(bootTag)
            try await store.rename(file.name, to: hidden, replacing: false)
            do throws(StorageError) {
                try await checkUnreferenced(file, what)
            } catch {
                try await store.rename(hidden, to: file.name, replacing: false)
                // For a moment it looked as if its owner were dead.
                if let declaration = file.declaration { try await declareIfMissing(file.name, declaration) }
                throw error
            }
            try await undeclare(file.name)
            try await store.remove(hidden)
            // What a writer that died had not flushed dies with its image. The file is still open: nobody else can
            // have its number, and a journal by that.
            journal(of: file.status)?.remove()
            try await store.synchronize(HiddenName.declarations)
            try await store.synchronize("")
        }
    }

    private func cancelReservation(_ name: String) async throws(StorageError) {
        guard try await store.declaration(of: name)?.kind == .reservation else { return }
        try await withAccounts { (accounts) async throws(StorageError) in
            if try await accounts.declaration(of: name)?.kind == .reservation {
                try await accounts.declare(name, nil)
            }
        }
        try await store.synchronize(HiddenName.declarations)
    }

    private func renameReservation(_ name: String, to newName: String) async throws(StorageError) {
        try await withAccounts { (accounts) async throws(StorageError) in
            guard try await accounts.declaration(of: name)?.kind == .reservation else {
                throw self.failure(.notFound, "rename volume", name, "its reservation was removed at this moment")
            }
            do throws(StorageError) {
                try await accounts.move(name, to: newName)
            } catch {
                if error.code == .alreadyExists { throw self.taken(newName) }
                throw error
            }
        }
        try await store.synchronize(HiddenName.declarations)
    }

    public func renameVolume(_ name: String, to newName: String) async throws(StorageError) {
        try VolumeName.check(newName)
        if try await findIfPresent(name) == nil, try await store.declaration(of: name)?.kind == .reservation {
            if name == newName { return }
            if try await statusIfPresent(newName) != nil { throw taken(newName) }
            return try await renameReservation(name, to: newName)
        }
        let (file, declaration) = try await findManaged(name, "rename volume")
        guard declaration.kind == .volume else {
            throw failure(.invalidArgument, "rename volume", name, "it is a template")
        }
        if name == newName { return }
        // In one order, so that two renames never wait for each other.
        try await names.withName(min(name, newName)) { () async throws(StorageError) in
            try await names.withName(max(name, newName)) { () async throws(StorageError) in
                if try await statusIfPresent(newName) != nil { throw taken(newName) }
                try await withNobodyUsing(file) { () async throws(StorageError) in
                    // A clone knows its backing file by name, and other tools may have made it.
                    try await checkUnreferenced(file, "rename volume")
                    if try await self.store.declaration(of: newName) != nil { try await removeLeftovers() }
                    try await withAccounts { (accounts) async throws(StorageError) in
                        let existing = try await accounts.declaration(of: newName)
                        if existing?.kind == .reservation { throw self.taken(newName) }
                        // An earlier attempt may have died here.
                        guard existing == nil || existing?.oldName == name else {
                            throw self.failure(
                                .conflict, "rename volume", newName,
                                "something of that name is being created or was deleted just now")
                        }
                        try await accounts.declare(newName, declaration.moved(from: name))
                    }
                    try await store.synchronize(HiddenName.declarations)
                    do throws(StorageError) {
                        try await store.rename(name, to: newName, replacing: false)
                    } catch {
                        if error.code == .alreadyExists { throw taken(newName) }
                        throw error
                    }
                    try await withAccounts { (accounts) async throws(StorageError) in
                        // Its policy may have been changed meanwhile, under the name that it had; or another host gave
                        // that name to something new.
                        let latest = try await accounts.declaration(of: name)
                        let isStillOurs = try await self.statusIfPresent(name) == nil
                        if isStillOurs { try await accounts.declare(name, nil) }
                        let own = latest?.origin == declaration.origin ? latest ?? declaration : declaration
                        try await accounts.declare(newName, own.moved(from: nil))
                    }
                    try await store.synchronize("")
                    try await store.synchronize(HiddenName.declarations)
                }
            }
        }
    }

    /// Runs `body` while nobody else, here or elsewhere, has the file open. Throws `busy` otherwise.
    private func withNobodyUsing(
        _ file: PoolFile, _ body: () async throws(StorageError) -> Void
    ) async throws(StorageError) {
        // A template may not be written, and its locks need no right to write.
        let isReadOnly = file.declaration?.kind == .template
        let locked = try await openLocked(file.name, .writing, isReadOnly: isReadOnly)
        do throws(StorageError) {
            try await body()
        } catch {
            try? await locked.volume.close()
            throw error
        }
        try? await locked.volume.close()
    }
}
