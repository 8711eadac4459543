import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    public func cloneVolume(
        _ source: VolumeReference, as name: String, _ request: CloneRequest
    ) async throws(StorageError) -> VolumeDescription {
        try VolumeName.check(name)
        try checkPolicy(request.qos, "clone volume", of: name)
        if source.snapshot != nil && !request.isFull {
            throw failure(
                .notSupported, "clone volume", name,
                "a QCOW2 snapshot cannot be a backing file: make a full copy, or clone the volume")
        }
        let (file, declaration) = try await findManaged(source.name, "clone volume")
        return try await names.withName(name) { () async throws(StorageError) in
            // The source's locks are held until the clone is there to be seen.
            let volume = try await open(file, declaration, .reading, snapshot: source.snapshot)
            do throws(StorageError) {
                let size = request.size ?? volume.geometry.size
                guard size >= volume.geometry.size else {
                    throw failure(
                        .invalidArgument, "clone volume", name,
                        "\(size) bytes are less than the \(volume.geometry.size) of its source")
                }
                try checkSize(size, "clone volume", name)
                let description = try await createOnce(name) { existing in
                    !request.isFull && existing.template?.name == source.name && existing.virtualSize == size
                        && (request.qos == nil || existing.qos == request.qos)
                } create: { () async throws(StorageError) in
                    if request.isFull {
                        try await copy(volume, to: name, size: size, request.qos)
                    } else {
                        try await link(to: file, declaration.format, as: name, size: size, request.qos)
                    }
                }
                try await volume.close()
                return description
            } catch {
                try? await volume.close()
                throw error
            }
        }
    }

    /// A QCOW2 image whose backing file is `source`, by relative name and in its declared format.
    private func link(
        to source: PoolFile, _ format: VolumeFormat, as name: String, size: UInt64, _ qos: QoSPolicy?
    ) async throws(StorageError) {
        try await build(name, Declaration(.volume, .qcow2, bytes: size, qos: qos)) {
            (staged) async throws(StorageError) in
            var options = QCOW2CreateOptions(size: size)
            options.backingFile = source.name
            options.backingFormat = format.rawValue
            try await writeImage(options, to: staged)
        }
        // Where locks do not reach other hosts, one of them may have deleted the source meanwhile. It looks for clones
        // after it took the name away, so that either it has seen this one, or the name is gone now.
        let now = try await statusIfPresent(source.name)
        if now?.inode != source.status.inode || now?.device != source.status.device {
            try await store.remove(name)
            try await undeclare(name)
            throw failure(.notFound, "clone volume", source.name, "it was removed at this moment")
        }
    }

    private func copy(
        _ volume: any Volume, to name: String, size: UInt64, _ qos: QoSPolicy?
    ) async throws(StorageError) {
        try await build(name, Declaration(.volume, .qcow2, bytes: size, qos: qos)) {
            (staged) async throws(StorageError) in
            try await writeImage(QCOW2CreateOptions(size: size), to: staged)
            let copy = try await openStaged(staged)
            do throws(StorageError) {
                try await volume.copy(to: copy, CopyOptions(destinationReadsZero: true))
            } catch {
                try? await copy.close()
                throw error
            }
            try await copy.close()
        }
    }

    /// Opens the image in a staged file, through a descriptor of its own: the guardian keeps its lock.
    func openStaged(_ staged: StagedFile) async throws(StorageError) -> QCOW2Volume {
        let file = try await store.open(staged.name, .write)
        do throws(StorageError) {
            return try await QCOW2Volume.open(file.volume)
        } catch {
            try? await file.volume.close()
            throw error
        }
    }
}
