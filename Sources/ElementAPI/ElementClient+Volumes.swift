#if ISCSI
    import BlockStorage

    extension ElementClient {
        private struct List: Decodable, Sendable { var volumes: [ElementVolume] }
        private struct One: Decodable, Sendable { var volume: ElementVolume? }

        private struct Created: ElementMade {
            var volumeID: Int64
            var volume: ElementVolume?
            var madeID: Int64 { volumeID }
        }

        private struct Cloning: ElementMade {
            var volumeID: Int64
            var asyncHandle: Int64
            var madeID: Int64 { volumeID }
        }

        // MARK: Lists

        /// The volumes of one account, or of all (nil), of one status, or of any, in the order of their numbers.
        public func volumes(
            of accountID: Int64? = nil, status: ElementVolume.Status? = nil
        ) async throws(StorageError) -> [ElementVolume] {
            try await volumes(accountID, nil, status, within: options.deadline)
        }

        /// Those with this name: there may be several, those that are deleted among them.
        public func volumes(
            named name: String, of accountID: Int64? = nil
        ) async throws(StorageError) -> [ElementVolume] {
            try await volumes(accountID, name, nil, within: options.deadline)
        }

        private func volumes(
            _ accountID: Int64?, _ name: String?, _ status: ElementVolume.Status?, within time: Duration
        ) async throws(StorageError) -> [ElementVolume] {
            var parameters: ElementParameters = ["includeVirtualVolumes": .flag(false)]
            if let accountID { parameters["accounts"] = .integers([accountID]) }
            if let name { parameters["volumeName"] = .text(name) }
            if let status { parameters["volumeStatus"] = .text(status.rawValue) }
            let all = try await pages("ListVolumes", "startVolumeID", parameters, within: time) { (list: List) in
                list.volumes
            }
            // An array that does not know one of the filters gives more.
            return all.filter { volume in
                (accountID ?? volume.accountID) == volume.accountID && (name ?? volume.name) == volume.name
                    && (status ?? volume.status) == volume.status
            }
        }

        /// One volume, deleted or not; nil where there is none with this number, any more.
        ///
        /// Throws `inputOutput` where the array answers with another volume.
        public func volume(_ id: Int64) async throws(StorageError) -> ElementVolume? {
            let list: List
            let parameters: ElementParameters = ["volumeIDs": .integers([id])]
            do throws(ElementCallFailure) {
                list = try await callUntilRefused("ListVolumes", parameters)
            } catch {
                if case .refused(let refusal) = error, refusal.code == .notFound { return nil }
                throw storageError(error, "ListVolumes", at: "volume \(id)", parameters)
            }
            guard let volume = list.volumes.first else { return nil }
            guard list.volumes.count == 1 else {
                throw failure(.inputOutput, "ListVolumes", "asked for volume \(id), the array gives several")
            }
            return try checked(volume, id, "ListVolumes")
        }

        /// Throws `notFound` where there is none that hosts can use.
        private func existing(_ id: Int64, _ what: String) async throws(StorageError) -> ElementVolume {
            guard let volume = try await volume(id), volume.status != .deleted else {
                throw failure(.notFound, what, "the array has no volume \(id)")
            }
            return volume
        }

        private func checked(
            _ volume: ElementVolume, _ id: Int64, _ what: String
        ) throws(StorageError) -> ElementVolume {
            guard volume.id == id else {
                throw failure(.inputOutput, what, "asked for volume \(id), the array answers with \(volume.id)")
            }
            return volume
        }

        // MARK: Making

        /// Makes a volume that reads as zeros.
        ///
        /// An answer that is lost is looked up by the name, the account and the attributes before the volume is made again.
        /// Throws `invalidArgument` for attributes that the array would not keep.
        public func createVolume(_ request: ElementVolumeRequest) async throws(StorageError) -> ElementVolume {
            let what = "CreateVolume"
            try request.attributes.check(what, at: request.name)
            var parameters: ElementParameters = [
                "name": .text(request.name), "accountID": .integer(request.accountID),
                "totalSize": .count(request.size), "enable512e": .flag(request.emulates512),
                "attributes": .attributes(request.attributes),
            ]
            if let policy = request.qosPolicyID {
                parameters["qosPolicyID"] = .integer(policy)
                parameters["associateWithQoSPolicy"] = .flag(true)
            } else if let qos = request.qos {
                parameters["qos"] = .qos(qos)
            }
            let (id, answer): (Int64, Created?) = try await make(what, at: request.name, parameters) {
                time throws(StorageError) in
                try await self.made(request.name, request.accountID, request.attributes, within: time)
            } discard: { id throws(StorageError) in
                try await self.deleteVolume(id)
                try await self.purgeVolume(id)
            }
            let volume =
                if let volume = answer?.volume { try checked(volume, id, what) } else { try await existing(id, what) }
            guard volume.name == request.name, volume.accountID == request.accountID else {
                throw failure(.inputOutput, what, "volume \(id) is not what the array was asked for")
            }
            return volume
        }

        /// The numbers of the volumes that a request for one like this can have made.
        private func made(
            _ name: String, _ accountID: Int64?, _ attributes: ElementAttributes, within time: Duration
        ) async throws(StorageError) -> [Int64] {
            try await volumes(accountID, name, nil, within: time)
                .filter { $0.status != .deleted && $0.attributes.contains(attributes) }.map(\.id)
        }

        /// Has the array copy a volume, or a snapshot of it: `finishClone` waits for it.
        ///
        /// The clone has the source's policy. An answer that is lost is looked up by the name and the attributes before the
        /// request is sent again.
        public func startClone(_ request: ElementCloneRequest) async throws(StorageError) -> ElementClone {
            try request.attributes.check("CloneVolume", at: request.name)
            var parameters: ElementParameters = [
                "volumeID": .integer(request.volumeID), "name": .text(request.name),
                "attributes": .attributes(request.attributes), "access": .text(ElementVolume.Access.readWrite.rawValue),
            ]
            if let snapshot = request.snapshotID { parameters["snapshotID"] = .integer(snapshot) }
            if let account = request.accountID { parameters["newAccountID"] = .integer(account) }
            if let size = request.size { parameters["newSize"] = .count(size) }
            let (id, answer): (Int64, Cloning?) = try await make("CloneVolume", at: request.name, parameters) {
                time throws(StorageError) in
                try await self.made(request.name, request.accountID, request.attributes, within: time)
                    .filter { $0 != request.volumeID }
            } discard: { id throws(StorageError) in
                try await self.deleteVolume(id)
                try await self.purgeVolume(id)
            }
            guard id != request.volumeID else {
                throw failure(.inputOutput, "CloneVolume", "the array gives the source as its clone")
            }
            return ElementClone(volumeID: id, asyncHandle: answer?.asyncHandle)
        }

        /// Waits until a clone is complete. Throws `timedOut` after `ElementOptions.operationTime`, and what went wrong
        /// where the array says so; the volume is there then, incomplete.
        public func finishClone(_ clone: ElementClone) async throws(StorageError) -> ElementVolume {
            let stopwatch = stopwatch()
            var interval = options.pollInterval
            var handle = clone.asyncHandle
            while true {
                if let asked = handle {
                    switch try await asyncResult(asked) {
                    case .running: break
                    case .complete(let volumeID):
                        guard volumeID == nil || volumeID == clone.volumeID else {
                            throw failure(
                                .inputOutput, "CloneVolume",
                                "the array made volume \(volumeID ?? 0) where \(clone.volumeID) was to be the clone")
                        }
                        handle = nil
                    // Somebody else took the result, or the array forgot it: the volume itself tells.
                    case .unknown: handle = nil
                    }
                }
                if handle == nil {
                    let volume = try await existing(clone.volumeID, "CloneVolume")
                    if volume.status == .active { return volume }
                }
                guard stopwatch.elapsed + interval < options.operationTime else {
                    throw failure(
                        .timedOut, "CloneVolume",
                        "volume \(clone.volumeID) is not complete after \(options.operationTime)")
                }
                try await pause(interval, "CloneVolume")
                interval = min(interval * 2, options.pollInterval * 50)
            }
        }

        // MARK: Changing

        /// Changes what is given. Throws `notFound` for a volume that is not there, and `invalidArgument` for a smaller size.
        public func modifyVolume(
            _ id: Int64, _ change: ElementVolumeChange
        ) async throws(StorageError) -> ElementVolume {
            let what = "ModifyVolume"
            var parameters: ElementParameters = ["volumeID": .integer(id)]
            if let size = change.size { parameters["totalSize"] = .count(size) }
            if let qos = change.qos { parameters["qos"] = .qos(qos) }
            if let account = change.accountID { parameters["accountID"] = .integer(account) }
            if let access = change.access { parameters["access"] = .text(access.rawValue) }
            if let attributes = change.attributes {
                try attributes.check(what, at: "volume \(id)")
                parameters["attributes"] = .attributes(attributes)
            }
            let answer: One = try await call(what, at: "volume \(id)", parameters)
            if let volume = answer.volume { return try checked(volume, id, what) }
            return try await existing(id, what)
        }

        /// Ends the sessions of a volume, and keeps it until it is purged. One that is not there, or is deleted: success.
        public func deleteVolume(_ id: Int64) async throws(StorageError) {
            try await remove("DeleteVolume", "volume \(id)", ["volumeID": .integer(id)])
        }

        /// Removes a deleted volume with its snapshots for good. One that is not there: success.
        public func purgeVolume(_ id: Int64) async throws(StorageError) {
            try await remove("PurgeDeletedVolume", "volume \(id)", ["volumeID": .integer(id)])
        }

        /// Calls a method that removes something, whose absence is success.
        func remove(
            _ method: String, _ place: String, _ parameters: ElementParameters
        ) async throws(StorageError) {
            do throws(ElementCallFailure) {
                let _: ElementNothing = try await callUntilRefused(method, parameters)
            } catch {
                if case .refused(let refusal) = error, refusal.code == .notFound { return }
                throw storageError(error, method, at: place, parameters)
            }
        }
    }
#endif
