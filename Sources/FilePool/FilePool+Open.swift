import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    /// Images between a volume and the bottom of its backing chain, at most.
    static let longestChain = 32

    /// The journal of an image's writers; nil where there is none.
    func journal(of status: FileStatus) -> QCOW2Journal? {
        options.journalDirectory.map { QCOW2Journal(directory: $0, identity: "\(status.device):\(status.inode)") }
    }

    public func openVolume(_ reference: VolumeReference, mode: OpenMode) async throws(StorageError) -> any Volume {
        let (file, declaration) = try await findManaged(reference.name, "open volume")
        if let snapshot = reference.snapshot {
            try VolumeName.check(snapshot, as: "snapshot name")
            guard declaration.format == .qcow2 else {
                throw failure(.notFound, "open snapshot", "\(reference)", "a raw volume has no snapshots")
            }
        }
        guard mode == .exclusive else {
            return try await open(file, declaration, .reading, snapshot: reference.snapshot)
        }
        guard reference.snapshot == nil, declaration.kind == .volume else {
            throw failure(.readOnly, "open volume", "\(reference)", "snapshots and templates are never written")
        }
        return try await openExclusively(file, declaration, "open volume")
    }

    /// Opens a volume for writing. Throws `busy` while it is open elsewhere or clones depend on it.
    func openExclusively(
        _ file: PoolFile, _ declaration: Declaration, _ what: String
    ) async throws(StorageError) -> any ResizableVolume & AnyObject {
        let volume = try await open(file, declaration, .writing, snapshot: nil)
        do throws(StorageError) {
            // Only now: who makes a clone holds a lock that excludes a writer's until the clone is there to be seen.
            try await checkUnreferenced(file, what)
            // Nobody changes its size now, so that what a crash or another tool left can be put right.
            if let declaration = try await self.store.declaration(of: file.name),
                declaration.bytes != Self.logicalBytes(of: volume)
            {
                try await settle(file.name, volume, what)
            }
        } catch {
            try? await volume.close()
            throw error
        }
        images.forget(file.status)
        attachments.add(volume, as: file.name)
        return volume
    }

    /// Opens an image with its backing chain.
    func open(
        _ file: PoolFile, _ declaration: Declaration, _ use: ImageLock.Use, snapshot: String?
    ) async throws(StorageError) -> any ResizableVolume & AnyObject {
        try await open(file.name, declaration.format, use, snapshot: snapshot, above: [])
    }

    /// The gate through which every image of a chain is opened: locked as QEMU locks it, in the format that the pool
    /// or the image above declares, a file of the pool and nothing else, and no image twice.
    private func open(
        _ name: String, _ format: VolumeFormat, _ use: ImageLock.Use, snapshot: String?, above chain: [FileStatus]
    ) async throws(StorageError) -> any ResizableVolume & AnyObject {
        let stored = try await openLocked(name, use)
        do throws(StorageError) {
            guard format == .qcow2 else {
                guard let volume = stored.volume as? any ResizableVolume & AnyObject else {
                    throw failure(.internalError, "open volume", name, "its store gives volumes that are no objects")
                }
                return volume
            }
            let status = try await stored.status()
            guard !chain.contains(where: { $0.device == status.device && $0.inode == status.inode }) else {
                throw failure(.unsafeImage, "open volume", name, "its backing chain leads back to it")
            }
            guard chain.count < Self.longestChain else {
                throw failure(
                    .unsafeImage, "open volume", name, "its backing chain is longer than \(Self.longestChain) images")
            }
            return try await openImage(stored, name, use, snapshot: snapshot, status: status, above: chain)
        } catch {
            try? await stored.volume.close()
            throw error
        }
    }

    private func openImage(
        _ stored: any StoredFile, _ name: String, _ use: ImageLock.Use, snapshot: String?, status: FileStatus,
        above images: [FileStatus]
    ) async throws(StorageError) -> QCOW2Volume {
        let chain = images + [status]
        let header = try await QCOW2Header.read(from: stored.volume)
        var options = QCOW2OpenOptions()
        options.isReadOnly = use == .reading
        options.snapshot = snapshot
        // Only the image that is asked for may have had a writer; readers see what it had acknowledged, too.
        if images.isEmpty { options.journal = journal(of: status) }
        if let backing = header.backingFile {
            let (below, format) = try await backingFile(backing, declaredAs: header.backingFormat, of: name)
            options.backing = try await open(below, format, .reading, snapshot: nil, above: chain)
        }
        do throws(StorageError) {
            if header.hasExternalData {
                let data = try await backingName(header.dataFile ?? "", of: name)
                guard try await store.declaration(of: data)?.format == .raw else {
                    throw failure(
                        .unsafeImage, "open volume", name, "its data file '\(data)' is not declared to be raw")
                }
                options.dataFile = try await open(data, .raw, use, snapshot: nil, above: chain)
            }
            return try await QCOW2Volume.open(stored.volume, options)
        } catch {
            try? await options.backing?.close()
            try? await options.dataFile?.close()
            throw error
        }
    }

    /// The file and the format of an image's backing file. The pool and the image must not contradict each other, and
    /// one of them must declare the format.
    func backingFile(
        _ backing: String, declaredAs format: String?, of image: String
    ) async throws(StorageError) -> (String, VolumeFormat) {
        let name = try await backingName(backing, of: image)
        func refusal(_ why: String) -> StorageError {
            failure(.unsafeImage, "open backing file", image, "its backing file '\(name)' \(why)")
        }
        let declared = try await store.declaration(of: name)?.format
        guard let format else {
            guard let declared else { throw refusal("has no declared format, and formats are never guessed") }
            return (name, declared)
        }
        guard let named = VolumeFormat(rawValue: format) else { throw refusal("is said to be '\(format)'") }
        if let declared, declared != named { throw refusal("is \(declared), but the image says \(named)") }
        return (name, named)
    }

    /// Opens and locks a file of the pool by its name. With `isReadOnly` even a writer's locks are taken without the
    /// right to write.
    func openLocked(
        _ name: String, _ use: ImageLock.Use, isReadOnly: Bool = false
    ) async throws(StorageError) -> any StoredFile {
        let stored = try await store.open(name, use == .reading || isReadOnly ? .readOnly : .write)
        do throws(StorageError) {
            guard try await ImageLock.acquire(use, lock: stored.lock, isLockedByOther: stored.isLockedByOther) else {
                let holders = await SystemFiles.holders(of: try await stored.status())
                throw failure(
                    .busy, "open volume", name,
                    "it is in use by \(holders.isEmpty ? "another host" : holders.joined(separator: ", "))")
            }
            // It may have been deleted or replaced before it was locked.
            let (now, opened) = (try await statusIfPresent(name), try await stored.status())
            guard let now, now.device == opened.device, now.inode == opened.inode else {
                throw failure(.notFound, "open volume", name, "it was removed at this moment")
            }
            return stored
        } catch {
            try? await stored.volume.close()
            throw error
        }
    }
}
