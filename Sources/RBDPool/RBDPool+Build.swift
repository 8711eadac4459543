#if RBD
    import BlockStorage
    import IORuntime

    /// How images come to be, and what a crash leaves of them is removed.
    extension RBDPool {
        /// The keys of an intent's details.
        enum Detail {
            /// The name under which the image is built or taken apart.
            static let temporary = "temporary"
            /// The image's id, or those of images that are opened meanwhile, separated by commas.
            static let images = "images"
            /// The id of the cluster's client that does it.
            static let client = "client"
            /// The process that does it, as `RBDHolder` describes it.
            static let process = "process"
            /// The image, by its id, that gets the snapshot `snapshot` for a clone to read through.
            static let source = "source"
            static let snapshot = "snapshot"
            /// The id of an image of which more may be declared than it has.
            static let settles = "settles"
            /// The snapshot that an image is reverted to.
            static let target = "target"
            /// Who has the image locked for that, as the cluster names it.
            static let owner = "owner"
            /// The snapshot that is removed.
            static let removed = "removed"
            /// The other name of an image that is renamed.
            static let newName = "newName"
        }

        /// An operation of this process.
        func intent(
            _ operation: String, of volume: String, _ details: [String: String], _ connection: RBDConnection
        ) -> Intent {
            var intent = Intent(operation: operation, pool: name, volume: volume, details: details)
            intent.details[Detail.client] = "\(connection.instance)"
            intent.details[Detail.process] = RBDHolder(address: "")?.metadata
            return intent
        }

        /// Runs `body` after it is recorded what is going to happen. When it fails, what it did is undone.
        func recording<Result: Sendable>(
            _ operation: String, of volume: String, _ details: [String: String], _ connection: RBDConnection,
            _ body: () async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let intent = intent(operation, of: volume, details, connection)
            let token = try await options.intents?.begin(intent)
            let result: Result
            do throws(StorageError) {
                result = try await body()
            } catch {
                // Where that fails too, the intent stays: whoever finds it tries again.
                try? await uncancelled { () async throws(StorageError) in
                    try await self.recover(intent)
                    if let token { try await self.options.intents?.end(token) }
                }
                throw error
            }
            if let token {
                try await uncancelled { () async throws(StorageError) in try await self.options.intents?.end(token) }
            }
            return result
        }

        /// Builds an image under a temporary name, declares it, and gives it its own as the last step. `make` makes the
        /// image of the name that it gets, `finish` does the rest with its id.
        ///
        /// Throws `alreadyExists` when the name is taken, or reserved for anything but this volume where that is
        /// `takingOver` a reservation.
        func build(
            _ operation: String, _ name: String, _ declaration: Declaration, takingOver: Bool = false,
            details: [String: String] = [:], _ connection: RBDConnection,
            make: (String) async throws(StorageError) -> Void,
            finish: (String) async throws(StorageError) -> Void = { (_) async throws(StorageError) in }
        ) async throws(StorageError) {
            let temporary = PoolImage.temporaryName()
            var details = details
            details[Detail.temporary] = temporary
            try await recording(operation, of: name, details, connection) { () async throws(StorageError) in
                try await make(temporary)
                let id = try await id(ofTemporary: temporary, name, connection)
                let isReserved = try await declare(
                    id, declaration, for: name, takingOver: takingOver, operation, connection)
                try await finish(id)
                try await publish(temporary, as: name, connection)
                if isReserved { try await settleReservation(of: name, connection) }
            }
        }

        func id(
            ofTemporary temporary: String, _ name: String, _ connection: RBDConnection
        ) async throws(StorageError) -> String {
            guard let id = try await RBDDirectory(connection: connection).id(of: temporary, "create volume") else {
                throw failure(.conflict, "create volume", name, "something removes new images at once")
            }
            return id
        }

        /// Declares a new image, with the room that it takes, or none yet where that is reserved under its name.
        /// Returns whether it is.
        func declare(
            _ id: String, _ declaration: Declaration, for name: String, takingOver: Bool, _ what: String,
            _ connection: RBDConnection
        ) async throws(StorageError) -> Bool {
            let key = RBDDeclarations.reservation(of: name)
            return try await withAdmission([id, key], "\(what) volume", name, connection) {
                change, admit throws(StorageError) in
                var claim = declaration
                if claim.origin == nil { claim.origin = RBDOrigin(name).text }
                let held = change[key]
                if let held {
                    guard takingOver, held.asVolume.isSame(as: declaration) else { throw self.taken(name) }
                    (claim.bytes, claim.qos) = (nil, nil)
                }
                try admit(claim.provisioned, change[id]?.provisioned ?? Provisioned(), change.sum)
                change[id] = claim
                return held != nil
            }
        }

        /// Gives an image that is complete its name. Throws `alreadyExists` when something has it.
        func publish(
            _ temporary: String, as name: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            try await uncancelled { () async throws(StorageError) in
                do throws(StorageError) {
                    try await connection.rename(temporary, to: name)
                } catch {
                    if error.code == .alreadyExists { throw self.taken(name) }
                    throw error
                }
            }
        }

        /// Turns the reservation of a name into the room of the volume that has it now, and was built for it.
        func settleReservation(of name: String, _ connection: RBDConnection) async throws(StorageError) {
            guard let id = try await RBDDirectory(connection: connection).id(of: name, "create volume") else { return }
            let key = RBDDeclarations.reservation(of: name)
            try await RBDDeclarations(connection: connection).change([id, key], "create volume") {
                change throws(StorageError) in
                guard var claim = change[id], claim.bytes == nil, let held = change[key] else { return }
                (claim.bytes, claim.qos) = (held.bytes, held.qos)
                change[key] = nil
                change[id] = claim
            }
        }

        /// Removes the declaration of an image.
        func undeclare(_ id: String, _ what: String, _ connection: RBDConnection) async throws(StorageError) {
            try await RBDDeclarations(connection: connection).change([id], what) { change throws(StorageError) in
                if change[id] != nil { change[id] = nil }
            }
        }
    }
#endif
