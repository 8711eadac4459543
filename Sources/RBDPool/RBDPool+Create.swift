#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func createVolume(
            _ name: String, _ request: CreateRequest
        ) async throws(StorageError) -> VolumeDescription {
            try VolumeName.check(name)
            try checkSize(request.size, "create volume", name)
            let connection = try await connection
            return try await names.withName(name) { () async throws(StorageError) in
                try await createOnce(name, connection) { existing, _ in
                    existing.format == request.format && existing.virtualSize == request.size
                        && existing.provisioning == request.provisioning && existing.template == nil
                        && (request.qos == nil || existing.qos == request.qos)
                } create: { () async throws(StorageError) in
                    try checkFormat(request.format, "create volume", name)
                    try await create(name, request, connection)
                }
            }
        }

        /// Creates a volume unless the same one exists, also if another host creates it at the same time.
        func createOnce(
            _ name: String, _ connection: RBDConnection, isSame: (VolumeDescription, Declaration) -> Bool,
            create: () async throws(StorageError) -> Void
        ) async throws(StorageError) -> VolumeDescription {
            if try await findIfPresent(name, "create volume", connection) == nil {
                do throws(StorageError) {
                    try await create()
                    return try await describeVolume(name)
                } catch {
                    // Another host may be making the same one just now: then there is no other room to ask for.
                    guard error.code == .alreadyExists || error.code == .quotaExceeded else { throw error }
                    if error.code == .quotaExceeded,
                        try await findIfPresent(name, "create volume", connection) == nil
                    {
                        throw error
                    }
                }
            }
            guard let image = try await findIfPresent(name, "create volume", connection),
                let declaration = image.declaration, declaration.kind == .volume
            else { throw taken(name) }
            let existing = try await describeVolume(name)
            guard isSame(existing, declaration) else { throw taken(name) }
            return existing
        }

        private func create(
            _ name: String, _ request: CreateRequest, _ connection: RBDConnection
        ) async throws(StorageError) {
            if request.provisioning == .fat {
                let available = try await space(connection).available
                guard request.size <= available else {
                    throw failure(
                        .noSpace, "create volume", name,
                        "\(request.size) bytes are to be allocated and \(available) are available")
                }
            }
            let declaration = Declaration(
                .volume, request.format, request.provisioning, bytes: request.size, qos: request.qos)
            try await build("create", name, declaration, takingOver: true, connection) {
                (temporary) async throws(StorageError) in
                try await connection.createImage(temporary, size: request.size, layout)
            } finish: { (id) async throws(StorageError) in
                if request.provisioning == .fat {
                    let volume = try await RBDVolume.open(.id(id), mode: .exclusive, connection)
                    try await closing(volume) { () async throws(StorageError) in
                        try await allocate(0..<request.size, of: volume)
                    }
                }
                try await enforce(request.qos, on: id, name, connection)
            }
        }

        /// How this pool's images are made.
        var layout: RBDLayout { RBDLayout(objectSize: options.objectSize, dataPool: options.dataPool) }

        /// As a template, if it has the snapshot that clones of templates read through.
        public func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription {
            let connection = try await connection
            try VolumeName.check(name)
            return try await names.withName(name) { () async throws(StorageError) in
                let image = try await find(name, "adopt volume", connection)
                if let declaration = image.declaration {
                    guard declaration.format == format else {
                        throw failure(.alreadyExists, "adopt volume", name, "it is managed, and \(declaration.format)")
                    }
                    return try await describeVolume(name)
                }
                try checkFormat(format, "adopt volume", name)
                guard let facts = try await connection.facts(of: [image.id])[image.id] else {
                    throw failure(.notFound, "adopt volume", name, "it was removed at this moment")
                }
                try RBDFeatures.check(facts.features, "adopt volume", at: "\(self.name)/\(name)")
                let snapshots = try await snapshots(of: image, "adopt volume", connection)
                let bytes = snapshots.filter(\.isVisible).reduce(facts.size) { $0.addingSaturating($1.size) }
                // Only templates have that snapshot: CloudStack makes it when it first clones one.
                let isTemplate = snapshots.contains { $0.isUsers && $0.name == SnapshotName.base }
                var declaration = Declaration(isTemplate ? .template : .volume, format, bytes: bytes)
                declaration.origin = RBDOrigin(name).text
                try await withAdmission([image.id], "adopt volume", name, connection) {
                    change, admit throws(StorageError) in
                    if change[image.id] != nil { return }
                    try admit(declaration.provisioned, Provisioned(), change.sum)
                    change[image.id] = declaration
                }
                return try await describeVolume(name)
            }
        }
    }

    extension RBDFeatures {
        /// All that this module and the librbd that it is written for know.
        private static let known: UInt64 = (1 << 12) - 1

        /// Throws `notSupported` for an image with features that are not known here.
        static func check(_ features: UInt64, _ what: String, at place: String) throws(StorageError) {
            guard features & ~known != 0 else { return }
            let unknown = (0..<64).filter { (features & ~known) >> UInt64($0) & 1 == 1 }
            throw StorageError(
                .notSupported, what, at: place,
                why:
                    "the image has features that are not known here: bits \(unknown.map(String.init).joined(separator: ", "))"
            )
        }
    }
#endif
