import BlockStorage

extension StorageHost {
    /// Moves a volume to another pool under its name, with its policy, template and tags; with `verifies` it reads the
    /// copy and compares it before the volume is switched over.
    ///
    /// Nobody may use the volume meanwhile: `busy` otherwise, and while clones of it exist. Throws `notSupported` for a
    /// volume with snapshots: they would be lost. One that has been moved is moved already.
    public func migrateVolume(
        _ volume: VolumeAddress, to pool: String, verifies: Bool = false
    ) -> StorageOperation<VolumeDetails> {
        let target = VolumeAddress(pool: pool, name: volume.name)
        return StorageOperation { report throws(StorageError) in
            if pool != volume.pool {
                try await self.withVolumes("migrate volume", exclusive: [volume, target]) {
                    () async throws(StorageError) in
                    try await self.migrate(volume, to: target, CopyOptions(verifies: verifies, report))
                }
            }
            return try await self.detailsWhenDone(of: target)
        }
    }

    /// The locks of both volumes are held.
    private func migrate(
        _ source: VolumeAddress, to target: VolumeAddress, _ options: CopyOptions
    ) async throws(StorageError) {
        try await refuseWhileServed(source, "migrate volume")
        _ = try await pool(target.pool)
        let record = try await catalog.volume(source.name, in: source.pool)
        let inTarget = try await describe(target)
        if record?.lazySize != nil { return try await moveLazy(source, to: target) }
        guard let description = try await describe(source) else {
            // It has been moved already, made or not.
            if inTarget?.isManaged == true { return }
            if try await catalog.volume(target.name, in: target.pool)?.lazySize != nil { return }
            throw StorageError(.notFound, "migrate volume", at: "\(source)", why: "there is no volume of that name")
        }
        guard !description.isTemplate else {
            throw StorageError(
                .notSupported, "migrate volume", at: "\(source)", why: "it is a template: import it there")
        }
        guard inTarget == nil else { throw Self.taken(target, "a volume has that name") }
        try await refuseLazyName(target, "migrate volume")
        guard description.snapshots.isEmpty else {
            throw StorageError(
                .notSupported, "migrate volume", at: "\(source)",
                why: "its snapshots would be lost, delete them first: \(description.snapshots.joined(separator: " "))")
        }
        var moved =
            record ?? VolumeRecord(pool: source.pool, name: source.name, provisioning: description.provisioning)
        moved.pool = target.pool
        moved.template = moved.template ?? description.template.map { "\(source.pool)/\($0)" }
        // Where all volumes share one policy, it has that from then on.
        let policy = try await pool(target.pool).sharedPolicy == nil ? description.qos : nil
        let request = try await createRequest(
            size: description.virtualSize, format: description.format, provisioning: moved.provisioning, qos: policy,
            in: target.pool)
        var migration = Workflow.Migration(
            source: source, target: target, builtAs: Workflow.temporaryName(), record: moved)
        try await run(.migrate(migration)) { token throws(StorageError) in
            // Alone: nobody writes it while it is copied, and it has no clones, without which it could not go.
            let opened = try await open(source, mode: .exclusive)
            try await closing(opened) { () async throws(StorageError) in
                try await build(migration.builtAs, request, in: target.pool, from: opened, options)
            }
            migration.stage = .copied
            try await intents.advance(token, to: .migrate(migration))
            if Task.isCancelled { throw StorageError(.cancelled, "migrate volume", at: "\(source)") }
            // From here on it goes on to the end.
            try await uncancelled { [migration] () async throws(StorageError) in
                try await self.pool(target.pool).renameVolume(migration.builtAs, to: target.name)
                try await self.switchOver(migration, token)
            }
        }
    }

    /// The copy is complete, and has its name: from now on it is the volume.
    private func switchOver(_ migration: Workflow.Migration, _ token: IntentToken) async throws(StorageError) {
        var migration = migration
        migration.stage = .switched
        try await intents.advance(token, to: .migrate(migration)) { [migration] database in
            try Catalog.forget(migration.source, database)
            try Catalog.save(migration.record, database)
        }
        try await deleteSource(migration, token)
    }

    /// Deletes what was copied; where it has come into use, the volume stays there and the copy goes.
    private func deleteSource(_ migration: Workflow.Migration, _ token: IntentToken) async throws(StorageError) {
        guard try await exists(migration.target) else { return try await goBack(migration, token) }
        do {
            try await pool(migration.source.pool).deleteVolume(migration.source.name, policy: .refuse)
        } catch  where error.code == .busy {
            try await goBack(migration, token)
            throw error
        }
        try await intents.end(token)
    }

    /// The source is the volume again.
    private func goBack(_ migration: Workflow.Migration, _ token: IntentToken) async throws(StorageError) {
        var migration = migration
        migration.stage = .returning
        try await intents.advance(token, to: .migrate(migration)) { [migration] database in
            try Catalog.move(migration.target, to: migration.source, database)
        }
        try await deleteTarget(migration, token)
    }

    private func deleteTarget(_ migration: Workflow.Migration, _ token: IntentToken) async throws(StorageError) {
        if try await exists(migration.source) {
            try await pool(migration.target.pool).deleteVolume(migration.target.name, policy: .refuse)
        }
        try await intents.end(token)
    }

    /// Finishes or undoes a migration that was interrupted; at every moment at least one of the two volumes is whole.
    func recover(_ token: IntentToken, migrating migration: Workflow.Migration) async throws(StorageError) {
        switch migration.stage {
        case .copying:
            try await pool(migration.target.pool).deleteVolume(migration.builtAs, policy: .refuse)
            try await intents.end(token)
        case .copied:
            let copy = VolumeAddress(pool: migration.target.pool, name: migration.builtAs)
            if try await exists(copy) {
                try await pool(copy.pool).deleteVolume(copy.name, policy: .refuse)
                try await intents.end(token)
            } else if try await exists(migration.target), try await exists(migration.source) {
                try await switchOver(migration, token)
            } else {
                try await intents.end(token)
            }
        case .switched:
            do {
                try await deleteSource(migration, token)
            } catch  where error.code == .busy {
                // It has gone back, or is on its way.
            }
        case .returning: try await deleteTarget(migration, token)
        }
    }
}
