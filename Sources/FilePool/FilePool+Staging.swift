import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    /// A file that is being built under a hidden name. Whoever holds the lock of its guard is alive and wants it.
    struct StagedFile: Sendable {
        let name: String
        let guardian: any StoredFile

        /// As declarations refer to it.
        var origin: String { String(name.dropFirst(HiddenName.stagingPrefix.count)) }
    }

    /// The byte that the owner of a staged file keeps locked: none of those that QEMU gives a meaning.
    private static let ownerByte: Range<UInt64> = 300..<301
    /// What a process on another host left behind is removed once nobody touched it for this long, in nanoseconds:
    /// some cluster file systems keep locks to each host.
    private static let foreignIdleTime: Int64 = 3600 * 1_000_000_000
    /// How long a declaration without a file is left to whoever made it, in nanoseconds: it is made at the last moment.
    private static let declarationGraceTime: Int64 = 60 * 1_000_000_000

    /// A new empty file, for this process alone until it is published or discarded.
    func stage() async throws(StorageError) -> StagedFile {
        for _ in 0..<8 {
            let name = HiddenName.staging(bootTag)
            let file = try await store.open(name, .create)
            do throws(StorageError) {
                let isLocked = try await file.lock(.shared, Self.ownerByte)
                // Another process may have taken it for a leftover before it was locked.
                if isLocked, try await statusIfPresent(name) != nil { return StagedFile(name: name, guardian: file) }
            } catch {
                try? await file.volume.close()
                try? await store.remove(name)
                throw error
            }
            try? await file.volume.close()
        }
        throw failure(.conflict, "create file", "", "something removes new files at once")
    }

    /// Takes the room for what a staged file becomes, until it is published or discarded: as a declaration under the
    /// staged file's name, which lasts as long as that file does.
    ///
    /// Throws `quotaExceeded` when there is no room, and `alreadyExists` when `name` is reserved, unless it is
    /// `takingOver` just that reservation, whose room it gets.
    func reserve(
        _ staged: StagedFile, for name: String, _ declaration: Declaration, takingOver isSuccessor: Bool,
        _ what: String
    ) async throws(StorageError) {
        try await withAdmission { (accounts) async throws(StorageError) in
            var claim = declaration
            if let held = try await accounts.declaration(of: name), held.kind == .reservation {
                guard isSuccessor, held.asVolume.isSame(as: declaration) else { throw self.taken(name) }
                (claim.bytes, claim.qos) = (nil, nil)
            }
            try await self.admit(claim.provisioned, beside: accounts, what, name)
            try await accounts.declare(staged.name, claim)
        }
    }

    /// Removes a staged file that was not published, and gives its room back.
    func discard(_ staged: StagedFile) async {
        try? await store.remove(staged.name)
        try? await withAccounts { (accounts) async throws(StorageError) in
            guard try await accounts.declaration(of: staged.name) != nil else { return }
            try await accounts.declare(staged.name, nil)
        }
        try? await staged.guardian.volume.close()
    }

    /// Gives a staged file, whose bytes are durable, its name and declaration, durably.
    ///
    /// Throws `alreadyExists`, and leaves the staged file, when something else has the name.
    func publish(_ staged: StagedFile, as name: String, _ declaration: Declaration) async throws(StorageError) {
        var declaration = declaration
        declaration.origin = staged.origin
        // The declaration first: a file that is visible without one would be nobody's after a crash.
        let isReplacing = try await declare(
            name, declaration, for: staged, now: try await staged.guardian.status().changedAt)
        try await store.synchronize(HiddenName.declarations)
        do throws(StorageError) {
            try await store.rename(staged.name, to: name, replacing: false)
        } catch {
            if error.code == .alreadyExists { throw taken(name) }
            throw error
        }
        // Whoever deleted a volume of that name just now may have taken the new declaration for the old one.
        if isReplacing { try await declareIfMissing(name, declaration) }
        try await store.synchronize("")
        try? await staged.guardian.volume.close()
    }

    func taken(_ name: String) -> StorageError {
        failure(.alreadyExists, "create", name, "something else has that name")
    }

    /// Declares what `name` is going to be, before there is a file, with the room that the staged file has. `now` is
    /// the file system's time. Returns whether something was declared under that name before.
    private func declare(
        _ name: String, _ declaration: Declaration, for staged: StagedFile, now: Int64
    ) async throws(StorageError) -> Bool {
        try await withAccounts { (accounts) async throws(StorageError) in
            if try await self.statusIfPresent(name) != nil { throw self.taken(name) }
            let existing = try await self.linkStatus(of: name)
            if let existing {
                let old = try await accounts.declaration(of: name)
                let isSame = old?.asVolume.isSame(as: declaration) == true
                if !isSame, old?.kind == .reservation { throw self.taken(name) }
                let isFree = isSame || now - existing.changedAt >= Self.declarationGraceTime
                if !isFree, try await !self.isAbandoned(name, old, existing, now: now) {
                    throw self.failure(
                        .conflict, "create", name,
                        "something else of that name is being created or was deleted just now")
                }
            }
            try await accounts.declare(name, declaration)
            try await accounts.declare(staged.name, nil)
            return existing != nil
        }
    }

    /// Declares a file that is there, if it has lost its declaration.
    func declareIfMissing(_ name: String, _ declaration: Declaration) async throws(StorageError) {
        try await withAccounts { (accounts) async throws(StorageError) in
            if try await accounts.declaration(of: name) == nil { try await accounts.declare(name, declaration) }
        }
    }

    private func linkStatus(of name: String) async throws(StorageError) -> FileStatus? {
        try await statusIfPresent(HiddenName.declaration(of: name))
    }

    /// Replaces the declaration of `name`, whatever it was, in one step.
    func redeclare(_ name: String, _ declaration: Declaration) async throws(StorageError) {
        try await withAccounts { (accounts) async throws(StorageError) in
            try await accounts.declare(name, declaration)
        }
    }

    /// Removes the declaration of a name, unless it has a file: a new one, which another host gave the name at once.
    func undeclare(_ name: String) async throws(StorageError) {
        try await withAccounts { (accounts) async throws(StorageError) in
            if try await self.statusIfPresent(name) == nil { try await accounts.declare(name, nil) }
        }
    }

    /// Whether `name` has no file and its declaration no owner who is alive: it waits for nothing. `status` is that of
    /// the link.
    private func isAbandoned(
        _ name: String, _ declaration: Declaration?, _ status: FileStatus, now: Int64
    ) async throws(StorageError) -> Bool {
        if declaration?.kind == .reservation { return false }
        let isClaim = name.hasPrefix(HiddenName.stagingPrefix)
        let staged = declaration?.oldName == nil ? declaration?.origin : nil
        let origin = isClaim ? name : staged.map { HiddenName.stagingPrefix + $0 }
        // What another host has made may not be visible here yet.
        let isIdle = now - status.changedAt > Self.foreignIdleTime
        guard isIdle || origin.map(isOurs) == true else { return false }
        // In this order: a staged file that has got its name has it before it loses the other.
        if let origin, try await statusIfPresent(origin) != nil { return false }
        if isClaim { return true }
        return try await statusIfPresent(name) == nil
    }

    /// Whether the staged file is of a process of this host: then its locks tell whether that is alive.
    private func isOurs(_ staged: String) -> Bool {
        isHostLocal || staged.hasPrefix("\(HiddenName.stagingPrefix)\(bootTag)-")
    }

    /// Removes what crashed processes left: staged files whose owner is gone, and declarations of nothing.
    func removeLeftovers() async throws(StorageError) {
        // Also shows that the pool can be written, and the file system's time.
        let probe = try await stage()
        let now: Int64
        do throws(StorageError) {
            now = try await probe.guardian.status().changedAt
        } catch {
            await discard(probe)
            throw error
        }
        try await store.remove(probe.name)
        try? await probe.guardian.volume.close()
        var present = Set(try await store.names(in: ""))
        for name in present where name.hasPrefix(HiddenName.stagingPrefix) {
            guard let status = try await statusIfPresent(name), status.isRegularFile else { continue }
            if isOurs(name) || now - max(status.modifiedAt, status.changedAt) > Self.foreignIdleTime {
                if (try? await removeIfAbandoned(name)) == true { present.remove(name) }
            }
        }
        let suspects = try await store.names(in: HiddenName.declarations).filter { !present.contains($0) }
        if !suspects.isEmpty {
            try await withAccounts { (accounts) async throws(StorageError) in
                for name in suspects {
                    guard let status = try await self.linkStatus(of: name),
                        try await self.isAbandoned(name, accounts.declaration(of: name), status, now: now)
                    else { continue }
                    try await accounts.declare(name, nil)
                    // It may have been the old name of what counts under a new one from now on.
                    accounts.distrust()
                }
            }
        }
        for entry in try await store.entries(in: HiddenName.directory)
        where HiddenName.draftPrefixes.contains(where: entry.name.hasPrefix)
            && now - entry.status.changedAt > Self.foreignIdleTime
        {
            try? await store.remove("\(HiddenName.directory)/\(entry.name)")
        }
    }

    private func removeIfAbandoned(_ name: String) async throws(StorageError) -> Bool {
        let file = try await store.open(name, .write)
        let isAbandoned = try await file.lock(.exclusive, Self.ownerByte)
        if isAbandoned { try await store.remove(name) }
        try await file.volume.close()
        return isAbandoned
    }
}
