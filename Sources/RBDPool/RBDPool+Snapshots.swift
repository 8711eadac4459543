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
                    try await changing(
                        image, "snapshot", connection, room: logical.addingSaturating(facts.size)
                    ) { (opened) async throws(StorageError) in
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
                        var used: UInt64 = 0
                        for part in (0..<snapshot.size).parts(of: RBDVolume.largestMap) {
                            let runs = try await opened.difference(in: part, since: previous, isFast: true)
                            used += runs.reduce(0) { $1.exists ? $0 + UInt64($1.range.count) : $0 }
                        }
                        return (children, used)
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
                let details = [Detail.removed: snapshot]
                try await changing(image, "unsnapshot", connection, details: details) {
                    (opened) async throws(StorageError) in
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
                let growth = target.size - min(target.size, facts.size)
                let room = try await logicalBytes(of: image, facts, connection).addingSaturating(growth)
                // Nothing is recorded before the volume is this process's alone: who has it would lose what is newer.
                let opened = try await RBDVolume.open(image.reference, mode: .exclusive, connection)
                try await closing(opened) { () async throws(StorageError) in
                    let owner = try await opened.image.lockOwner() ?? ""
                    let details = [Detail.target: snapshot, Detail.owner: owner]
                    try await settling(image, "revert", connection, room: room, details: details) {
                        () async throws(StorageError) in
                        try await opened.image.rollBack(to: snapshot)
                    }
                }
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

        /// Runs `body`, which changes the image's snapshots, and brings it to at most `room` logical bytes where that is
        /// given; declares what it has after that.
        private func changing(
            _ image: PoolImage, _ operation: String, _ connection: RBDConnection, room: UInt64? = nil,
            details: [String: String] = [:], _ body: (RBDImage) async throws(StorageError) -> Void
        ) async throws(StorageError) {
            try await settling(image, operation, connection, room: room, details: details) {
                () async throws(StorageError) in
                try await withWriter(image, "change snapshots", connection, body)
            }
        }

        /// Runs `body`, which brings the image to at most `room` logical bytes where that is given, and declares what it
        /// has after that, also when it fails or its process dies.
        ///
        /// The room is taken before: there is never too little declared.
        func settling(
            _ image: PoolImage, _ operation: String, _ connection: RBDConnection, room: UInt64? = nil,
            details: [String: String] = [:], _ body: () async throws(StorageError) -> Void
        ) async throws(StorageError) {
            let details = details.merging([Detail.images: image.id, Detail.settles: image.id]) { old, _ in old }
            try await recording(operation, of: image.name, details, connection) { () async throws(StorageError) in
                if let room {
                    try await amend(image.id, "\(operation) volume", image.name, connection) { declaration in
                        declaration.bytes = max(declaration.bytes ?? 0, room)
                    }
                }
                try await body()
                try await settle(image, "\(operation) volume", connection)
            }
        }

        /// What an image counts for: its size, and that of each of its snapshots.
        func logicalBytes(
            of image: PoolImage, _ facts: RBDFacts, _ connection: RBDConnection
        ) async throws(StorageError) -> UInt64 {
            let snapshots = try await snapshots(of: image, "list snapshots", connection).filter(\.isVisible)
            return snapshots.reduce(facts.size) { $0.addingSaturating($1.size) }
        }

        /// Declares the logical bytes that an image has.
        func settle(_ image: PoolImage, _ what: String, _ connection: RBDConnection) async throws(StorageError) {
            guard let facts = try await connection.facts(of: [image.id])[image.id] else { return }
            let bytes = try await logicalBytes(of: image, facts, connection)
            try await RBDDeclarations(connection: connection).change([image.id], what) { change throws(StorageError) in
                // It is there, whether it fits or not.
                guard var declaration = change[image.id], declaration.bytes != bytes else { return }
                declaration.bytes = bytes
                change[image.id] = declaration
            }
        }
    }
#endif
