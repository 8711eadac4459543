#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func listVolumes() async throws(StorageError) -> [VolumeDescription] {
            try await list { $0?.kind != .template }
        }

        public func listTemplates() async throws(StorageError) -> [VolumeDescription] {
            try await list { $0?.kind == .template }
        }

        private func list(
            _ isWanted: (Declaration?) -> Bool
        ) async throws(StorageError) -> [VolumeDescription] {
            let connection = try await connection
            let declarations = try await RBDDeclarations(connection: connection).all("list volumes")
            // Read after the declarations: an image is listed before it is declared.
            let names = try await RBDDirectory(connection: connection).names("list volumes")
            let images = names.map { PoolImage(name: $0.value, id: $0.key, declaration: declarations[$0.key]) }
                .filter { $0.isVisible && VolumeName.isValid($0.name) && isWanted($0.declaration) }
                .sorted { $0.name < $1.name }
            let facts = try await connection.facts(of: images.map(\.id))
            return try await describe(images, facts, names: names, connection)
        }

        /// Describes images by their headers; those without one, which are being removed, are left out.
        func describe(
            _ images: [PoolImage], _ facts: [String: RBDFacts], names: [String: String], _ connection: RBDConnection
        ) async throws(StorageError) -> [VolumeDescription] {
            let own = facts.flatMap { image, facts in facts.snapshots.map { (image: image, id: $0) } }
            let parents = Set(
                facts.values.compactMap(\.parent).filter { $0.pool == connection.poolID }.map {
                    RBDFacts.SnapshotKey(image: $0.image, id: $0.snapshot)
                })
            let snapshots = try await connection.snapshotNames(
                own
                    + parents.map { (image: $0.image, id: $0.id) }.filter { parent in
                        facts[parent.image]?.snapshots.contains(parent.id) != true
                    })
            return images.compactMap { image in
                guard let facts = facts[image.id] else { return nil }
                var description = VolumeDescription(
                    name: image.name, path: "\(connection.settings.pool)/\(image.name)",
                    format: image.declaration?.format, virtualSize: facts.size, allocatedSize: facts.allocatedSize,
                    provisioning: image.declaration?.provisioning ?? .thin, qos: image.declaration?.qos,
                    isManaged: image.declaration != nil, isTemplate: image.declaration?.kind == .template)
                if let parent = facts.parent, parent.pool == connection.poolID, let name = names[parent.image] {
                    let key = RBDFacts.SnapshotKey(image: parent.image, id: parent.snapshot)
                    let snapshot = snapshots[key]?.name
                    description.template = VolumeReference(
                        name, snapshot: snapshot.flatMap { SnapshotName.isUsers($0) ? $0 : nil })
                }
                description.snapshots = facts.snapshots.reversed().compactMap { id in
                    let snapshot = snapshots[RBDFacts.SnapshotKey(image: image.id, id: id)]
                    return snapshot.flatMap { $0.isUsers && SnapshotName.isUsers($0.name) ? $0.name : nil }
                }
                return description
            }
        }
    }

    /// The names of snapshots that have a meaning here.
    enum SnapshotName {
        /// What clones of a template read through: CloudStack's name for it.
        static let base = "cloudstack-base-snap"
        /// Of snapshots that Sluice makes for one clone of a volume.
        static let helperPrefix = "sluice-clone-"

        /// Whether a snapshot is one that a user made.
        static func isUsers(_ name: String) -> Bool { name != base && !name.hasPrefix(helperPrefix) }
    }

    extension RBDSnapshot {
        /// Whether users see it: it is theirs.
        var isVisible: Bool { isUsers && SnapshotName.isUsers(name) }
    }
#endif
