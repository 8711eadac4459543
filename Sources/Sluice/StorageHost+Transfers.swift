import BlockStorage
import IORuntime

extension StorageHost {
    /// Copies a volume or snapshot to a new volume of any pool.
    public func copyVolume(_ source: VolumeAddress, to target: VolumeAddress) -> StorageOperation<VolumeDetails> {
        StorageOperation { report throws(StorageError) in
            try await self.copyVolume(source, to: target, report)
            return try await self.details(of: target)
        }
    }

    func copyVolume(
        _ source: VolumeAddress, to target: VolumeAddress, size: UInt64? = nil, qos: QoSPolicy? = nil,
        _ report: @escaping OperationProgress.Report
    ) async throws(StorageError) {
        let pool = try await pool(target.pool)
        try VolumeName.check(target.name)
        try await materialise(source.volume)
        let description = try await self.pool(source.pool).describeVolume(source.name)
        let opened = try await openVolume(source, mode: .readOnly)
        try await closing(opened) { () async throws(StorageError) in
            let size = size ?? opened.geometry.size
            guard size >= opened.geometry.size else {
                throw StorageError(
                    .outOfRange, "copy volume", at: "\(source)",
                    why: "it has \(opened.geometry.size) bytes, more than asked")
            }
            let request = CreateRequest(size: size, format: description.format ?? .qcow2, qos: qos)
            try await fill(target, in: pool, request) {
                (volume) async throws(StorageError) in
                try await opened.copy(
                    to: volume, CopyOptions(destinationReadsZero: true, progress: { report(OperationProgress($0)) }))
            }
        }
        let record = VolumeRecord(pool: target.pool, name: target.name, provisioning: .thin)
        try await catalog.save(record)
    }

    /// Makes a volume and fills it, or leaves nothing behind: not even when this process dies in the middle.
    func fill(
        _ target: VolumeAddress, in pool: any StoragePool, _ request: CreateRequest,
        _ body: (any Volume) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        guard try await !exists(target) else {
            throw StorageError(.alreadyExists, "create volume", at: "\(target)", why: "a volume has that name")
        }
        try await refuseLazyName(target, "create volume")
        let token = try await intents.begin(Intent(operation: "fill", pool: target.pool, volume: target.name))
        var isMade = false
        do throws(StorageError) {
            _ = try await pool.createVolume(target.name, request)
            isMade = true
            let volume = try await pool.openVolume(VolumeReference(target.name), mode: .exclusive)
            try await closing(volume) { () async throws(StorageError) in try await body(volume) }
        } catch {
            if isMade { try? await pool.deleteVolume(target.name, policy: .refuse) }
            try await intents.end(token)
            throw error
        }
        try await intents.end(token)
    }

    /// Moves a volume to another pool under its name, with its policy and tags.
    ///
    /// Throws `notSupported` for a volume with snapshots: they would be lost. Throws `busy` while clones exist.
    public func migrateVolume(_ volume: VolumeAddress, to pool: String) -> StorageOperation<VolumeDetails> {
        StorageOperation { report throws(StorageError) in
            try await self.migrateVolume(volume, to: pool, report)
            return try await self.details(of: VolumeAddress(pool: pool, name: volume.name))
        }
    }

    private func migrateVolume(
        _ volume: VolumeAddress, to pool: String, _ report: @escaping OperationProgress.Report
    ) async throws(StorageError) {
        guard pool != volume.pool else { return }
        try await refuseWhileServed(volume, "migrate volume")
        let target = VolumeAddress(pool: pool, name: volume.name)
        if try await catalog.volume(volume.name, in: volume.pool)?.lazySize == nil {
            let description = try await self.pool(volume.pool).describeVolume(volume.name)
            let snapshots = description.snapshots
            guard snapshots.isEmpty else {
                throw StorageError(
                    .notSupported, "migrate volume", at: "\(volume)",
                    why: "its snapshots would be lost, delete them first: \(snapshots.joined(separator: " "))")
            }
            try await copyVolume(volume, to: target, qos: description.qos, report)
            // The source goes only when the copy is complete and durable.
            do {
                try await self.pool(volume.pool).deleteVolume(volume.name, policy: .refuse)
            } catch  where error.code == .busy {
                // Nothing of it is gone: it stays where it is, with its clones.
                try await deleteVolume(target)
                throw error
            }
        }
        try await catalog.moveVolume(volume.name, in: volume.pool, to: volume.name, in: pool)
    }

    /// Finishes or undoes what a dead process left.
    func recover(_ intent: Intent) async throws(StorageError) {
        switch intent.operation {
        case "fill": try await pool(intent.pool).deleteVolume(intent.volume, policy: .refuse)
        default:
            throw StorageError(.notSupported, "undo operation", at: intent.operation, why: "this version knows no such")
        }
    }
}
