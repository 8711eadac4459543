#if ISCSI
    import BlockStorage

    extension ElementClient {
        private struct List: Decodable, Sendable { var volumeAccessGroups: [ElementAccessGroup] }

        private struct Created: ElementMade {
            var volumeAccessGroupID: Int64
            var madeID: Int64 { volumeAccessGroupID }
        }

        /// All groups, in the order of their numbers.
        public func accessGroups() async throws(StorageError) -> [ElementAccessGroup] {
            try await accessGroups(within: options.deadline)
        }

        private func accessGroups(within time: Duration) async throws(StorageError) -> [ElementAccessGroup] {
            try await pages("ListVolumeAccessGroups", "startVolumeAccessGroupID", within: time) { (list: List) in
                list.volumeAccessGroups
            }
        }

        /// One group; nil where there is none with this number.
        public func accessGroup(_ id: Int64) async throws(StorageError) -> ElementAccessGroup? {
            try await accessGroups().first { $0.id == id }
        }

        /// Makes a group. Throws `quotaExceeded` for more than 64 initiators, or for a volume that is in four groups.
        public func createAccessGroup(
            named name: String, initiators: [String] = [], volumes: [Int64] = [], attributes: ElementAttributes = [:]
        ) async throws(StorageError) -> ElementAccessGroup {
            let what = "CreateVolumeAccessGroup"
            try attributes.check(what, at: name)
            try checkInitiators(initiators.count, what, name)
            let parameters: ElementParameters = [
                "name": .text(name), "initiators": .texts(initiators), "volumes": .integers(volumes),
                "attributes": .attributes(attributes),
            ]
            let (id, _): (Int64, Created?) = try await make(what, at: name, parameters) { time throws(StorageError) in
                try await self.accessGroups(within: time)
                    .filter { $0.name == name && $0.attributes.contains(attributes) }.map(\.id)
            } discard: { id throws(StorageError) in
                try await self.deleteAccessGroup(id)
            }
            return try await changed(id, what)
        }

        /// One that is not there: success.
        public func deleteAccessGroup(_ id: Int64) async throws(StorageError) {
            try await remove("DeleteVolumeAccessGroup", "group \(id)", ["volumeAccessGroupID": .integer(id)])
        }

        /// Lets initiators log in to the volumes of a group. Those that may already: success.
        ///
        /// Throws `quotaExceeded` where the group would have more than 64.
        public func addInitiators(_ initiators: [String], to id: Int64) async throws(StorageError) {
            let what = "AddInitiatorsToVolumeAccessGroup"
            guard let group = try await accessGroup(id) else { throw missing(id, what) }
            // Arrays keep them in lower case.
            let known = Set(group.initiators.map { $0.lowercased() })
            let new = initiators.filter { !known.contains($0.lowercased()) }
            guard !new.isEmpty else { return }
            try checkInitiators(known.count + new.count, what, "group \(id)")
            try await changeGroup(what, id, ["initiators": .texts(new)], done: .alreadyExists)
        }

        /// Those that are not in the group: success.
        public func removeInitiators(_ initiators: [String], from id: Int64) async throws(StorageError) {
            let what = "RemoveInitiatorsFromVolumeAccessGroup"
            guard let group = try await accessGroup(id) else { return }
            let known = Dictionary(group.initiators.map { ($0.lowercased(), $0) }) { $1 }
            let gone = initiators.compactMap { known[$0.lowercased()] }
            guard !gone.isEmpty else { return }
            try await changeGroup(what, id, ["initiators": .texts(gone)], done: .notFound)
        }

        /// Lets the initiators of a group log in to volumes. Those that are in it: success.
        ///
        /// Throws `quotaExceeded` for a volume that is in four groups.
        public func addVolumes(_ volumes: [Int64], to id: Int64) async throws(StorageError) {
            let what = "AddVolumesToVolumeAccessGroup"
            let groups = try await accessGroups()
            guard let group = groups.first(where: { $0.id == id }) else { throw missing(id, what) }
            let new = volumes.filter { !group.volumeIDs.contains($0) }
            guard !new.isEmpty else { return }
            for volume in new {
                let count = groups.count { $0.volumeIDs.contains(volume) }
                guard count < ElementAccessGroup.limitPerVolume else {
                    throw failure(
                        .quotaExceeded, what,
                        "volume \(volume) is in \(count) groups, and \(ElementAccessGroup.limitPerVolume) are allowed")
                }
            }
            try await changeGroup(what, id, ["volumes": .integers(new)], done: .alreadyExists)
        }

        /// Those that are not in the group: success.
        public func removeVolumes(_ volumes: [Int64], from id: Int64) async throws(StorageError) {
            let what = "RemoveVolumesFromVolumeAccessGroup"
            guard let group = try await accessGroup(id) else { return }
            let gone = volumes.filter { group.volumeIDs.contains($0) }
            guard !gone.isEmpty else { return }
            try await changeGroup(what, id, ["volumes": .integers(gone)], done: .notFound)
        }

        /// `done` is what the array says when somebody else did it meanwhile.
        private func changeGroup(
            _ method: String, _ id: Int64, _ parameters: ElementParameters, done: StorageError.Code
        ) async throws(StorageError) {
            var parameters = parameters
            parameters["volumeAccessGroupID"] = .integer(id)
            do throws(ElementCallFailure) {
                let _: ElementNothing = try await callUntilRefused(method, parameters)
            } catch {
                if case .refused(let refusal) = error, refusal.code == done,
                    !refusal.isOne(of: ["xvolumeaccessgroupiddoesnotexist"]) || done == .notFound
                {
                    return
                }
                throw storageError(error, method, at: "group \(id)", parameters)
            }
        }

        private func changed(_ id: Int64, _ what: String) async throws(StorageError) -> ElementAccessGroup {
            guard let group = try await accessGroup(id) else { throw missing(id, what) }
            return group
        }

        private func missing(_ id: Int64, _ what: String) -> StorageError {
            failure(.notFound, what, "the array has no volume access group \(id)")
        }

        private func checkInitiators(_ count: Int, _ what: String, _ place: String) throws(StorageError) {
            guard count <= ElementAccessGroup.initiatorLimit else {
                throw failure(
                    .quotaExceeded, what,
                    "\(place) would have \(count) initiators, and \(ElementAccessGroup.initiatorLimit) are allowed")
            }
        }
    }
#endif
