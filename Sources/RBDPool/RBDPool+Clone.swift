#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func cloneVolume(
            _ source: VolumeReference, as name: String, _ request: CloneRequest
        ) async throws(StorageError) -> VolumeDescription {
            let what = "clone volume"
            try VolumeName.check(name)
            if let snapshot = source.snapshot { try VolumeName.check(snapshot, as: "snapshot name") }
            let connection = try await connection
            let (image, declaration) = try await findManaged(source.name, what, connection)
            return try await names.withName(name) { () async throws(StorageError) in
                guard let facts = try await connection.facts(of: [image.id])[image.id] else {
                    throw failure(.notFound, what, source.name, "it was removed at this moment")
                }
                try RBDFeatures.check(facts.features, what, at: "\(self.name)/\(source)")
                var sourceSize = facts.size
                if let snapshot = source.snapshot {
                    sourceSize = try await find(snapshot, of: image, what, connection).size
                }
                let size = request.size ?? sourceSize
                guard size >= sourceSize else {
                    throw failure(
                        .invalidArgument, what, name, "\(size) bytes are less than the \(sourceSize) of its source")
                }
                try checkSize(size, what, name)
                return try await createOnce(name, connection) { existing, declaration in
                    let isSameSource =
                        existing.template == source || RBDOrigin(declaration.origin)?.source == "\(source)"
                    return !request.isFull && isSameSource && existing.virtualSize == size
                        && (request.qos == nil || existing.qos == request.qos)
                } create: { () async throws(StorageError) in
                    if request.isFull {
                        try await copy(source, as: name, size: size, request.qos, connection)
                    } else {
                        let clone = Clone(
                            source: source, image: image, isTemplate: declaration.kind == .template,
                            hasDataPool: facts.features & RBDFeatures.dataPool != 0, isLarger: size > sourceSize,
                            size: size, qos: request.qos)
                        try await link(clone, as: name, connection)
                    }
                }
            }
        }

        /// A clone that is to be made.
        private struct Clone {
            var source: VolumeReference
            var image: PoolImage
            var isTemplate: Bool
            var hasDataPool: Bool
            var isLarger: Bool
            var size: UInt64
            var qos: QoSPolicy?
        }

        private func link(_ clone: Clone, as name: String, _ connection: RBDConnection) async throws(StorageError) {
            let isTooDeep = try await depth(of: clone.image.id, connection) + 1 > options.cloneDepth
            var declaration = Declaration(.volume, .raw, bytes: clone.size, qos: clone.qos)
            declaration.origin = RBDOrigin(name, source: isTooDeep ? "\(clone.source)" : nil).text
            let helper =
                clone.isTemplate || clone.source.snapshot != nil ? nil : SnapshotName.helperPrefix + Self.unique()
            var details = [Detail.images: clone.image.id]
            if let helper {
                details[Detail.source] = clone.image.id
                details[Detail.snapshot] = helper
            }
            try await build("clone", name, declaration, details: details, connection) {
                (temporary) async throws(StorageError) in
                try await cloneImage(clone, helper: helper, as: temporary, connection)
            } finish: { (id) async throws(StorageError) in
                guard try await connection.facts(of: [id])[id]?.parent?.image == clone.image.id else {
                    throw self.failure(
                        .conflict, "clone volume", name, "\(clone.source.name) was replaced at this moment")
                }
                if clone.isLarger || isTooDeep {
                    try await connection.withImage(.id(id), isReadOnly: false, "clone volume") {
                        (image) async throws(StorageError) in
                        if clone.isLarger { try await image.resize(to: clone.size, allowShrink: false) }
                        if isTooDeep { try await image.flatten() }
                    }
                }
                if isTooDeep, let helper { try await removeHelper(helper, ofImage: clone.image.id, connection) }
                try await enforce(clone.qos, on: id, name, connection)
            }
        }

        private func cloneImage(
            _ clone: Clone, helper: String?, as temporary: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            var layout = layout
            // A clone's objects have the size of its source's, and are where those are unless it is said otherwise.
            layout.objectSize = nil
            if layout.dataPool == nil, clone.hasDataPool {
                layout.dataPool = try await connection.withImage(clone.image.reference, "clone volume") {
                    (image) async throws(StorageError) in try await image.dataPool()
                }
            }
            let (id, name) = (clone.image.id, clone.image.name)
            if let snapshot = clone.source.snapshot {
                try await protectForClone(snapshot, of: clone.image, connection)
                return try await connection.cloneImage(name, snapshot: snapshot, as: temporary, layout)
            }
            if let helper {
                try await withWriter(clone.image, "clone volume", connection) { (image) async throws(StorageError) in
                    try await image.createSnapshot(helper)
                    try await image.setProtected(true, helper)
                }
                return try await connection.cloneImage(name, snapshot: helper, as: temporary, layout)
            }
            var repair = BaseSnapshotRepair()
            while true {
                try await runRepair(&repair, id, connection)
                do throws(StorageError) {
                    return try await connection.cloneImage(name, snapshot: SnapshotName.base, as: temporary, layout)
                } catch {
                    try repair.cloneFailed(error)
                }
            }
        }

        /// Has an image's base snapshot be there, and protected.
        func runRepair(
            _ repair: inout BaseSnapshotRepair, _ id: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            // Most often it is there, and then nothing needs to be written.
            try await connection.withImage(.id(id), "clone volume") { (image) async throws(StorageError) in
                let base = try await image.snapshots().first { $0.name == SnapshotName.base && $0.isUsers }
                repair.found(isProtected: base?.isProtected)
            }
            if repair.next == .finished { return }
            // One of this process does it; more would only take the image's lock from one another.
            var state = repair
            try await names.withName("/base/\(id)") { () async throws(StorageError) in
                try await connection.withImage(.id(id), isReadOnly: false, "clone volume") {
                    (image) async throws(StorageError) in
                    while state.next != .finished {
                        switch state.next {
                        case .look:
                            let base = try await image.snapshots().first { $0.name == SnapshotName.base && $0.isUsers }
                            state.found(isProtected: base?.isProtected)
                        case .create:
                            try state.created(
                                await outcome { () async throws(StorageError) in
                                    try await image.createSnapshot(SnapshotName.base)
                                })
                        case .protect:
                            try state.protected(
                                await outcome { () async throws(StorageError) in
                                    try await image.setProtected(true, SnapshotName.base)
                                })
                        case .finished: break
                        }
                    }
                }
            }
            repair = state
        }

        private func outcome(_ body: () async throws(StorageError) -> Void) async -> StorageError? {
            do throws(StorageError) {
                try await body()
                return nil
            } catch {
                return error
            }
        }

        private func copy(
            _ source: VolumeReference, as name: String, size: UInt64, _ qos: QoSPolicy?, _ connection: RBDConnection
        ) async throws(StorageError) {
            let (image, _) = try await findManaged(source.name, "clone volume", connection)
            let original = try await openVolume(source, mode: .readOnly)
            try await closing(original) { () async throws(StorageError) in
                let declaration = Declaration(.volume, .raw, bytes: size, qos: qos)
                try await build("copy", name, declaration, connection) { (temporary) async throws(StorageError) in
                    try await connection.createImage(temporary, size: size, layout)
                } finish: { (id) async throws(StorageError) in
                    let copy = try await RBDVolume.open(.id(id), mode: .exclusive, connection)
                    try await closing(copy) { () async throws(StorageError) in
                        _ = try await original.copy(to: copy, CopyOptions(destinationReadsZero: true))
                    }
                    // Of an image that another host deletes what is gone reads as zeros, and its name goes first.
                    try await checkPresent(source, image.id, name, connection)
                    try await enforce(qos, on: id, name, connection)
                }
            }
        }

        /// Throws `conflict` unless what was copied is still there.
        private func checkPresent(
            _ source: VolumeReference, _ id: String, _ name: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            let what = "clone volume"
            do throws(StorageError) {
                if let image = try await findIfPresent(source.name, what, connection), image.id == id {
                    if let snapshot = source.snapshot { _ = try await find(snapshot, of: image, what, connection) }
                    return
                }
            } catch {
                guard error.code == .notFound else { throw error }
            }
            throw failure(.conflict, what, name, "\(source) was deleted while it was copied")
        }

        /// How many images an image reads through, as far as they are in this pool.
        private func depth(of id: String, _ connection: RBDConnection) async throws(StorageError) -> Int {
            var (depth, next) = (0, id)
            while depth <= options.cloneDepth, let parent = try await connection.facts(of: [next])[next]?.parent {
                depth += 1
                guard parent.pool == connection.poolID else { break }
                next = parent.image
            }
            return depth
        }
    }
#endif
