import BlockStorage

/// Volumes that are allocated and not made yet: a record in the catalog and, where the pool can hold such a thing, a
/// reservation of the name and the room.
///
/// The steps of each operation can be repeated, so an interrupted one is finished by doing it again.
extension StorageHost {
    /// Allocates a volume. The lock of it is held.
    func allocate(_ record: VolumeRecord) async throws(StorageError) {
        try await run(.allocate(record)) { token throws(StorageError) in
            try await uncancelled { () async throws(StorageError) in try await self.allocate(record, token) }
        }
    }

    private func allocate(_ record: VolumeRecord, _ token: IntentToken) async throws(StorageError) {
        guard try await !exists(record.address) else { throw Self.taken(record.address, "a volume has that name") }
        if let request = record.lazyRequest { try await reserve(record.address, request) }
        try await intents.end(token) { try Catalog.save(record, $0) }
    }

    /// Changes the policy of a volume that is not made yet, to that of `record`. The lock of it is held.
    func setPolicy(ofLazy record: VolumeRecord) async throws(StorageError) {
        try await run(.setPolicy(record)) { token throws(StorageError) in
            try await uncancelled { () async throws(StorageError) in try await self.setPolicy(ofLazy: record, token) }
        }
    }

    private func setPolicy(ofLazy record: VolumeRecord, _ token: IntentToken) async throws(StorageError) {
        do {
            try await pool(record.pool).setQoS(record.qos, of: record.name)
        } catch  where error.code == .notSupported || error.code == .notFound {
            // The pool holds no reservation for it.
        }
        try await intents.end(token) { try Catalog.save(record, $0) }
    }

    /// Gives a volume that is not made yet another name or pool. The locks of both are held.
    func moveLazy(_ volume: VolumeAddress, to target: VolumeAddress) async throws(StorageError) {
        try await run(.moveLazy(volume, to: target)) { token throws(StorageError) in
            try await uncancelled { () async throws(StorageError) in try await self.moveLazy(volume, to: target, token)
            }
        }
    }

    private func moveLazy(
        _ volume: VolumeAddress, to target: VolumeAddress, _ token: IntentToken
    ) async throws(StorageError) {
        guard let record = try await catalog.volume(volume.name, in: volume.pool), let request = record.lazyRequest
        else { return try await intents.end(token) }
        guard try await !exists(target), try await catalog.volume(target.name, in: target.pool) == nil else {
            throw Self.taken(target, "a volume has that name")
        }
        if volume.pool == target.pool {
            do {
                try await pool(volume.pool).renameVolume(volume.name, to: target.name)
            } catch  where error.code == .notFound {
                // The pool holds no reservation for it.
            }
        } else {
            try await reserve(target, request)
            try await cancelReservation(volume)
        }
        try await intents.end(token) { try Catalog.move(volume, to: target, $0) }
    }

    /// Gives up what the pool keeps for a volume that is not made; a volume that has the name is left alone.
    func cancelReservation(_ volume: VolumeAddress) async throws(StorageError) {
        if try await !exists(volume) { try await pool(volume.pool).deleteVolume(volume.name, policy: .refuse) }
    }

    /// Does again what was interrupted; forgets it where the pool refuses that now.
    func recover(_ token: IntentToken, lazy workflow: Workflow) async throws(StorageError) {
        do throws(StorageError) {
            switch workflow {
            case .allocate(let record): try await allocate(record, token)
            case .setPolicy(let record): try await setPolicy(ofLazy: record, token)
            case .moveLazy(let volume, let target): try await moveLazy(volume, to: target, token)
            default: break
            }
        } catch {
            // What the storage may do another time is tried again; what the pool refuses, it refuses for good.
            let mayPass: [StorageError.Code] = [
                .timedOut, .connectionLost, .busy, .conflict, .cancelled, .inputOutput, .notAttached, .fenced,
            ]
            if mayPass.contains(error.code) { throw error }
            try await intents.end(token)
        }
    }

    /// Makes a lazy volume that has not been made yet: once, however many ask at the same time.
    func materialise(_ volume: VolumeAddress) async throws(StorageError) {
        guard try await catalog.volume(volume.name, in: volume.pool)?.lazySize != nil else { return }
        try await withVolumes("create volume", exclusive: [volume]) { () async throws(StorageError) in
            guard var record = try await catalog.volume(volume.name, in: volume.pool), let request = record.lazyRequest
            else { return }
            // Not ours, and nobody knows what is in it.
            guard try await !exists(volume) else {
                throw Self.taken(volume, "it was not made yet, and now something else has its name")
            }
            record.lazySize = nil
            record.lazyFormat = nil
            let pool = try await pool(volume.pool)
            try await run(.make(record, builtAs: nil)) { [record] token throws(StorageError) in
                try await make(record, token) { () async throws(StorageError) in
                    _ = try await pool.createVolume(volume.name, request)
                }
            }
        }
    }
}

extension VolumeRecord {
    /// What makes the volume; nil for one that is made.
    var lazyRequest: CreateRequest? {
        guard let size = lazySize.flatMap({ UInt64(exactly: $0) }), let lazyFormat else { return nil }
        return CreateRequest(size: size, format: lazyFormat, provisioning: provisioning, qos: qos)
    }
}
