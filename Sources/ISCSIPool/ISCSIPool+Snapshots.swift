#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        public func createSnapshot(
            _ snapshot: String, of volume: String
        ) async throws(StorageError) -> SnapshotDescription {
            let what = "create snapshot"
            try VolumeName.check(snapshot, as: "snapshot name")
            try VolumeName.check(volume)
            return try await names.withName(volume) { () async throws(StorageError) in
                let (unit, _) = try await findVolume(volume, what)
                let existing = try await snapshots(of: unit)
                if let found = existing.first(where: { $0.name == snapshot }) {
                    return try await describe(found, of: unit)
                }
                if let most = provisioner.profile.largestSnapshotCount, existing.count >= most {
                    throw failure(
                        .quotaExceeded, what, volume, "it has \(existing.count) snapshots, of \(most) at most")
                }
                try await checkRoom(Provisioned(bytes: unit.size), for: nil, what, of: volume)
                let made = try await recording("snapshot", of: volume) { (ticket) async throws(StorageError) in
                    let begun = try await begin(unit, ticket, what) { $0.promisedBytes = unit.size }
                    try await contend(begun, for: nil, what, of: volume)
                    let made = try await whileQuiet(unit.id) { [provisioner] (isQuiet) async throws(StorageError) in
                        try await provisioner.createSnapshot(
                            snapshot, of: unit.id, ticket: LUNSnapshot.ticket(ticket, unit.mark?.virtualSize),
                            isQuiet: isQuiet)
                    }
                    try await finish(begun)
                    return made
                }
                return try await describe(made, of: unit)
            }
        }

        public func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] {
            let unit = try await findManaged(volume, "list snapshots")
            let clones = try await clones(of: unit.id)
            return try await snapshots(of: unit).map { describe($0, clones) }
        }

        /// Those that users made.
        func snapshots(of unit: LUN) async throws(StorageError) -> [LUNSnapshot] {
            try await provisioner.snapshots(of: unit.id).filter { $0.isVisible(of: unit) }
        }

        private func describe(_ snapshot: LUNSnapshot, of unit: LUN) async throws(StorageError) -> SnapshotDescription {
            describe(snapshot, try await clones(of: unit.id))
        }

        private func describe(_ snapshot: LUNSnapshot, _ clones: [LUN]) -> SnapshotDescription {
            SnapshotDescription(
                name: snapshot.name, size: snapshot.imageSize ?? snapshot.size, createdAt: snapshot.createdAt,
                children: clones.filter { $0.mark?.source?.snapshot == snapshot.name }.compactMap(\.visibleName)
                    .sorted())
        }

        public func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) {
            let what = "delete snapshot"
            try VolumeName.check(snapshot, as: "snapshot name")
            try VolumeName.check(volume)
            try await names.withName(volume) { () async throws(StorageError) in
                let unit = try await findManaged(volume, what)
                guard let found = try await snapshots(of: unit).first(where: { $0.name == snapshot }) else { return }
                try refuse(try await clones(of: unit.id, snapshot: snapshot), what, "\(volume)@\(snapshot)")
                let id = unit.id
                try await uncancelled { () async throws(StorageError) in
                    try await self.provisioner.deleteSnapshot(found.id, of: id)
                }
            }
        }

        public func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
            let what = "revert volume"
            try VolumeName.check(snapshot, as: "snapshot name")
            try VolumeName.check(volume)
            try await names.withName(volume) { () async throws(StorageError) in
                let (unit, _) = try await findVolume(volume, what)
                let reference = VolumeReference(volume, snapshot: snapshot)
                guard let target = try await self.snapshot(of: unit, reference, what) else { return }
                try await checkUnused(unit, what)
                guard attachments.begin(unit.id, .exclusive) else {
                    throw failure(.busy, what, volume, "this process has it open")
                }
                defer { attachments.end(unit.id, .exclusive, nil) }
                try await recording("revert", of: volume) { (ticket) async throws(StorageError) in
                    let begun = try await begin(unit, ticket, what, isLocking: true) { $0.isReverting = true }
                    // Who has opened it just before is seen now; who does so later sees that this is under way.
                    do throws(StorageError) {
                        try await checkUnused(begun, what, isOurs: true)
                        try await confirm(begun, what)
                    } catch {
                        // What becomes of the mark is settled by whoever it belongs to now.
                        try? await unlock(begun)
                        throw error
                    }
                    try await uncancelled { () async throws(StorageError) in
                        try await self.provisioner.rollBack(begun.id, to: target.id)
                    }
                    try await forgetJournal(ofImageOn: begun)
                    try await finish(begun) { $0.virtualSize = target.imageSize ?? $0.virtualSize }
                }
            }
        }
    }

    extension LUNSnapshot {
        /// What a snapshot is made with: a ticket, and the size of the image on the unit, where there is one.
        static func ticket(_ ticket: String, _ imageSize: UInt64?) -> String {
            imageSize.map { "\(ticket):\($0)" } ?? ticket
        }

        /// The ticket of the work that has made it.
        var work: Substring? { ticket?.prefix { $0 != ":" } }

        /// The size of the disk in the image, in bytes; nil where it is not of an image.
        var imageSize: UInt64? { ticket.flatMap { UInt64($0.drop { $0 != ":" }.dropFirst()) } }

        /// Whether a user made it, and it is complete.
        func isVisible(of unit: LUN) -> Bool {
            guard let work else { return false }
            return unit.mark?.ticket.map { $0 != work } ?? true
        }
    }
#endif
