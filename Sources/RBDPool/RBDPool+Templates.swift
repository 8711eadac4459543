#if RBD
    import BlockStorage
    import IORuntime

    extension RBDPool {
        public func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate {
            let what = "import template"
            try VolumeName.check(name, as: "template name")
            try checkSize(size, what, name)
            let connection = try await connection
            if try await findIfPresent(name, what, connection) != nil { throw taken(name) }
            let temporary = PoolImage.temporaryName()
            let intent = intent("import", of: name, [Detail.temporary: temporary], connection)
            let staging = Staging(intent: intent, token: try await options.intents?.begin(intent))
            do throws(StorageError) {
                try await connection.createImage(temporary, size: size, layout)
                let id = try await id(ofTemporary: temporary, name, connection)
                var declaration = Declaration(.template, .raw, bytes: size)
                declaration.origin = RBDOrigin(name).text
                _ = try await declare(id, declaration, for: name, takingOver: false, "import", connection)
                let volume = try await RBDVolume.open(.id(id), mode: .exclusive, connection)
                return StagedImage(self, name, temporary, id, volume, staging, connection)
            } catch {
                await discard(staging)
                throw error
            }
        }

        /// What is recorded of a template that is being written.
        fileprivate struct Staging {
            var intent: Intent
            var token: IntentToken?
        }

        /// Removes what was staged, unless it has its name. What cannot be removed now is when the intent is found.
        fileprivate func discard(_ staging: Staging) async {
            try? await uncancelled { () async throws(StorageError) in
                try await self.recover(staging.intent)
                if let token = staging.token { try await self.options.intents?.end(token) }
            }
        }
    }

    /// A template in an image with a temporary name.
    private final class StagedImage: StagedTemplate {
        private enum Phase { case writing, publishing, done }

        private let pool: RBDPool
        private let name: String
        private let temporary: String
        private let id: String
        private let image: RBDVolume
        private let staging: RBDPool.Staging
        private let connection: RBDConnection
        private let phase = Locked(Phase.writing)

        init(
            _ pool: RBDPool, _ name: String, _ temporary: String, _ id: String, _ image: RBDVolume,
            _ staging: RBDPool.Staging, _ connection: RBDConnection
        ) {
            (self.pool, self.name, self.temporary, self.id) = (pool, name, temporary, id)
            (self.image, self.staging, self.connection) = (image, staging, connection)
        }

        var volume: any ResizableVolume { image }

        func publish() async throws(StorageError) -> VolumeDescription {
            guard advance(from: .writing, to: .publishing) else {
                throw pool.failure(.invalidArgument, "publish template", name, "it was published or discarded before")
            }
            do throws(StorageError) {
                // It may have grown since it was staged.
                let size = image.geometry.size
                try await pool.amend(id, "publish template", name, connection) { $0.bytes = size }
                try await image.close()
                var repair = BaseSnapshotRepair()
                try await pool.runRepair(&repair, id, connection)
                try await pool.names.withName(name) { () async throws(StorageError) in
                    try await pool.publish(temporary, as: name, connection)
                }
            } catch {
                _ = advance(from: .publishing, to: .writing)
                throw error
            }
            _ = advance(from: .publishing, to: .done)
            if let token = staging.token {
                try await uncancelled { () async throws(StorageError) in
                    try await self.pool.options.intents?.end(token)
                }
            }
            return try await pool.describeVolume(name)
        }

        func discard() async {
            guard advance(from: .writing, to: .done) else { return }
            try? await image.close()
            await pool.discard(staging)
        }

        private func advance(from: Phase, to: Phase) -> Bool {
            phase.withLock { phase in
                guard phase == from else { return false }
                phase = to
                return true
            }
        }
    }
#endif
