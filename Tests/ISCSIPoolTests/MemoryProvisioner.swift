#if ISCSI
    import BlockStorage
    import IORuntime

    @testable import ISCSIPool

    /// An array in memory, whose calls can fail before or after they are done, and take turns with others'.
    final class MemoryProvisioner: LUNProvisioner {
        struct State {
            var nextID: UInt64 = 1
            var units: [LUN] = []
            var snapshots: [LUNSnapshot] = []
            var sessions: [LUN.ID: [LUNSession]] = [:]
            /// No other array has it.
            let identity = ISCSIPool.unique()
        }

        /// What becomes of a call.
        enum Fate { case done, lost, doneAndLost }

        let kind = "memory"
        let place = "memory"
        let profile: LUNProfile
        let state: Locked<State>
        private let fate: @Sendable (String) -> Fate
        /// Whether a unit is seen only some time after it has got its number.
        private let isSlow: Bool

        init(
            profile: LUNProfile = .target, isSlow: Bool = false,
            fate: @escaping @Sendable (String) -> Fate = { _ in .done }
        ) {
            (self.profile, self.isSlow, self.fate) = (profile, isSlow, fate)
            state = Locked(State())
        }

        /// The same array, for calls of another fate.
        init(_ other: MemoryProvisioner, fate: @escaping @Sendable (String) -> Fate) {
            (profile, isSlow, state, self.fate) = (other.profile, other.isSlow, other.state, fate)
        }

        private func call<Result>(
            _ name: String, _ body: (inout State) throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            for _ in 0..<Int.random(in: 0...3) { await Task.yield() }
            let fate = fate(name)
            let lost = StorageError(.connectionLost, name, at: place, why: "the test says so")
            if fate == .lost { throw lost }
            let result = try state.withLock { state throws(StorageError) in try body(&state) }
            if fate == .doneAndLost { throw lost }
            return result
        }

        func identity() async throws(StorageError) -> String { state.withLock(\.identity) }

        func capacity() async throws(StorageError) -> LUNCapacity {
            try await call("capacity") { _ in LUNCapacity(bytes: 1 << 40, used: 0) }
        }

        func units() async throws(StorageError) -> [LUN] { try await call("units") { $0.units } }

        func unit(_ id: LUN.ID) async throws(StorageError) -> LUN? {
            try await call("unit") { state in state.units.first { $0.id == id } }
        }

        func create(_ request: LUNRequest) async throws(StorageError) -> LUN {
            let id = state.withLock { state in
                defer { state.nextID += 1 }
                return state.nextID
            }
            if isSlow { for _ in 0..<Int.random(in: 0...20) { await Task.yield() } }
            return try await call("create") { state in
                let unit = LUN(
                    id: id, name: "unit", path: ISCSIPath(target: "iqn.2026-01.org.sluice:\(id)", lun: 1),
                    size: request.size, qos: request.qos, mark: request.mark)
                state.units.append(unit)
                return unit
            }
        }

        func clone(
            _ source: LUN.ID, snapshot: LUNSnapshot.ID?, isQuiet: Bool, _ request: LUNRequest
        ) async throws(StorageError) -> LUN {
            try await call("clone") { state throws(StorageError) in
                guard state.units.contains(where: { $0.id == source }) else {
                    throw StorageError(.notFound, "clone", at: "\(source)")
                }
                defer { state.nextID += 1 }
                let unit = LUN(
                    id: state.nextID, name: "unit",
                    path: ISCSIPath(target: "iqn.2026-01.org.sluice:\(state.nextID)", lun: 1), size: request.size,
                    qos: request.qos, mark: request.mark)
                state.units.append(unit)
                return unit
            }
        }

        func change(_ id: LUN.ID, _ change: LUNChange) async throws(StorageError) -> LUN {
            try await call("change") { state throws(StorageError) in
                guard let index = state.units.firstIndex(where: { $0.id == id }) else {
                    throw StorageError(.notFound, "change", at: "\(id)")
                }
                if case .some(let expected) = change.expected, expected != state.units[index].mark {
                    throw StorageError(.conflict, "change", at: "\(id)")
                }
                if let mark = change.mark { state.units[index].mark = mark }
                if let size = change.size { state.units[index].size = size }
                if let isLocked = change.isLocked { state.units[index].isLocked = isLocked }
                switch change.qos {
                case nil: break
                case .some(.none): state.units[index].qos = nil
                case .policy(let policy): state.units[index].qos = policy
                }
                return state.units[index]
            }
        }

        func delete(_ id: LUN.ID) async throws(StorageError) {
            try await call("delete") { state in
                state.units.removeAll { $0.id == id }
                state.snapshots.removeAll { $0.unit == id }
            }
        }

        func snapshots(of id: LUN.ID?) async throws(StorageError) -> [LUNSnapshot] {
            try await call("snapshots") { state in state.snapshots.filter { id == nil || $0.unit == id } }
        }

        func createSnapshot(
            _ name: String, of id: LUN.ID, ticket: String, isQuiet: Bool
        ) async throws(StorageError) -> LUNSnapshot {
            try await call("createSnapshot") { state throws(StorageError) in
                guard let unit = state.units.first(where: { $0.id == id }) else {
                    throw StorageError(.notFound, "snapshot", at: "\(id)")
                }
                defer { state.nextID += 1 }
                let snapshot = LUNSnapshot(
                    id: state.nextID, unit: id, name: name, size: unit.size, createdAt: 0, ticket: ticket)
                state.snapshots.append(snapshot)
                return snapshot
            }
        }

        func deleteSnapshot(_ snapshot: LUNSnapshot.ID, of id: LUN.ID) async throws(StorageError) {
            try await call("deleteSnapshot") { $0.snapshots.removeAll { $0.id == snapshot } }
        }

        func rollBack(_ id: LUN.ID, to snapshot: LUNSnapshot.ID) async throws(StorageError) {
            try await call("rollBack") { _ in }
        }

        func access(to unit: LUN, for initiator: String) async throws(StorageError) -> LUNAccess {
            _ = fate("access")
            throw StorageError(.connectionLost, "log in", at: place)
        }

        func sessions(of id: LUN.ID) async throws(StorageError) -> [LUNSession] {
            try await call("sessions") { $0.sessions[id] ?? [] }
        }

        /// A pool on the array.
        func open(
            _ change: (inout ISCSIPool.Options) -> Void = { _ in }
        ) async throws(StorageError) -> ISCSIPool {
            var options = ISCSIPool.Options(initiatorName: "iqn.2026-01.org.sluice:host")
            options.deadline = .seconds(60)
            change(&options)
            return try await ISCSIPool.open("p", provisioner: self, options: options)
        }
    }

    /// Intents that outlive the pool that records them.
    final class MemoryIntents: IntentLog {
        private let state = Locked<(next: Int64, intents: [Int64: Intent])>((1, [:]))

        func begin(_ intent: Intent) async throws(StorageError) -> IntentToken {
            state.withLock { state in
                state.intents[state.next] = intent
                defer { state.next += 1 }
                return IntentToken(id: state.next)
            }
        }

        func end(_ token: IntentToken) async throws(StorageError) {
            _ = state.withLock { $0.intents.removeValue(forKey: token.id) }
        }

        var all: [Intent] { state.withLock { state in state.intents.sorted { $0.key < $1.key }.map(\.value) } }

        func clear() { state.withLock { $0.intents = [:] } }
    }
#endif
