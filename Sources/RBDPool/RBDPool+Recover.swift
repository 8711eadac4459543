#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        /// Undoes what was built, and finishes what was taken apart, by the temporary name in the intent. What has its
        /// own name stays as it is: it is complete, and may be somebody's by now.
        ///
        /// Throws `timedOut` while a call of this process is late: it may still make what would be looked for now; and
        /// `busy` while the process that has recorded it lives.
        public func recover(_ intent: Intent) async throws(StorageError) {
            if let overdue = source.blocking.deadline?.overdue {
                throw failure(
                    .timedOut, "recover", intent.volume,
                    "\(overdue.request) is late, and may still do what is to be undone: this is taken up again")
            }
            if let process = intent.details[Detail.process].flatMap(RBDHolder.init(metadata:)), process.isAlive,
                !process.isThisProcess
            {
                throw failure(.busy, "recover", intent.volume, "\(process) is still at it")
            }
            let connection = try await connection
            let client = intent.details[Detail.client].flatMap { UInt64($0) }
            for id in (intent.details[Detail.images] ?? "").split(separator: ",") {
                try await evict(client, from: String(id), connection)
            }
            if let temporary = intent.details[Detail.temporary] {
                if intent.operation == Self.deletion {
                    try await finishDeleting(
                        temporary, intent.volume, intent.details[Detail.images], client, connection)
                } else {
                    try await removeTemporary(temporary, builtFor: intent.volume, client, connection)
                }
                try await settleReservation(of: intent.volume, connection)
            }
            if let target = intent.details[Detail.target], let id = intent.details[Detail.images] {
                let owner = intent.details[Detail.owner]
                if client != connection.instance { try await finishReverting(id, to: target, owner, connection) }
            }
            if let removed = intent.details[Detail.removed], let id = intent.details[Detail.images] {
                try await finishRemoving(removed, of: id, connection)
            }
            if let id = intent.details[Detail.settles] {
                try await settle(PoolImage(name: intent.volume, id: id), "recover", connection)
            }
            if let newName = intent.details[Detail.newName] {
                try await removeStaleClaims([intent.volume, newName], intent.details[Detail.images], connection)
            }
            if let source = intent.details[Detail.source], let snapshot = intent.details[Detail.snapshot] {
                try await evict(client, from: source, connection)
                try await removeHelper(snapshot, ofImage: source, connection)
            }
        }

        /// The operation of intents that take an image apart.
        static let deletion = "delete"

        /// A clone may have been made just before the image lost its name: then it gets that back.
        private func finishDeleting(
            _ temporary: String, _ name: String, _ expected: String?, _ client: UInt64?, _ connection: RBDConnection
        ) async throws(StorageError) {
            let what = "delete volume"
            if let id = try await RBDDirectory(connection: connection).id(of: temporary, what) {
                do throws(StorageError) {
                    guard id == expected else {
                        throw failure(.busy, what, name, "another image had got its name")
                    }
                    try await evict(client, from: id, connection)
                    try await checkDeletable(PoolImage(name: name, id: id), what, connection)
                    try await unprotectAll(of: id, connection)
                } catch {
                    guard error.code == .busy else { throw error }
                    return try await connection.rename(temporary, to: name)
                }
            }
            try await removeTemporary(temporary, builtFor: name, client, connection)
        }

        /// A snapshot that librbd has moved to its trash on the way is nobody's any more.
        private func finishRemoving(
            _ snapshot: String, of id: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            do throws(StorageError) {
                try await connection.withImage(.id(id), isReadOnly: false, "delete snapshot") {
                    (image) async throws(StorageError) in try await image.emptyTrash(of: snapshot)
                }
            } catch {
                // The image is gone.
                if error.code != .notFound { throw error }
            }
        }

        /// A volume that is half what it was at a snapshot is no use to anybody, until somebody else has taken it over:
        /// then it has newer bytes. A dead client's lock stays until that happens.
        private func finishReverting(
            _ id: String, to snapshot: String, _ owner: String?, _ connection: RBDConnection
        ) async throws(StorageError) {
            do throws(StorageError) {
                let current = try await connection.withImage(.id(id), "revert volume") {
                    (image) async throws(StorageError) in try await image.lockOwner()
                }
                guard let current, current == owner else { return }
                let volume = try await RBDVolume.open(.id(id), mode: .exclusive, connection)
                try await closing(volume) { () async throws(StorageError) in
                    try await volume.image.rollBack(to: snapshot)
                }
            } catch {
                // One of the two is gone.
                if error.code != .notFound { throw error }
            }
        }

        /// Removes the image of a temporary name, or what a call that died left of it.
        func removeTemporary(
            _ temporary: String, builtFor name: String, _ client: UInt64?, _ connection: RBDConnection
        ) async throws(StorageError) {
            let what = "remove volume"
            let directory = RBDDirectory(connection: connection)
            guard let id = try await directory.id(of: temporary, what) else {
                guard let claimed = try await directory.claimedID(of: temporary, what) else {
                    // A removal that died has left it in the trash, under this name.
                    return try await connection.remove(temporary)
                }
                if try await directory.name(of: claimed, what) == nil {
                    try await connection.remove(temporary)
                    try await removeRemains(of: claimed, connection)
                }
                // Else it has got its name, or another one since.
                return try await directory.removeClaim(of: temporary, what)
            }
            // A rename that died before it took effect.
            if try await directory.claimedID(of: name, what) == id { try await directory.removeClaim(of: name, what) }
            try await evict(client, from: id, connection)
            do throws(StorageError) {
                try await connection.withImage(.id(id), isReadOnly: false, what) { (image) async throws(StorageError) in
                    for snapshot in try await image.snapshots() where snapshot.isUsers {
                        try await image.setProtected(false, snapshot.name)
                        try await image.removeSnapshot(snapshot.name)
                    }
                    try await image.emptyTrash()
                }
            } catch {
                // It was not finished, or is half gone.
                if error.code != .notFound { throw error }
            }
            try await connection.remove(temporary)
            if try await directory.id(of: temporary, what) == id {
                try await removeRemains(of: id, connection)
                try await directory.remove(temporary, id: id, what)
            }
            if try await directory.claimedID(of: temporary, what) == id {
                try await directory.removeClaim(of: temporary, what)
            }
            try await undeclare(id, what, connection)
        }

        /// Removes the objects of an image that was never complete, and has no data.
        private func removeRemains(of id: String, _ connection: RBDConnection) async throws(StorageError) {
            for prefix in ["rbd_header.", "rbd_object_map."] {
                try await RADOSObject(connection: connection, name: prefix + id).remove("remove volume")
            }
        }

        /// Removes what a rename that died left: objects of names under which the image is not listed.
        private func removeStaleClaims(
            _ names: [String], _ id: String?, _ connection: RBDConnection
        ) async throws(StorageError) {
            guard let id else { return }
            let directory = RBDDirectory(connection: connection)
            for name in names {
                guard try await directory.claimedID(of: name, "rename volume") == id,
                    try await directory.id(of: name, "rename volume") != id
                else { continue }
                try await directory.removeClaim(of: name, "rename volume")
            }
        }

        /// Shuts a dead client out of the cluster, if it still has the image open there: the cluster would wait half a
        /// minute for it. Nothing is done to any other client.
        func evict(
            _ client: UInt64?, from id: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            guard let client, client != connection.instance else { return }
            do throws(StorageError) {
                try await connection.withImage(.id(id), "look for watchers") { (image) async throws(StorageError) in
                    for attempt in 0..<200 {
                        let dead = try await image.watchers().filter { $0.id == client }
                        if dead.isEmpty { return }
                        if attempt == 0 { for watcher in dead { try await connection.exclude(watcher.address) } }
                        await IOExecutor.sleep(for: .milliseconds(25))
                    }
                }
            } catch {
                if error.code != .notFound { throw error }
            }
        }
    }
#endif
