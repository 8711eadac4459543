import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    public func createSnapshot(
        _ snapshot: String, of volume: String
    ) async throws(StorageError) -> SnapshotDescription {
        try VolumeName.check(snapshot, as: "snapshot name")
        let (file, declaration) = try await findImage(volume, "create snapshot")
        var created: SnapshotDescription?
        try await withWriter(file, declaration, "create snapshot") { (writer) async throws(StorageError) in
            let image = try image(writer, volume)
            if !image.snapshots.contains(where: { $0.name == snapshot }) {
                let room = Self.logicalBytes(of: image).addingSaturating(image.geometry.size)
                try await withRoom(for: room, of: volume, image, "create snapshot") { () async throws(StorageError) in
                    try await image.createSnapshot(snapshot)
                }
            }
            created = describe(image).first { $0.name == snapshot }
        }
        guard let created else {
            throw failure(.internalError, "create snapshot", volume, "it is not in the image afterwards")
        }
        return created
    }

    public func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] {
        let (file, declaration) = try await findManaged(volume, "list snapshots")
        guard declaration.format == .qcow2 else { return [] }
        if let image = attachments.volume(volume) as? QCOW2Volume { return describe(image) }
        guard try await !facts(of: file).snapshots.isEmpty else { return [] }
        // Without locks and without the backing file: only the snapshot table is read, which a writer never changes
        // in place.
        let stored = try await store.open(volume, .readOnly)
        do throws(StorageError) {
            var options = QCOW2OpenOptions()
            options.isReadOnly = true
            let image = try await QCOW2Volume.open(stored.volume, options)
            let snapshots = describe(image)
            try await image.close()
            return snapshots
        } catch {
            try? await stored.volume.close()
            throw error
        }
    }

    public func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) {
        try VolumeName.check(snapshot, as: "snapshot name")
        let (file, declaration) = try await findManaged(volume, "delete snapshot")
        guard declaration.format == .qcow2 else { return }
        try await withWriter(file, declaration, "delete snapshot") { (writer) async throws(StorageError) in
            let image = try image(writer, volume)
            guard image.snapshots.contains(where: { $0.name == snapshot }) else { return }
            try await image.deleteSnapshot(snapshot)
            try await settle(volume, image, "delete snapshot")
        }
    }

    public func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
        try VolumeName.check(snapshot, as: "snapshot name")
        let (file, declaration) = try await findImage(volume, "revert volume")
        // Never through a volume that is open: what its user has in memory would no longer be true.
        let writer = try await openExclusively(file, declaration, "revert volume")
        do throws(StorageError) {
            let image = try image(writer, volume)
            guard let target = image.snapshots.first(where: { $0.name == snapshot }) else {
                throw failure(.notFound, "revert volume", "\(volume)@\(snapshot)", "there is no such snapshot")
            }
            let size = image.geometry.size
            let growth = target.diskSize.map { $0 - min($0, size) } ?? 0
            let room = Self.logicalBytes(of: image).addingSaturating(growth)
            try await withRoom(for: room, of: volume, image, "revert volume") { () async throws(StorageError) in
                try await image.applySnapshot(snapshot)
            }
        } catch {
            try? await writer.close()
            throw error
        }
        try await writer.close()
        images.forget(file.status)
    }

    /// A volume that can have snapshots.
    private func findImage(_ name: String, _ what: String) async throws(StorageError) -> (PoolFile, Declaration) {
        let (file, declaration) = try await findManaged(name, what)
        guard declaration.format == .qcow2 else {
            throw failure(.notSupported, what, name, "a raw volume has no snapshots")
        }
        try checkVolume(declaration, what, name)
        return (file, declaration)
    }

    private func image(_ volume: any ResizableVolume, _ name: String) throws(StorageError) -> QCOW2Volume {
        guard let image = volume as? QCOW2Volume else {
            throw failure(.internalError, "open volume", name, "it is declared QCOW2, and was opened as something else")
        }
        return image
    }

    private func describe(_ image: QCOW2Volume) -> [SnapshotDescription] {
        image.snapshots.map { snapshot in
            SnapshotDescription(
                name: snapshot.name, size: snapshot.diskSize ?? image.geometry.size, createdAt: Int64(snapshot.seconds))
        }
    }
}
