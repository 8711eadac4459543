#if ISCSI
    import BlockStorage

    /// Tells of every call to a provisioner before it is made.
    struct ObservedProvisioner: LUNProvisioner {
        private let base: any LUNProvisioner
        private let observer: @Sendable (String) -> Void

        init(_ base: any LUNProvisioner, _ observer: @escaping @Sendable (String) -> Void) {
            (self.base, self.observer) = (base, observer)
        }

        var kind: String { base.kind }
        var place: String { base.place }
        var profile: LUNProfile { base.profile }
        var health: PoolHealth { base.health }

        func identity() async throws(StorageError) -> String {
            observer("identity")
            return try await base.identity()
        }

        func capacity() async throws(StorageError) -> LUNCapacity {
            observer("capacity")
            return try await base.capacity()
        }

        func units() async throws(StorageError) -> [LUN] {
            observer("units")
            return try await base.units()
        }

        func unit(_ id: LUN.ID) async throws(StorageError) -> LUN? {
            observer("unit")
            return try await base.unit(id)
        }

        func allocatedSizes(of units: [LUN.ID]) async throws(StorageError) -> [LUN.ID: UInt64] {
            observer("allocatedSizes")
            return try await base.allocatedSizes(of: units)
        }

        func create(_ request: LUNRequest) async throws(StorageError) -> LUN {
            observer("create")
            return try await base.create(request)
        }

        func clone(
            _ source: LUN.ID, snapshot: LUNSnapshot.ID?, isQuiet: Bool, _ request: LUNRequest
        ) async throws(StorageError) -> LUN {
            observer("clone")
            return try await base.clone(source, snapshot: snapshot, isQuiet: isQuiet, request)
        }

        func change(_ id: LUN.ID, _ change: LUNChange) async throws(StorageError) -> LUN {
            observer("change")
            return try await base.change(id, change)
        }

        func delete(_ id: LUN.ID) async throws(StorageError) {
            observer("delete")
            try await base.delete(id)
        }

        func snapshots(of id: LUN.ID?) async throws(StorageError) -> [LUNSnapshot] {
            observer("snapshots")
            return try await base.snapshots(of: id)
        }

        func createSnapshot(
            _ name: String, of id: LUN.ID, ticket: String, isQuiet: Bool
        ) async throws(StorageError) -> LUNSnapshot {
            observer("createSnapshot")
            return try await base.createSnapshot(name, of: id, ticket: ticket, isQuiet: isQuiet)
        }

        func deleteSnapshot(_ snapshot: LUNSnapshot.ID, of id: LUN.ID) async throws(StorageError) {
            observer("deleteSnapshot")
            try await base.deleteSnapshot(snapshot, of: id)
        }

        func rollBack(_ id: LUN.ID, to snapshot: LUNSnapshot.ID) async throws(StorageError) {
            observer("rollBack")
            try await base.rollBack(id, to: snapshot)
        }

        func access(to unit: LUN, for initiator: String) async throws(StorageError) -> LUNAccess {
            observer("access")
            return try await base.access(to: unit, for: initiator)
        }

        func withdrawAccess(to id: LUN.ID, for initiator: String) async throws(StorageError) {
            observer("withdrawAccess")
            try await base.withdrawAccess(to: id, for: initiator)
        }

        func lend(_ id: LUN.ID) async throws(StorageError) {
            observer("lend")
            try await base.lend(id)
        }

        func sessions(of id: LUN.ID) async throws(StorageError) -> [LUNSession] {
            observer("sessions")
            return try await base.sessions(of: id)
        }
    }
#endif
