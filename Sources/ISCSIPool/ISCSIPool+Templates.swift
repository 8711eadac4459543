#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        public func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate {
            let what = "import template"
            try VolumeName.check(name, as: "template name")
            let size = try rounded(size, what, name)
            let qos = try completed(nil, what, name)
            try await checkRoom(
                Provisioned(bytes: size, minIOPS: qos?.minIOPS ?? 0), for: name, what, of: name)
            let intent = intent("import", of: name)
            let token = try await options.intents?.begin(intent)
            do throws(StorageError) {
                let mark = mark(name, .template, intent.details[Detail.ticket] ?? "")
                let unit = try await provisioner.create(LUNRequest(size: size, qos: qos, mark: mark))
                // The name is for who is first to publish.
                try await contend(unit, for: nil, what, of: name)
                let volume = try await connect(unit, .shared, isReadOnly: false)
                let id = unit.id
                let staged = UnitVolume(volume, on: volume, deadline: options.deadline) {
                    [self] (size) async throws(StorageError) in
                    try await growStaged(id, to: size, name)
                } leave: { () async throws(StorageError) in
                }
                return StagedUnit(self, name, id, staged, intent, token)
            } catch {
                try? await undo(intent, token)
                throw error
            }
        }

        /// A template that is being written may turn out to be larger.
        private func growStaged(_ id: LUN.ID, to size: UInt64, _ name: String) async throws(StorageError) {
            let what = "import template"
            let size = try rounded(size, what, name)
            guard let unit = try await provisioner.unit(id), size > unit.size else { return }
            try await checkRoom(Provisioned(bytes: size - unit.size), for: nil, what, of: name)
            let grown = try await provisioner.change(id, LUNChange(size: size))
            try await contend(grown, for: nil, what, of: name)
        }
    }

    /// A template in a unit that is not ready yet.
    private final class StagedUnit: StagedTemplate {
        private enum Phase { case writing, publishing, done }

        private let pool: ISCSIPool
        private let name: String
        private let id: LUN.ID
        private let unit: UnitVolume
        private let intent: Intent
        private let token: IntentToken?
        private let phase = Locked(Phase.writing)

        init(
            _ pool: ISCSIPool, _ name: String, _ id: LUN.ID, _ unit: UnitVolume, _ intent: Intent,
            _ token: IntentToken?
        ) {
            (self.pool, self.name, self.id, self.unit) = (pool, name, id, unit)
            (self.intent, self.token) = (intent, token)
        }

        var volume: any ResizableVolume { unit }

        func publish() async throws(StorageError) -> VolumeDescription {
            guard advance(from: .writing, to: .publishing) else {
                throw pool.failure(.invalidArgument, "publish template", name, "it was published or discarded before")
            }
            do throws(StorageError) {
                try await unit.close()
                try await pool.names.withName(name) { () async throws(StorageError) in
                    guard let current = try await pool.provisioner.unit(id), var mark = current.mark else {
                        throw pool.failure(.conflict, "publish template", name, "it was removed at this moment")
                    }
                    mark.newName = name
                    let claimed = try await pool.provisioner.change(
                        id, LUNChange(mark: mark, expected: .some(current.mark)))
                    do throws(StorageError) {
                        try await pool.contend(claimed, for: name, "publish template", of: name)
                    } catch {
                        _ = try await pool.provisioner.change(
                            id, LUNChange(mark: current.mark, expected: .some(claimed.mark)))
                        throw error
                    }
                    try await pool.publish(claimed)
                }
            } catch {
                _ = advance(from: .publishing, to: .writing)
                throw error
            }
            _ = advance(from: .publishing, to: .done)
            try await pool.end(token)
            return try await pool.describeVolume(name)
        }

        func discard() async {
            guard advance(from: .writing, to: .done) else { return }
            try? await unit.close()
            try? await pool.undo(intent, token)
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
