#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError) {
            try VolumeName.check(name)
            let what = "delete volume"
            let connection = try await connection
            try await names.withName(name) { () async throws(StorageError) in
                guard let image = try await findIfPresent(name, what, connection) else {
                    return try await cancelReservation(name, connection)
                }
                guard let declaration = image.declaration else {
                    throw failure(.invalidArgument, what, name, "it was put there by something else: adopt it first")
                }
                guard declaration.kind == .volume else {
                    throw failure(.invalidArgument, what, name, "it is a template")
                }
                try await checkUnused(image, what, connection)
                switch policy {
                case .refuse: break
                case .flatten: try await flattenClones(of: image, connection)
                case .trash: return try await moveToTrash(image, connection)
                }
                try await delete(image, what, connection)
            }
        }

        public func deleteTemplate(_ name: String) async throws(StorageError) {
            try VolumeName.check(name)
            let what = "delete template"
            let connection = try await connection
            try await names.withName(name) { () async throws(StorageError) in
                guard let image = try await findIfPresent(name, what, connection) else { return }
                guard image.declaration?.kind == .template else {
                    throw failure(.invalidArgument, what, name, "it is not a template")
                }
                try await checkUnused(image, what, connection)
                try await delete(image, what, connection)
            }
        }

        /// Removes an image that nothing reads through and nobody has open, and its snapshots.
        private func delete(
            _ image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            try await checkDeletable(image, what, connection)
            let directory = RBDDirectory(connection: connection)
            let temporary = PoolImage.temporaryName()
            var details = [Detail.temporary: temporary, Detail.images: image.id]
            let helper = try await helperParent(of: image.id, connection)
            if let helper {
                details[Detail.source] = helper.image
                details[Detail.snapshot] = helper.snapshot
            }
            try await recording(Self.deletion, of: image.name, details, connection) { () async throws(StorageError) in
                // First the name alone: a clone that another host makes at this moment either is seen by the second
                // look, or does not find what it was to read through.
                do throws(StorageError) {
                    try await connection.rename(image.name, to: temporary)
                } catch {
                    // An image without a header, as something else has left it, has nothing but its name.
                    guard error.code == .notFound else { throw error }
                    guard try await directory.id(of: image.name, what) == image.id else { return }
                    return try await removeTemporary(image.name, builtFor: image.name, nil, connection)
                }
                guard try await directory.id(of: temporary, what) == image.id else {
                    // Another host has given the name to another image meanwhile.
                    try await connection.rename(temporary, to: image.name)
                    throw failure(.conflict, what, image.name, "it was replaced at this moment")
                }
                do throws(StorageError) {
                    try await checkDeletable(image, what, connection)
                    try await unprotectAll(of: image.id, connection)
                } catch {
                    if error.code == .busy { try await connection.rename(temporary, to: image.name) }
                    throw error
                }
                try await uncancelled { () async throws(StorageError) in
                    try await self.removeTemporary(temporary, builtFor: image.name, nil, connection)
                    if let helper {
                        try await self.removeHelper(helper.snapshot, ofImage: helper.image, connection)
                    }
                }
            }
        }

        /// Gives up the protection of all of an image's snapshots, which throws `busy` if a clone reads through one: past
        /// this none can be made any more.
        func unprotectAll(of id: String, _ connection: RBDConnection) async throws(StorageError) {
            do throws(StorageError) {
                try await connection.withImage(.id(id), isReadOnly: false, "delete volume") {
                    (image) async throws(StorageError) in
                    for snapshot in try await image.snapshots() where snapshot.isProtected {
                        try await image.setProtected(false, snapshot.name)
                    }
                }
            } catch {
                // Half gone.
                if error.code != .notFound { throw error }
            }
        }

        /// Throws `busy`, naming them, while clones read through the image, or it has snapshots that others own.
        func checkDeletable(
            _ image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            do throws(StorageError) {
                try await connection.withImage(image.reference, what) { (opened) async throws(StorageError) in
                    try self.refuse(try await opened.children(), what, image.name, connection)
                    // What nothing reads through any more has only been left in the trash.
                    let foreign = try await opened.snapshots().filter { !$0.isUsers && $0.owner != .trash }
                    guard foreign.isEmpty else {
                        let list = foreign.prefix(20).map { "\($0.name) (\($0.owner.rawValue))" }
                        throw self.failure(
                            .busy, what, image.name,
                            "it has snapshots that are not Sluice's to remove: \(list.joined(separator: ", "))")
                    }
                }
            } catch {
                // Half made or half gone: nothing reads through it.
                if error.code != .notFound { throw error }
            }
        }

        /// Throws `busy`, naming them, unless there are no children.
        func refuse(
            _ children: [RBDChild], _ what: String, _ name: String, _ connection: RBDConnection
        ) throws(StorageError) {
            if children.isEmpty { return }
            let some = children.prefix(20).map { $0.text(in: connection.settings.pool) }.joined(separator: ", ")
            let rest = children.count > 20 ? " and \(children.count - 20) more" : ""
            throw failure(.busy, what, name, "other volumes read through it: \(some)\(rest)")
        }

        /// The image stays as it is, under its id, until it is restored or removed by `rbd trash`.
        private func moveToTrash(_ image: PoolImage, _ connection: RBDConnection) async throws(StorageError) {
            try await recording("trash", of: image.name, [Detail.images: image.id], connection) {
                () async throws(StorageError) in
                try await checkName(of: image, "delete volume", connection)
                try await uncancelled { () async throws(StorageError) in
                    try await connection.moveToTrash(image.name)
                    try await self.undeclare(image.id, "delete volume", connection)
                }
            }
        }

        /// Throws `conflict` where another host has given the image's name to another one meanwhile.
        private func checkName(
            of image: PoolImage, _ what: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            guard try await RBDDirectory(connection: connection).id(of: image.name, what) == image.id else {
                throw failure(.conflict, what, image.name, "it was replaced at this moment")
            }
        }

        private func cancelReservation(_ name: String, _ connection: RBDConnection) async throws(StorageError) {
            try await undeclare(RBDDeclarations.reservation(of: name), "delete volume", connection)
        }

        public func renameVolume(_ name: String, to newName: String) async throws(StorageError) {
            try VolumeName.check(newName)
            let what = "rename volume"
            let connection = try await connection
            let keys = (RBDDeclarations.reservation(of: name), RBDDeclarations.reservation(of: newName))
            let reserved = try await RBDDeclarations(connection: connection).values(of: [keys.0, keys.1], what)
            guard let image = try await findIfPresent(name, what, connection) else {
                guard reserved[keys.0] != nil else {
                    throw failure(.notFound, what, name, "there is no volume of that name")
                }
                if name == newName { return }
                if try await findIfPresent(newName, what, connection) != nil { throw taken(newName) }
                return try await RBDDeclarations(connection: connection).change([keys.0, keys.1], what) {
                    change throws(StorageError) in
                    guard let reservation = change[keys.0] else {
                        throw self.failure(.notFound, what, name, "its reservation was removed at this moment")
                    }
                    if change[keys.1] != nil { throw self.taken(newName) }
                    change[keys.0] = nil
                    change[keys.1] = reservation
                }
            }
            _ = try await findVolume(name, what, connection)
            if name == newName { return }
            if reserved[keys.1] != nil { throw taken(newName) }
            // In one order, so that two renames never wait for each other.
            try await names.withName(min(name, newName)) { () async throws(StorageError) in
                try await names.withName(max(name, newName)) { () async throws(StorageError) in
                    if try await findIfPresent(newName, what, connection) != nil { throw taken(newName) }
                    try await checkUnused(image, what, connection)
                    let details = [Detail.newName: newName, Detail.images: image.id]
                    try await recording("rename", of: name, details, connection) { () async throws(StorageError) in
                        try await checkName(of: image, what, connection)
                        try await publish(name, as: newName, connection)
                    }
                }
            }
        }
    }
#endif
