#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import TGTControl

    extension TGTProvisioner {
        public func snapshots(of id: LUN.ID?) async throws(StorageError) -> [LUNSnapshot] {
            let state = try await current()
            return state.units.filter { $0.phase != .deleting && (id == nil || $0.id == id) }.flatMap { unit in
                unit.snapshots.filter { $0.copier == nil }.map { describe($0, of: unit.id) }
            }
        }

        private func describe(_ snapshot: TGTState.Snapshot, of unit: UInt64) -> LUNSnapshot {
            LUNSnapshot(
                id: snapshot.id, unit: unit, name: snapshot.name, size: snapshot.size,
                createdAt: snapshot.createdAt, ticket: snapshot.ticket)
        }

        public func createSnapshot(
            _ name: String, of id: LUN.ID, ticket: String, isQuiet: Bool
        ) async throws(StorageError) -> LUNSnapshot {
            let what = "create snapshot"
            let now = Int64(Date().timeIntervalSince1970)
            let begun = try await withState(what) { (state) async throws(StorageError) in
                let unit = try self.find(id, what, state)
                if let made = unit.snapshots.first(where: { $0.ticket == ticket && $0.copier == nil }) {
                    return (made, false)
                }
                guard !unit.snapshots.contains(where: { $0.name == name }) else {
                    throw self.failure(.alreadyExists, what, id, "a snapshot has the name \(name)")
                }
                let number = state.takeID()
                var snapshot = TGTState.Snapshot(
                    id: number, name: name, file: TGTState.file(ofSnapshot: number), size: unit.size, createdAt: now,
                    ticket: ticket)
                if try await self.store.shareBlocks(of: unit.file, as: snapshot.file, size: unit.size) {
                    state[id]?.snapshots.append(snapshot)
                    return (snapshot, false)
                }
                snapshot.copier = try self.thisProcess(what, id)
                try await self.freeze(id, what, &state, isQuiet: isQuiet)
                state[id]?.snapshots.append(snapshot)
                return (snapshot, true)
            }
            if !begun.1 { return describe(begun.0, of: id) }
            let snapshot = begun.0
            return try await copying(what, id, isFrozen: !isQuiet) { () async throws(StorageError) in
                let source = try self.find(id, what, try await self.current())
                try await self.store.copy(source.file, to: snapshot.file, size: snapshot.size)
            } finish: { (state, isComplete) async throws(StorageError) in
                guard let index = state[id]?.snapshots.firstIndex(where: { $0.id == snapshot.id }) else { return }
                if isComplete {
                    state[id]?.snapshots[index].copier = nil
                } else {
                    state[id]?.snapshots.remove(at: index)
                }
                if !isComplete { try await self.store.remove([snapshot.file]) }
            } result: { _ in
                self.describe(snapshot, of: id)
            }
        }

        public func deleteSnapshot(_ snapshot: LUNSnapshot.ID, of id: LUN.ID) async throws(StorageError) {
            try await withState("delete snapshot") { (state) async throws(StorageError) in
                guard let index = state[id]?.snapshots.firstIndex(where: { $0.id == snapshot }),
                    let removed = state[id]?.snapshots.remove(at: index)
                else { return }
                // First the name: a file that nobody knows is removed later.
                try await self.store.save(state)
                try await self.store.remove([removed.file])
            }
        }

        public func clone(
            _ source: LUN.ID, snapshot: LUNSnapshot.ID?, isQuiet: Bool, _ request: LUNRequest
        ) async throws(StorageError) -> LUN {
            let what = "clone unit"
            let (clone, file, needsCopy) = try await withState(what) { (state) async throws(StorageError) in
                let unit = try self.find(source, what, state)
                let file: String
                if let snapshot {
                    guard let found = unit.snapshots.first(where: { $0.id == snapshot && $0.copier == nil }) else {
                        throw self.failure(.notFound, what, source, "there is no such snapshot")
                    }
                    file = found.file
                } else {
                    file = unit.file
                }
                if let made = state.units.first(where: { $0.mark.ticket == request.mark.ticket && $0.phase == .ready })
                {
                    return (made, file, false)
                }
                let id = state.takeID()
                var clone = TGTState.Unit(
                    id: id, file: TGTState.file(ofUnit: id), size: request.size, qos: request.qos, mark: request.mark,
                    phase: .ready)
                if try await self.store.shareBlocks(of: file, as: clone.file, size: request.size) {
                    state[id] = clone
                    try await self.store.save(state)
                    try await self.serve(&state, new: id)
                    return (clone, file, false)
                }
                clone.phase = .making
                clone.copier = try self.thisProcess(what, source)
                if snapshot == nil { try await self.freeze(source, what, &state, isQuiet: isQuiet) }
                state[id] = clone
                return (clone, file, true)
            }
            if !needsCopy { return await describe(clone, try await current()) }
            return try await copying(what, source, isFrozen: snapshot == nil && !isQuiet, new: clone.id) {
                () async throws(StorageError) in
                try await self.store.copy(file, to: clone.file, size: clone.size)
            } finish: { (state, isComplete) async throws(StorageError) in
                guard isComplete else {
                    state[clone.id] = nil
                    return try await self.store.remove([clone.file])
                }
                state[clone.id]?.phase = .ready
                state[clone.id]?.copier = nil
            } result: { (state) async throws(StorageError) in
                await self.describe(try self.find(clone.id, what, state), state)
            }
        }

        public func rollBack(_ id: LUN.ID, to snapshot: LUNSnapshot.ID) async throws(StorageError) {
            let what = "roll back unit"
            let (source, file, size) = try await withState(what) { (state) async throws(StorageError) in
                let unit = try self.find(id, what, state)
                guard let found = unit.snapshots.first(where: { $0.id == snapshot && $0.copier == nil }) else {
                    throw self.failure(.notFound, what, id, "there is no such snapshot")
                }
                guard !unit.isDevice else {
                    throw self.failure(.notSupported, what, id, "it is a block device")
                }
                try await self.freeze(id, what, &state, isQuiet: false)
                let file = TGTState.file(ofUnit: state.takeID())
                state[id]?.newFile = file
                return (found.file, file, unit.size)
            }
            try await copying(what, id, isFrozen: true) { () async throws(StorageError) in
                if try await self.store.shareBlocks(of: source, as: file, size: size) { return }
                try await self.store.copy(source, to: file, size: size)
            } finish: { (state, isComplete) async throws(StorageError) in
                state[id]?.newFile = nil
                guard isComplete, var unit = state[id] else { return try await self.store.remove([file]) }
                let old = unit.file
                unit.file = file
                state[id] = unit
                try await self.store.save(state)
                try await self.serveAnew(unit, &state)
                try await self.store.remove([old])
            } result: { _ in
            }
        }

        /// Nobody is logged in to the unit, nor can be, until the copy of it is done.
        private func freeze(
            _ id: LUN.ID, _ what: String, _ state: inout TGTState, isQuiet: Bool
        ) async throws(StorageError) {
            if isQuiet { return }
            let unit = try find(id, what, state)
            if let copier = unit.copier, unit.isFrozen {
                throw failure(.busy, what, id, "\(copier) copies it")
            }
            // It may have lost its session just now, and be about to log in again.
            if let holder = unit.mark.holder, !TGTState.isGone(holder.process) {
                throw inUse(id, what, "\(holder.process), initiator \(holder.initiator)")
            }
            let name = state.targetName(id)
            let target = try await servedIfRunning().first { $0.name == name }
            state[id]?.copier = try thisProcess(what, id)
            guard let target else { return }
            // Written first: who dies now leaves a unit that lets nobody in, until it is found.
            try await store.save(state)
            do throws(StorageError) {
                try await shut(target)
                if let connection = try await control.connections(target: target.number).first {
                    throw inUse(id, what, connection.initiator)
                }
            } catch {
                state[id]?.copier = nil
                try await store.save(state)
                try? await serve(&state)
                throw error
            }
        }

        private func inUse(_ id: LUN.ID, _ what: String, _ user: String) -> StorageError {
            failure(.busy, what, id, "\(user) uses it, and its file system has no shared blocks")
        }

        private func thisProcess(_ what: String, _ id: LUN.ID) throws(StorageError) -> ProcessIdentity {
            guard let process = ProcessIdentity.current() else {
                throw failure(.internalError, what, id, "/proc does not say which process this is")
            }
            return process
        }

        /// Copies without the lock, and then lets initiators in again and `finish`es with it, whether the copy
        /// succeeded or not.
        private func copying<Result: Sendable>(
            _ what: String, _ id: LUN.ID, isFrozen: Bool, new: LUN.ID? = nil,
            _ copy: () async throws(StorageError) -> Void,
            finish: @escaping @Sendable (inout TGTState, _ isComplete: Bool) async throws(StorageError) -> Void,
            result: @escaping @Sendable (TGTState) async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            var trouble: StorageError?
            do throws(StorageError) { try await copy() } catch { trouble = error }
            let isComplete = trouble == nil
            let outcome = try await uncancelled { () async throws(StorageError) in
                try await self.withState(what) { (state) async throws(StorageError) in
                    if isFrozen { state[id]?.copier = nil }
                    try await finish(&state, isComplete)
                    try await self.store.save(state)
                    try await self.serve(&state, new: new)
                    return isComplete ? try await result(state) : nil
                }
            }
            if let trouble { throw trouble }
            guard let outcome else { throw failure(.internalError, what, id, "the copy is not there") }
            return outcome
        }
    }
#endif
