#if ISCSI
    import BlockStorage
    import ElementAPI
    import Foundation

    extension ElementProvisioner {
        public func units() async throws(StorageError) -> [LUN] {
            try await watching { () async throws(StorageError) in
                try await client.volumes(of: accountID).filter { $0.status != .deleted }.map(describe)
            }
        }

        /// One call for all. An array that does not answer it, or not soon, has units all the same.
        public func allocatedSizes(of units: [LUN.ID]) async throws(StorageError) -> [LUN.ID: UInt64] {
            // Without a number the array would tell of all that it has.
            guard !units.isEmpty else { return [:] }
            var sizes: [LUN.ID: UInt64] = [:]
            do throws(StorageError) {
                // Nobody waits long for a figure.
                let limit = min(settings.deadline, .seconds(1))
                let volumes = units.map { Int64(clamping: $0) }
                for volume in try await client.statistics(ofVolumes: volumes, within: limit) {
                    sizes[LUN.ID(clamping: volume.volumeID)] = volume.nonZeroBlocks.map { min($0, 1 << 48) * 4096 }
                }
            } catch {
                if error.code == .cancelled { throw error }
            }
            return sizes
        }

        public func unit(_ id: LUN.ID) async throws(StorageError) -> LUN? {
            try await watching { () async throws(StorageError) in try await own(id).map(describe) }
        }

        public func create(_ request: LUNRequest) async throws(StorageError) -> LUN {
            try await watching { () async throws(StorageError) in
                let volume = ElementVolumeRequest(
                    name: arrayName(request.mark.name), accountID: accountID, size: request.size,
                    qos: try request.qos.map(qos), attributes: try ElementAttributes(marking: request.mark))
                return describe(try await client.createVolume(volume))
            }
        }

        public func clone(
            _ source: LUN.ID, snapshot: LUNSnapshot.ID?, isQuiet: Bool, _ request: LUNRequest
        ) async throws(StorageError) -> LUN {
            try await watching { () async throws(StorageError) in
                guard try await own(source) != nil else { throw missing(source, "clone unit") }
                var clone = ElementCloneRequest(
                    of: Int64(clamping: source), as: arrayName(request.mark.name),
                    snapshotID: snapshot.map { Int64(clamping: $0) },
                    attributes: try ElementAttributes(marking: request.mark))
                clone.accountID = accountID
                let volume = try await client.finishClone(try await client.startClone(clone))
                // It has the source's size and policy.
                let policy = try request.qos.map(qos)
                let size = request.size > volume.size ? request.size : nil
                guard size != nil || policy != nil else { return describe(volume) }
                return describe(try await client.modifyVolume(volume.id, ElementVolumeChange(size: size, qos: policy)))
            }
        }

        public func change(_ id: LUN.ID, _ change: LUNChange) async throws(StorageError) -> LUN {
            try await watching { () async throws(StorageError) in
                guard let volume = try await own(id) else { throw missing(id, "change unit") }
                if let expected = change.expected, expected != volume.attributes.mark {
                    throw failure(.conflict, "change unit", "somebody else has changed unit \(id)")
                }
                var new = ElementVolumeChange()
                if let size = change.size, size != volume.size { new.size = size }
                switch change.qos {
                case .policy(let policy): new.qos = try qos(policy)
                // There is no volume without one.
                case .some(.none): new.qos = try profile.defaults.map(qos)
                case nil: break
                }
                if let mark = change.mark { new.attributes = try volume.attributes.marked(mark) }
                // What somebody else has made read-only stays that.
                if let isLocked = change.isLocked, volume.access == (isLocked ? .readWrite : .locked) {
                    new.access = isLocked ? .locked : .readWrite
                }
                guard new != ElementVolumeChange() else { return describe(volume) }
                let changed = try await client.modifyVolume(volume.id, new)
                guard let mark = change.mark else { return describe(changed) }
                // The array compares nothing: who has read the mark before this may write another after it.
                guard let now = try await own(id) else { throw missing(id, "change unit") }
                guard now.attributes.mark?.keeps(mark, insteadOf: volume.attributes.mark) == true else {
                    throw failure(.conflict, "change unit", "somebody else has changed unit \(id) at this moment")
                }
                return describe(now)
            }
        }

        public func delete(_ id: LUN.ID) async throws(StorageError) {
            try await watching { () async throws(StorageError) in
                guard let volume = try await client.volume(Int64(clamping: id)), volume.accountID == accountID else {
                    return
                }
                // A group would keep a deleted one.
                for group in volume.accessGroups { try await client.removeVolumes([volume.id], from: group) }
                if volume.status != .deleted { try await client.deleteVolume(volume.id) }
                try await client.purgeVolume(volume.id)
            }
        }

        /// Removes for good what a process that died had deleted and not purged. What somebody else deleted in the array's
        /// own way while it was in use may be wanted back: it stays.
        func purgeLeftovers() async throws(StorageError) {
            for volume in try await client.volumes(of: accountID, status: .deleted) {
                if let mark = volume.attributes.mark, mark.phase != .ready { try await client.purgeVolume(volume.id) }
            }
        }

        // MARK: - Snapshots

        public func snapshots(of id: LUN.ID?) async throws(StorageError) -> [LUNSnapshot] {
            try await watching { () async throws(StorageError) in
                if let id {
                    guard try await own(id) != nil else { return [] }
                    return try await client.snapshots(of: Int64(clamping: id)).compactMap(describe)
                }
                let ours = try await client.volumes(of: accountID).filter { $0.status != .deleted }.map(\.id)
                return try await client.snapshots(ofVolumes: ours).compactMap(describe)
            }
        }

        public func createSnapshot(
            _ name: String, of id: LUN.ID, ticket: String, isQuiet: Bool
        ) async throws(StorageError) -> LUNSnapshot {
            try await watching { () async throws(StorageError) in
                guard try await own(id) != nil else { throw missing(id, "create snapshot") }
                var attributes = ElementAttributes()
                attributes.values[ElementAttributes.markName] = .object(["n": .text(name), "t": .text(ticket)])
                let snapshot = try await client.createSnapshot(
                    named: arrayName(name), of: Int64(clamping: id), attributes: attributes)
                guard let result = describe(snapshot) else {
                    throw failure(.inputOutput, "create snapshot", "the array does not tell what it made")
                }
                return result
            }
        }

        public func deleteSnapshot(_ snapshot: LUNSnapshot.ID, of id: LUN.ID) async throws(StorageError) {
            try await watching { () async throws(StorageError) in
                guard try await own(id) != nil,
                    try await client.snapshots(of: Int64(clamping: id)).contains(where: { $0.id == snapshot })
                else { return }
                try await client.deleteSnapshot(Int64(clamping: snapshot))
            }
        }

        public func rollBack(_ id: LUN.ID, to snapshot: LUNSnapshot.ID) async throws(StorageError) {
            try await watching { () async throws(StorageError) in
                guard let before = try await own(id) else { throw missing(id, "roll back") }
                guard try await client.snapshots(of: before.id).contains(where: { $0.id == snapshot }) else {
                    throw failure(.notFound, "roll back", "unit \(id) has no snapshot \(snapshot)")
                }
                try await client.rollBack(before.id, to: Int64(clamping: snapshot))
                // What the array may have taken back with the bytes.
                guard let after = try await own(id) else { throw missing(id, "roll back") }
                var change = ElementVolumeChange()
                if after.size < before.size { change.size = before.size }
                if after.attributes != before.attributes { change.attributes = before.attributes }
                if let old = before.qos, after.qos.map({ !$0.isSame(as: old) }) ?? true { change.qos = old }
                if change != ElementVolumeChange() { _ = try await client.modifyVolume(before.id, change) }
            }
        }

        // MARK: - What the array says

        /// The volume, where it is there and the pool's.
        private func own(_ id: LUN.ID) async throws(StorageError) -> ElementVolume? {
            guard let volume = try await client.volume(Int64(clamping: id)), volume.status != .deleted,
                volume.accountID == accountID
            else { return nil }
            return volume
        }

        private func missing(_ id: LUN.ID, _ what: String) -> StorageError {
            failure(.notFound, what, "the account has no volume \(id)")
        }

        /// The array takes letters, digits and hyphens; the mark has the whole name.
        func arrayName(_ name: String) -> String {
            String(
                name.utf8.prefix(64).map { byte in
                    let character = Character(Unicode.Scalar(byte))
                    return character.isASCII && (character.isLetter || character.isNumber) ? character : "-"
                })
        }

        func qos(_ policy: QoSPolicy) throws(StorageError) -> ElementQoS {
            guard let minimum = policy.minIOPS, let maximum = policy.maxIOPS, let burst = policy.burstIOPS,
                policy.maxBytesPerSecond == nil
            else {
                throw failure(
                    .invalidArgument, "set QoS", "the array needs a minimum, a maximum and a burst, and nothing else")
            }
            return ElementQoS(minIOPS: minimum, maxIOPS: maximum, burstIOPS: burst)
        }

        private func describe(_ volume: ElementVolume) -> LUN {
            let qos = volume.qos.flatMap {
                try? QoSPolicy(minIOPS: $0.minIOPS, maxIOPS: $0.maxIOPS, burstIOPS: $0.burstIOPS)
            }
            return LUN(
                id: UInt64(clamping: volume.id), name: volume.name,
                path: volume.iqn.flatMap { try? ISCSIPath("/\($0)/0") }, size: volume.size, qos: qos,
                mark: volume.attributes.mark,
                isReady: volume.status == .active || volume.status == .snapshotting,
                isLocked: volume.access == .locked,
                details: [
                    .init("array volume", "\(volume.id) (\(volume.name))"), .init("array", client.endpoint.description),
                ])
        }

        /// Nil for what the array lists as a snapshot and is the volume as it is now.
        private func describe(_ snapshot: ElementSnapshot) -> LUNSnapshot? {
            guard snapshot.status != "active" else { return nil }
            var name = snapshot.name
            var ticket: String?
            if case .object(let values)? = snapshot.attributes.values[ElementAttributes.markName],
                case .text(let ours)? = values["n"], case .text(let its)? = values["t"], VolumeName.isValid(ours)
            {
                (name, ticket) = (ours, its)
            }
            let time = (try? Date(snapshot.createTime, strategy: .iso8601))?.timeIntervalSince1970 ?? 0
            return LUNSnapshot(
                id: UInt64(clamping: snapshot.id), unit: UInt64(clamping: snapshot.volumeID), name: name,
                size: snapshot.size, createdAt: Int64(exactly: time.rounded(.down)) ?? 0, ticket: ticket)
        }
    }

    extension LUNMark {
        /// Whether this one, that stands there, was made of `new`, or with knowledge of it, and not of the `old` one that
        /// `new` has replaced. Judged by who is at work on the unit, who holds it, and where it is in its life.
        func keeps(_ new: LUNMark, insteadOf old: LUNMark?) -> Bool {
            guard self != new, let old else { return self == new }
            func keeps<Value: Equatable>(_ value: KeyPath<LUNMark, Value?>) -> Bool {
                let (now, new, old) = (self[keyPath: value], new[keyPath: value], old[keyPath: value])
                if new == old || now == new { return true }
                // What was given up somebody else may have taken since.
                return new == nil && now != old
            }
            let isSamePhase = new.phase == old.phase || phase == new.phase || new.phase == .ready && phase != old.phase
            return isSamePhase && keeps(\.ticket) && keeps(\.holder) && keeps(\.isReverting)
        }
    }

    extension ElementAttributes {
        /// Under which name marks stand.
        static let markName = "sluice"

        /// Nothing but a mark.
        init(marking mark: LUNMark) throws(StorageError) { self = try ElementAttributes().marked(mark) }

        /// The same with this mark instead of the one that is there.
        func marked(_ mark: LUNMark) throws(StorageError) -> ElementAttributes {
            var result = self
            let text = try mark.text()
            guard let value = try? JSONDecoder().decode(Value.self, from: Data(text.utf8)) else {
                throw StorageError(.internalError, "mark unit", at: mark.name, why: "its mark is no JSON")
            }
            result.values[Self.markName] = value
            return result
        }

        /// Nil for what is not ours.
        var mark: LUNMark? {
            guard let value = values[Self.markName], let data = try? JSONEncoder().encode(value) else { return nil }
            return LUNMark(String(decoding: data, as: UTF8.self))
        }
    }
#endif
