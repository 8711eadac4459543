#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func flattenVolume(_ name: String) async throws(StorageError) {
            let what = "flatten volume"
            let connection = try await connection
            let (image, _) = try await findVolume(name, what, connection)
            try await flatten(image, connection)
        }

        func flatten(_ image: PoolImage, _ connection: RBDConnection) async throws(StorageError) {
            guard try await connection.facts(of: [image.id])[image.id]?.parent != nil else { return }
            var details = [Detail.images: image.id]
            let helper = try await helperParent(of: image.id, connection)
            if let helper {
                details[Detail.source] = helper.image
                details[Detail.snapshot] = helper.snapshot
            }
            try await recording("flatten", of: image.name, details, connection) { () async throws(StorageError) in
                try await withWriter(image, "flatten volume", connection) { (opened) async throws(StorageError) in
                    try await opened.flatten()
                }
                if let helper { try await removeHelper(helper.snapshot, ofImage: helper.image, connection) }
            }
        }

        /// Makes everything that reads through an image independent of it.
        func flattenClones(of image: PoolImage, _ connection: RBDConnection) async throws(StorageError) {
            let children = try await connection.withImage(image.reference, "flatten clones") {
                (opened) async throws(StorageError) in try await opened.children()
            }
            let pool = connection.settings.pool
            for child in children {
                guard child.pool == pool, !child.isInTrash else {
                    throw failure(
                        .busy, "flatten clones", image.name,
                        "\(child.text(in: pool)) reads through it, which only 'rbd' can flatten")
                }
                try await flatten(PoolImage(name: child.name, id: child.id), connection)
            }
        }

        /// The snapshot that Sluice made for this image to read through; nil for any other, or none.
        func helperParent(
            of id: String, _ connection: RBDConnection
        ) async throws(StorageError) -> (image: String, snapshot: String)? {
            guard let parent = try await connection.facts(of: [id])[id]?.parent, parent.pool == connection.poolID,
                let name = try await connection.snapshotNames([(parent.image, parent.snapshot)]).values.first?.name,
                name.hasPrefix(SnapshotName.helperPrefix)
            else { return nil }
            return (parent.image, name)
        }

        /// Removes a snapshot that Sluice made for a clone, once nothing reads through it any more.
        func removeHelper(
            _ snapshot: String, ofImage id: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            guard snapshot.hasPrefix(SnapshotName.helperPrefix) else { return }
            do throws(StorageError) {
                let isUsed = try await connection.withImage(.id(id), snapshot: snapshot, "remove snapshot") {
                    (image) async throws(StorageError) in try await !image.children().isEmpty
                }
                if isUsed { return }
                let image = PoolImage(name: id, id: id)
                try await withWriter(image, "remove snapshot", connection) { (image) async throws(StorageError) in
                    try await image.setProtected(false, snapshot)
                    try await image.removeSnapshot(snapshot)
                }
            } catch {
                // Gone, or in use again.
                if error.code != .notFound && error.code != .busy { throw error }
            }
        }

        /// Runs `body` with the image as this process has it open for writing, or opened for that. Where another client
        /// has it locked, librbd has that one do what changes the image.
        func withWriter<Result>(
            _ image: PoolImage, _ what: String, _ connection: RBDConnection,
            _ body: (RBDImage) async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            if let volume = attachments.writer(image.id) { return try await body(volume.image) }
            return try await connection.withImage(image.reference, isReadOnly: false, what, body)
        }
    }
#endif
