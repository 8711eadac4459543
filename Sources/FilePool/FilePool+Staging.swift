import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    /// A file that is being built under a hidden name. Whoever holds the lock of its guard is alive and wants it.
    struct StagedFile: Sendable {
        let name: String
        let guardian: any StoredFile
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

    /// Removes a staged file that was not published.
    func discard(_ staged: StagedFile) async {
        try? await store.remove(staged.name)
        try? await staged.guardian.volume.close()
    }

    /// Gives a staged file, whose bytes are durable, its name and declaration, durably.
    ///
    /// Throws `alreadyExists`, and leaves the staged file, when something else has the name.
    func publish(_ staged: StagedFile, as name: String, _ declaration: Declaration) async throws(StorageError) {
        // The declaration first: a file that is visible without one would be nobody's after a crash.
        try await declare(name, declaration, now: try await staged.guardian.status().changedAt)
        try await store.synchronize(HiddenName.declarations)
        do throws(StorageError) {
            try await store.rename(staged.name, to: name, replacing: false)
        } catch {
            if error.code == .alreadyExists { throw taken(name) }
            throw error
        }
        try await store.synchronize("")
        try? await staged.guardian.volume.close()
    }

    func taken(_ name: String) -> StorageError {
        failure(.alreadyExists, "create", name, "something else has that name")
    }

    /// Declares what `name` is going to be, before there is a file. `now` is the file system's time.
    private func declare(_ name: String, _ declaration: Declaration, now: Int64) async throws(StorageError) {
        let link = HiddenName.declaration(of: name)
        do throws(StorageError) {
            return try await store.makeSymbolicLink(link, to: declaration.text)
        } catch {
            if error.code != .alreadyExists { throw error }
        }
        if try await statusIfPresent(name) != nil { throw taken(name) }
        if try await self.declaration(of: name) == declaration { return }
        if let existing = try await statusIfPresent(link), now - existing.changedAt < Self.declarationGraceTime {
            throw failure(
                .conflict, "create", name, "something else of that name is being created or was deleted just now")
        }
        try await redeclare(name, declaration)
    }

    /// Replaces the declaration of `name`, whatever it was, in one step.
    func redeclare(_ name: String, _ declaration: Declaration) async throws(StorageError) {
        do throws(StorageError) {
            return try await store.makeSymbolicLink(HiddenName.declaration(of: name), to: declaration.text)
        } catch {
            if error.code != .alreadyExists { throw error }
        }
        let draft = "\(HiddenName.declarations)/\(HiddenName.staging(bootTag))"
        try await store.makeSymbolicLink(draft, to: declaration.text)
        try await store.rename(draft, to: HiddenName.declaration(of: name), replacing: true)
    }

    /// Removes the declaration of a name that has no file any more.
    func undeclare(_ name: String) async throws(StorageError) {
        do throws(StorageError) {
            try await store.remove(HiddenName.declaration(of: name))
        } catch {
            if error.code != .notFound { throw error }
        }
    }

    /// Removes what crashed processes left: staged files whose owner is gone, and declarations of nothing.
    func removeLeftovers(isHostLocal: Bool) async throws(StorageError) {
        // Also shows that the pool can be written, and the file system's time.
        let probe = try await stage()
        let now: Int64
        do throws(StorageError) {
            now = try await probe.guardian.status().changedAt
        } catch {
            await discard(probe)
            throw error
        }
        await discard(probe)
        let entries = try await store.entries(in: "")
        for entry in entries where entry.name.hasPrefix(HiddenName.stagingPrefix) && entry.status.isRegularFile {
            let isOurs = isHostLocal || entry.name.hasPrefix("\(HiddenName.stagingPrefix)\(bootTag)-")
            if isOurs || now - max(entry.status.modifiedAt, entry.status.changedAt) > Self.foreignIdleTime {
                try? await removeIfAbandoned(entry.name)
            }
        }
        let present = Set(entries.map(\.name))
        for entry in try await store.entries(in: HiddenName.declarations)
        where !present.contains(entry.name) && now - entry.status.changedAt > Self.foreignIdleTime {
            if try await statusIfPresent(entry.name) == nil { try await undeclare(entry.name) }
        }
        for entry in try await store.entries(in: HiddenName.directory)
        where entry.name.hasPrefix(PoolIdentity.draftPrefix) && now - entry.status.changedAt > Self.foreignIdleTime {
            try? await store.remove("\(HiddenName.directory)/\(entry.name)")
        }
    }

    private func removeIfAbandoned(_ name: String) async throws(StorageError) {
        let file = try await store.open(name, .write)
        if try await file.lock(.exclusive, Self.ownerByte) { try await store.remove(name) }
        try await file.volume.close()
    }
}
