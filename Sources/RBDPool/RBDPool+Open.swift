#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func openVolume(
            _ reference: VolumeReference, mode: OpenMode
        ) async throws(StorageError) -> any Volume {
            let what = "open volume"
            let connection = try await connection
            let (image, declaration) = try await findManaged(reference.name, what, connection)
            // The cluster's own check passes over what it has never heard of.
            if let facts = try await connection.facts(of: [image.id])[image.id] {
                try RBDFeatures.check(facts.features, what, at: "\(name)/\(reference)")
            }
            if let snapshot = reference.snapshot {
                try VolumeName.check(snapshot, as: "snapshot name")
                guard mode == .readOnly else {
                    throw failure(.readOnly, what, "\(reference)", "a snapshot is never written")
                }
                do throws(StorageError) {
                    return try await RBDVolume.open(image.reference, snapshot: snapshot, mode: mode, connection)
                } catch {
                    if error.code != .notFound { throw error }
                    throw failure(.notFound, what, "\(reference)", "there is no such snapshot")
                }
            }
            if declaration.kind == .template, mode == .exclusive {
                throw failure(.readOnly, what, reference.name, "it is a template, and templates are never written")
            }
            guard attachments.begin(image.id, mode) else {
                throw failure(.busy, what, reference.name, "this process has it open")
            }
            do throws(StorageError) {
                if mode == .readOnly, declaration.kind != .template {
                    try await checkNotWritten(image, what, connection)
                }
                let volume = try await RBDVolume.open(image.reference, mode: mode, connection)
                if mode == .exclusive, !options.qosByLibrbd {
                    do throws(StorageError) {
                        try await volume.image.setLimits(RBDLimits(nil))
                    } catch {
                        try? await volume.close()
                        throw error
                    }
                }
                attachments.end(image.id, mode, volume)
                return volume
            } catch {
                attachments.end(image.id, mode, nil)
                throw error
            }
        }

        /// Throws `busy`, naming the holder, while a client of the cluster has the image locked for writing.
        private func checkNotWritten(
            _ image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            try await connection.withImage(image.reference, what) { (opened) async throws(StorageError) in
                guard let owner = try await opened.lockOwner(),
                    try await opened.watchers().contains(where: { $0.address == owner })
                else { return }
                let holder = try await opened.holder()
                if let holder, holder.address == owner, holder.isDead { return }
                let who = holder?.address == owner ? holder.map { "\($0) (\(owner))" } : nil
                throw self.failure(.busy, what, image.name, "it is held by \(who ?? owner)")
            }
        }

        /// Throws `busy`, naming them, while anybody has the image open for writing, or this process has it open.
        func checkUnused(
            _ image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            if attachments.isOpen(image.id) { throw failure(.busy, what, image.name, "this process has it open") }
            do throws(StorageError) {
                try await connection.withImage(image.reference, what) { (opened) async throws(StorageError) in
                    let deadline = ContinuousClock.now + Self.patience
                    while true {
                        let watchers = try await opened.watchers()
                        guard let watcher = watchers.first else { return }
                        let holder = try await opened.holder()
                        if let holder, holder.isDead, holder.address == watcher.address {
                            // It would be taken for alive for half a minute.
                            try await connection.exclude(watcher.address)
                        } else if ContinuousClock.now > deadline {
                            let who = holder?.address == watcher.address ? holder.map { "\($0) " } ?? "" : ""
                            throw self.failure(.busy, what, image.name, "it is held by \(who)(\(watcher.address))")
                        }
                        // Another operation may have it open for a moment.
                        await IOExecutor.sleep(for: .milliseconds(25))
                    }
                }
            } catch {
                // Half made or half gone: nobody can have it open.
                if error.code != .notFound { throw error }
            }
        }

        private static let patience = Duration.seconds(1)
    }
#endif
