#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func setQoS(_ policy: QoSPolicy?, of volume: String) async throws(StorageError) {
            let what = "set QoS"
            try VolumeName.check(volume)
            let policy = try policy == QoSPolicy() ? nil : policy
            let connection = try await connection
            guard let image = try await findIfPresent(volume, what, connection) else {
                try await amend(RBDDeclarations.reservation(of: volume), what, volume, connection) { $0.qos = policy }
                return
            }
            // What nobody adopted has nothing to keep it in.
            let (_, declaration) = try await findManaged(volume, what, connection)
            guard declaration.kind != .template else {
                throw failure(.invalidArgument, what, volume, "it is a template")
            }
            try await amend(image.id, what, volume, connection) { $0.qos = policy }
            try await enforce(policy, on: image.id, volume, connection)
        }

        /// Has librbd enforce the maximum and the burst wherever the image is open, at once, or no longer. Where something
        /// else enforces them librbd must not: it would by what another host, or the image's parent, has left there.
        func enforce(
            _ policy: QoSPolicy?, on id: String, _ name: String, _ connection: RBDConnection
        ) async throws(StorageError) {
            let wanted = RBDLimits(options.qosByLibrbd ? policy : nil)
            if let volume = attachments.writer(id) { return try await volume.image.setLimits(wanted) }
            let isUnchanged = try await connection.withImage(.id(id), "set QoS") {
                (image) async throws(StorageError) -> Bool in
                for key in RBDLimits.keys where try await image.metadata(key) != wanted.metadata[key] { return false }
                return true
            }
            if isUnchanged { return }
            try await recording("limit", of: name, [Detail.images: id], connection) { () async throws(StorageError) in
                try await connection.withImage(.id(id), isReadOnly: false, "set QoS") {
                    (image) async throws(StorageError) in try await image.setLimits(wanted)
                }
            }
        }
    }

    extension RBDImage {
        /// Gives the image these limits and no others, at once wherever it is open.
        func setLimits(_ wanted: RBDLimits) async throws(StorageError) {
            for key in RBDLimits.keys {
                let old = try await metadata(key)
                let new = wanted.metadata[key]
                if old == new { continue }
                if let new {
                    try await setMetadata(key, new)
                } else {
                    try await removeMetadata(key)
                }
            }
        }
    }

    /// librbd's own limits of one image, which stand in the image's metadata.
    struct RBDLimits: Equatable {
        private static let prefix = "conf_"
        static let keys = PolicyTranslation.settingNames(for: .librbd).map { prefix + $0 }

        var metadata: [String: String] = [:]

        init(_ policy: QoSPolicy?) {
            guard let policy else { return }
            for setting in PolicyTranslation(policy, for: .librbd).settings {
                metadata[Self.prefix + setting.name] = "\(setting.value)"
            }
        }
    }
#endif
