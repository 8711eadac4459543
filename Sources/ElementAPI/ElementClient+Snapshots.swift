#if ISCSI
    import BlockStorage

    extension ElementClient {
        private struct List: Decodable, Sendable { var snapshots: [ElementSnapshot] }

        private struct Created: ElementMade {
            var snapshotID: Int64
            var snapshot: ElementSnapshot?
            var madeID: Int64 { snapshotID }
        }

        /// Those of one volume, or of all (nil), the oldest first.
        public func snapshots(of volumeID: Int64?) async throws(StorageError) -> [ElementSnapshot] {
            try await snapshots(volumeID, within: options.deadline)
        }

        /// Those of these volumes, the oldest first.
        ///
        /// All that the array has, others' too, are asked for at once, because no part of them can be. Where that is
        /// more than one answer may have, each volume is asked for its own, all within one deadline.
        public func snapshots(ofVolumes volumeIDs: [Int64]) async throws(StorageError) -> [ElementSnapshot] {
            let stopwatch = stopwatch()
            let wanted = Set(volumeIDs)
            if wanted.isEmpty { return [] }
            if let all = try await snapshotsIfFew(nil, within: options.deadline) {
                return all.filter { wanted.contains($0.volumeID) }
            }
            var all: [ElementSnapshot] = []
            for id in wanted.sorted() {
                all += try await snapshots(id, within: max(.zero, options.deadline - stopwatch.elapsed))
                guard all.count <= options.largestList else { throw tooMany }
            }
            return all.sorted { $0.id < $1.id }
        }

        private func snapshots(
            _ volumeID: Int64?, within time: Duration
        ) async throws(StorageError) -> [ElementSnapshot] {
            guard let all = try await snapshotsIfFew(volumeID, within: time) else { throw tooMany }
            return all
        }

        private var tooMany: StorageError {
            failure(
                .inputOutput, "ListSnapshots",
                "the list has more than \(options.largestAnswer) bytes, or \(options.largestList) entries")
        }

        /// Nil where there are more than one answer may have.
        private func snapshotsIfFew(
            _ volumeID: Int64?, within time: Duration
        ) async throws(StorageError) -> [ElementSnapshot]? {
            let parameters: ElementParameters = volumeID.map { ["volumeID": .integer($0)] } ?? [:]
            let list: List
            do throws(ElementCallFailure) {
                list = try await callUntilRefused("ListSnapshots", parameters, within: time)
            } catch {
                if case .tooLarge = error { return nil }
                if case .refused(let refusal) = error, refusal.code == .notFound { return [] }
                throw storageError(error, "ListSnapshots", at: volumeID.map { "volume \($0)" } ?? "", parameters)
            }
            guard list.snapshots.count <= options.largestList else { return nil }
            guard list.snapshots.allSatisfy({ (volumeID ?? $0.volumeID) == $0.volumeID }) else {
                throw failure(.inputOutput, "ListSnapshots", "the array gives snapshots of another volume")
            }
            return list.snapshots.sorted { $0.id < $1.id }
        }

        /// Keeps a volume as it is at a moment during the call.
        ///
        /// An answer that is lost is looked up by the name and the attributes before another snapshot is made. Throws
        /// `quotaExceeded` where the volume has as many as the array allows.
        public func createSnapshot(
            named name: String, of volumeID: Int64, attributes: ElementAttributes = [:]
        ) async throws(StorageError) -> ElementSnapshot {
            let what = "CreateSnapshot"
            try attributes.check(what, at: name)
            let parameters: ElementParameters = [
                "volumeID": .integer(volumeID), "name": .text(name), "attributes": .attributes(attributes),
                "enableRemoteReplication": .flag(false),
            ]
            let (id, answer): (Int64, Created?) = try await make(what, at: name, parameters) {
                time throws(StorageError) in
                try await self.snapshots(volumeID, within: time)
                    .filter { $0.name == name && $0.attributes.contains(attributes) }.map(\.id)
            } discard: { id throws(StorageError) in
                try await self.deleteSnapshot(id)
            }
            var snapshot = answer?.snapshot
            if snapshot == nil { snapshot = try await snapshots(of: volumeID).first { $0.id == id } }
            guard let snapshot, snapshot.id == id, snapshot.volumeID == volumeID else {
                throw failure(.inputOutput, what, "the array answers with another snapshot than \(id)")
            }
            return snapshot
        }

        /// One that is not there: success.
        public func deleteSnapshot(_ id: Int64) async throws(StorageError) {
            try await remove("DeleteSnapshot", "snapshot \(id)", ["snapshotID": .integer(id)])
        }

        /// Gives a volume that nobody writes to the bytes that it had. What it had until now is gone; its snapshots stay.
        public func rollBack(_ volumeID: Int64, to snapshotID: Int64) async throws(StorageError) {
            let _: ElementNothing = try await call(
                "RollbackToSnapshot", at: "volume \(volumeID)",
                [
                    "volumeID": .integer(volumeID), "snapshotID": .integer(snapshotID),
                    "saveCurrentState": .flag(false),
                ])
        }
    }
#endif
