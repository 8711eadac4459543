#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func createSnapshot(
            _ snapshot: String, of volume: String
        ) async throws(StorageError) -> SnapshotDescription {
            let what = "create snapshot"
            try checkSnapshotName(snapshot, what, volume)
            let connection = try await connection
            return try await names.withName(volume) { () async throws(StorageError) in
                let (image, _) = try await findVolume(volume, what, connection)
                let existing = try await snapshots(of: image, what, connection)
                if !existing.contains(where: { $0.name == snapshot }) {
                    guard let facts = try await connection.facts(of: [image.id])[image.id] else {
                        throw failure(.notFound, what, volume, "it was removed at this moment")
                    }
                    let logical = existing.filter(\.isVisible).reduce(facts.size) { $0.addingSaturating($1.size) }
                    // The room is taken before: a crash leaves too much declared, and never too little.
                    try await amend(image.id, what, volume, connection) { declaration in
                        declaration.bytes = max(declaration.bytes ?? 0, logical.addingSaturating(facts.size))
                    }
                    try await changing(image, "snapshot", connection) { (opened) async throws(StorageError) in
                        do throws(StorageError) {
                            try await opened.createSnapshot(snapshot)
                        } catch {
                            if error.code != .alreadyExists { throw error }
                        }
                    }
                }
                guard let made = try await listSnapshots(of: volume).first(where: { $0.name == snapshot }) else {
                    throw failure(.conflict, what, "\(volume)@\(snapshot)", "it was removed at this moment")
                }
                return made
            }
        }

        public func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] {
            let what = "list snapshots"
            let connection = try await connection
            let (image, _) = try await findManaged(volume, what, connection)
            return try await connection.withImage(image.reference, what) { (opened) async throws(StorageError) in
                var descriptions: [SnapshotDescription] = []
                var previous: String?
                let isFast = try await opened.hasFastDifferences()
                for snapshot in try await opened.snapshots() where snapshot.isUsers {
                    defer { previous = snapshot.name }
                    guard snapshot.isVisible else { continue }
                    let (children, used) = try await connection.withImage(
                        image.reference, snapshot: snapshot.name, what
                    ) { (opened) async throws(StorageError) in
                        let children = try await opened.children()
                        if !isFast { return (children, 0 as UInt64) }
                        let runs = try await opened.difference(in: 0..<snapshot.size, since: previous, isFast: true)
                        return (children, runs.reduce(0) { $1.exists ? $0 + UInt64($1.range.count) : $0 })
                    }
                    descriptions.append(
                        SnapshotDescription(
                            name: snapshot.name, size: snapshot.size, usedBytes: used, createdAt: snapshot.createdAt,
                            isProtected: snapshot.isProtected,
                            children: children.map { $0.text(in: connection.settings.pool) }))
                }
                return descriptions
            }
        }

        public func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) {
            let what = "delete snapshot"
            try checkSnapshotName(snapshot, what, volume)
            let connection = try await connection
            try await names.withName(volume) { () async throws(StorageError) in
                let (image, _) = try await findManaged(volume, what, connection)
                let place = "\(volume)@\(snapshot)"
                guard let found = try await snapshots(of: image, what, connection).first(where: { $0.name == snapshot })
                else { return }
                guard found.isUsers else {
                    throw failure(.busy, what, place, "it belongs to the image's \(found.owner.rawValue)")
                }
                let (children, isForClone) = try await connection.withImage(
                    image.reference, snapshot: snapshot, what
                ) { (opened) async throws(StorageError) in
                    (try await opened.children(), try await opened.metadata(Self.protectionKey(snapshot)) != nil)
                }
                try refuse(children, what, place, connection)
                guard !found.isProtected || isForClone else { throw failure(.busy, what, place, "it is protected") }
                try await changing(image, "unsnapshot", connection) { (opened) async throws(StorageError) in
                    if found.isProtected { try await opened.setProtected(false, snapshot) }
                    try await opened.removeSnapshot(snapshot)
                    if isForClone { try await opened.removeMetadata(Self.protectionKey(snapshot)) }
                }
            }
        }

        public func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
            let what = "revert volume"
            try checkSnapshotName(snapshot, what, volume)
            let connection = try await connection
            try await names.withName(volume) { () async throws(StorageError) in
                let (image, _) = try await findVolume(volume, what, connection)
                let target = try await find(snapshot, of: image, what, connection)
                try await checkUnused(image, what, connection)
                guard let facts = try await connection.facts(of: [image.id])[image.id] else {
                    throw failure(.notFound, what, volume, "it was removed at this moment")
                }
                if target.size > facts.size {
                    let growth = target.size - facts.size
                    try await amend(image.id, what, volume, connection) {
                        $0.bytes = ($0.bytes ?? 0).addingSaturating(growth)
                    }
                }
                let details = [Detail.images: image.id, Detail.target: snapshot]
                try await recording("revert", of: volume, details, connection) { () async throws(StorageError) in
                    try await rollBack(image.id, to: snapshot, connection)
                }
                try await settle(image, what, connection)
            }
        }

        /// Makes an image what it was at a snapshot, alone with it. Again is harmless.
        func rollBack(_ id: String, to snapshot: String, _ connection: RBDConnection) async throws(StorageError) {
            let volume = try await RBDVolume.open(.id(id), mode: .exclusive, connection)
            try await closing(volume) { () async throws(StorageError) in
                try await volume.image.rollBack(to: snapshot)
            }
        }

        public func setProtected(
            _ protected: Bool, snapshot: String, of volume: String
        ) async throws(StorageError) {
            let what = protected ? "protect snapshot" : "unprotect snapshot"
            try checkSnapshotName(snapshot, what, volume)
            let connection = try await connection
            let (image, _) = try await findVolume(volume, what, connection)
            let found = try await find(snapshot, of: image, what, connection)
            if !protected {
                let children = try await connection.withImage(image.reference, snapshot: snapshot, what) {
                    (opened) async throws(StorageError) in try await opened.children()
                }
                try refuse(children, what, "\(volume)@\(snapshot)", connection)
            }
            try await changing(image, protected ? "protect" : "unprotect", connection) {
                (opened) async throws(StorageError) in
                if found.isProtected != protected { try await opened.setProtected(protected, snapshot) }
                // From now on it is as the user wants it.
                try await opened.removeMetadata(Self.protectionKey(snapshot))
            }
        }

        /// Has a user's snapshot be protected, as a clone needs it, and remembers that nobody asked for it.
        func protectForClone(
            _ snapshot: String, of image: PoolImage, _ connection: RBDConnection
        ) async throws(StorageError) {
            if try await find(snapshot, of: image, "clone volume", connection).isProtected { return }
            try await withWriter(image, "clone volume", connection) { (opened) async throws(StorageError) in
                try await opened.setMetadata(Self.protectionKey(snapshot), "clone")
                try await opened.setProtected(true, snapshot)
            }
        }

        /// In an image's metadata: that a snapshot is protected for clones only.
        private static func protectionKey(_ snapshot: String) -> String { "sluice_protected.\(snapshot)" }

        /// All snapshots of an image, whosever they are.
        func snapshots(
            of image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) -> [RBDSnapshot] {
            try await connection.withImage(image.reference, what) { (opened) async throws(StorageError) in
                try await opened.snapshots()
            }
        }

        /// A snapshot that a user made. Throws `notFound`.
        func find(
            _ snapshot: String, of image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) -> RBDSnapshot {
            let found = try await snapshots(of: image, what, connection).first { $0.name == snapshot && $0.isVisible }
            guard let found else {
                throw failure(.notFound, what, "\(image.name)@\(snapshot)", "there is no such snapshot")
            }
            return found
        }

        private func checkSnapshotName(_ snapshot: String, _ what: String, _ volume: String) throws(StorageError) {
            try VolumeName.check(snapshot, as: "snapshot name")
            guard SnapshotName.isUsers(snapshot) else {
                throw failure(
                    .invalidArgument, what, "\(volume)@\(snapshot)", "that name is for what clones read through")
            }
        }

        /// Runs `body`, which changes the image's snapshots, and declares what it has after that.
        private func changing(
            _ image: PoolImage, _ operation: String, _ connection: RBDConnection,
            _ body: (RBDImage) async throws(StorageError) -> Void
        ) async throws(StorageError) {
            let details = [Detail.images: image.id]
            try await recording(operation, of: image.name, details, connection) { () async throws(StorageError) in
                do throws(StorageError) {
                    try await withWriter(image, "change snapshots", connection, body)
                } catch {
                    try? await settle(image, "change snapshots", connection)
                    throw error
                }
                try await settle(image, "change snapshots", connection)
            }
        }

        /// Declares the logical bytes that an image has: its own, and those of each of its snapshots.
        func settle(_ image: PoolImage, _ what: String, _ connection: RBDConnection) async throws(StorageError) {
            guard let facts = try await connection.facts(of: [image.id])[image.id] else { return }
            let snapshots = try await snapshots(of: image, what, connection).filter(\.isVisible)
            let bytes = snapshots.reduce(facts.size) { $0.addingSaturating($1.size) }
            try await RBDDeclarations(connection: connection).change([image.id], what) { change throws(StorageError) in
                // It is there, whether it fits or not.
                guard var declaration = change[image.id], declaration.bytes != bytes else { return }
                declaration.bytes = bytes
                change[image.id] = declaration
            }
        }
    }
#endif
