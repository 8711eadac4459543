import BlockStorage
import IORuntime

extension StorageHost {
    /// Copies a volume or snapshot to a new volume of any pool, and with `verifies` reads both again and compares them.
    ///
    /// Once more succeeds when the target is there and holds the same bytes; another one throws `alreadyExists`.
    public func copyVolume(
        _ source: VolumeAddress, to target: VolumeAddress, verifies: Bool = false
    ) -> StorageOperation<VolumeDetails> {
        StorageOperation { report throws(StorageError) in
            try await self.copy(source, to: target, CloneRequest(isFull: true), verifies: verifies, report)
        }
    }

    func copy(
        _ source: VolumeAddress, to target: VolumeAddress, _ request: CloneRequest, verifies: Bool,
        _ report: @escaping OperationProgress.Report
    ) async throws(StorageError) -> VolumeDetails {
        try VolumeName.check(target.name)
        try await materialise(source.volume)
        let options = CopyOptions(verifies: verifies, report)
        try await withVolumes("copy volume", exclusive: [target], shared: [source]) { () async throws(StorageError) in
            let opened = try await open(source, mode: .readOnly)
            try await closing(opened) { () async throws(StorageError) in
                let size = request.size ?? opened.geometry.size
                guard size >= opened.geometry.size else {
                    throw StorageError(
                        .outOfRange, "copy volume", at: "\(source)",
                        why: "it has \(opened.geometry.size) bytes, more than asked")
                }
                let format = try await describe(source.volume)?.format
                let request = try await createRequest(
                    size: size, format: format, qos: request.qos, in: target.pool)
                try await fill(target, request, from: opened, options)
            }
        }
        return try await detailsWhenDone(of: target)
    }

    /// What to create in `pool` for a volume that was of that format elsewhere.
    func createRequest(
        size: UInt64, format: VolumeFormat?, provisioning: ProvisioningType = .thin, qos: QoSPolicy?, in pool: String
    ) async throws(StorageError) -> CreateRequest {
        let formats = try await self.pool(pool).formats
        let format = format.flatMap { formats.contains($0) ? $0 : nil } ?? formats.first ?? .raw
        return CreateRequest(size: size, format: format, provisioning: provisioning, qos: qos)
    }

    /// Makes the volume `target`, with its record, and copies `source` into it; where it is there already, compares
    /// them. The lock of `target` is held.
    func fill(
        _ target: VolumeAddress, _ request: CreateRequest, from source: any Volume, _ options: CopyOptions
    ) async throws(StorageError) {
        try await refuseLazyName(target, "create volume")
        var record = VolumeRecord(pool: target.pool, name: target.name, provisioning: request.provisioning)
        try record.setQoS(request.qos)
        if let existing = try await describe(target) {
            return try await compare(source, with: existing, record, size: request.size, options)
        }
        let temporaryName = Workflow.temporaryName()
        try await run(.make(record, builtAs: temporaryName)) { token throws(StorageError) in
            try await build(temporaryName, request, in: target.pool, from: source, options)
            try await name(temporaryName, record, token)
        }
    }

    /// Makes a volume and copies `source` into it.
    func build(
        _ name: String, _ request: CreateRequest, in poolName: String, from source: any Volume, _ options: CopyOptions
    ) async throws(StorageError) {
        let pool = try await pool(poolName)
        _ = try await pool.createVolume(name, request)
        let made = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
        try await closing(made) { () async throws(StorageError) in
            var options = options
            options.destinationReadsZero = true
            try await source.copy(to: made, options)
        }
    }

    /// Gives a volume that is complete its name and its record.
    func name(_ temporaryName: String, _ record: VolumeRecord, _ token: IntentToken) async throws(StorageError) {
        if Task.isCancelled { throw StorageError(.cancelled, "create volume", at: "\(record.address)") }
        try await uncancelled { () async throws(StorageError) in
            try await self.pool(record.pool).renameVolume(temporaryName, to: record.name)
            try await self.intents.end(token) { try Catalog.save(record, $0) }
        }
    }

    /// Throws `alreadyExists` unless the volume that has the name holds the same bytes, and was given the same policy.
    func compare(
        _ source: any Volume, with existing: VolumeDescription, _ record: VolumeRecord, size: UInt64?,
        _ options: CopyOptions = CopyOptions()
    ) async throws(StorageError) {
        let taken = StorageError(
            .alreadyExists, "create volume", at: "\(record.address)", why: "another volume has that name")
        guard existing.isManaged, !existing.isTemplate, existing.virtualSize == size ?? source.geometry.size,
            record.qos == nil || record.qos == existing.qos
        else { throw taken }
        let opened = try await open(record.address, mode: .readOnly)
        try await closing(opened) { () async throws(StorageError) in
            do throws(StorageError) {
                try await source.verifyCopy(in: opened, options)
            } catch {
                throw error.code == .corrupt ? taken : error
            }
        }
    }
}

extension CopyOptions {
    init(verifies: Bool = false, _ report: @escaping OperationProgress.Report) {
        self.init(verifies: verifies) { report(OperationProgress($0)) }
    }
}
