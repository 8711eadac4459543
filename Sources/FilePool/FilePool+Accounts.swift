import BlockStorage
import IORuntime

extension FilePool {
    public func provisioned() async throws(StorageError) -> Provisioned {
        try await withAccounts { $0.sum }
    }

    /// Runs `body`, which changes the pool's declarations, while no other process on any host does. It must be short,
    /// and is finished even when the task is cancelled. Not reentrant.
    func withAccounts<Result: Sendable>(
        _ body: @escaping @Sendable (inout Accounts) async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        try await uncancelled { () async throws(StorageError) in
            try await self.names.withName(Self.accountsTurn) { () async throws(StorageError) in
                try await self.withLockedAccounts(body)
            }
        }
    }

    /// What only one operation of this process has at a time: no volume can be called that.
    private static let accountsTurn = "/accounts"

    private func withLockedAccounts<Result: Sendable>(
        _ body: (inout Accounts) async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        try await accountsFile.lock()
        do throws(StorageError) {
            let changedAt = try await store.status(of: HiddenName.declarations, followsLinks: false).modifiedAt
            var accounts = try await Accounts(
                store, bootTag: bootTag, file: accountsFile, sum: try await accountsFile.sum(asOf: changedAt))
            try await declareBytes(in: &accounts)
            let result: Result
            do throws(StorageError) {
                result = try await body(&accounts)
            } catch {
                try? await accounts.save()
                throw error
            }
            try await accounts.save()
            await accountsFile.unlock()
            return result
        } catch {
            await accountsFile.unlock()
            throw error
        }
    }

    /// Counts what a version that did not count declared, and what somebody died renaming.
    private func declareBytes(in accounts: inout Accounts) async throws(StorageError) {
        for name in accounts.uncounted {
            guard let file = try await findIfPresent(name), var declaration = file.declaration else { continue }
            declaration = declaration.moved(from: nil)
            if declaration.bytes == nil {
                declaration.bytes = file.status.size
                if declaration.format == .qcow2 {
                    let facts = try await facts(of: file)
                    let count = UInt64(facts.snapshots.count) + 1
                    declaration.bytes = facts.virtualSize.multipliedReportingOverflow(by: count).partialValue
                }
            }
            try await accounts.declare(name, declaration)
        }
    }

    /// As `withAccounts`, for what may not fit: what dead processes hold is taken back before it is refused.
    func withAdmission<Result: Sendable>(
        _ body: @escaping @Sendable (inout Accounts) async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        do throws(StorageError) {
            return try await withAccounts(body)
        } catch {
            guard error.code == .quotaExceeded, (try? await removeLeftovers()) != nil else { throw error }
            return try await withAccounts(body)
        }
    }

    /// Throws `quotaExceeded` when `new` does not fit in the place of `old` beside all the rest.
    func admit(
        _ new: Provisioned, insteadOf old: Provisioned = Provisioned(), beside accounts: Accounts, _ what: String,
        _ name: String
    ) async throws(StorageError) {
        let demand = Provisioned(
            bytes: new.bytes - min(new.bytes, old.bytes), minIOPS: new.minIOPS - min(new.minIOPS, old.minIOPS))
        if options.limits == .none || demand == Provisioned() { return }
        try options.limits.check(
            demand, beside: accounts.sum, capacity: try await store.space().capacity, what, at: "\(self.name)/\(name)")
    }

    /// Changes what is declared of `name`. More than before must fit.
    @discardableResult
    func amend(
        _ name: String, _ what: String, _ change: @escaping @Sendable (inout Declaration) -> Void
    ) async throws(StorageError) -> Declaration {
        try await withAdmission { (accounts) async throws(StorageError) in
            guard let old = try await accounts.declaration(of: name) else {
                throw self.failure(.notFound, what, name, "there is no volume or template of that name")
            }
            var new = old
            change(&new)
            if new == old { return old }
            try await self.admit(new.provisioned, insteadOf: old.provisioned, beside: accounts, what, name)
            try await accounts.declare(name, new)
            return new
        }
    }

    /// Runs `body`, which brings a volume that this process has open for writing to at most `bytes` logical bytes, and
    /// declares what it has after that.
    ///
    /// The room is taken before: a crash leaves too much declared, and never too little. Whoever next opens the volume
    /// for writing corrects that.
    func withRoom(
        for bytes: UInt64, of name: String, _ volume: any Volume, _ what: String,
        _ body: () async throws(StorageError) -> Void
    ) async throws(StorageError) {
        try await amend(name, what) { $0.bytes = max($0.bytes ?? 0, bytes) }
        do throws(StorageError) {
            try await body()
        } catch {
            try? await settle(name, volume, what)
            throw error
        }
        try await settle(name, volume, what)
    }

    /// Declares the logical bytes that a volume has, which this process has open for writing.
    func settle(_ name: String, _ volume: any Volume, _ what: String) async throws(StorageError) {
        let bytes = Self.logicalBytes(of: volume)
        try await withAccounts { (accounts) async throws(StorageError) in
            guard var declaration = try await accounts.declaration(of: name), declaration.bytes != bytes else { return }
            // It is there, whether it fits or not.
            declaration.bytes = bytes
            try await accounts.declare(name, declaration)
        }
    }

    public func setQoS(_ policy: QoSPolicy?, of volume: String) async throws(StorageError) {
        try VolumeName.check(volume)
        try checkPolicy(policy, "set QoS", of: volume)
        let policy = try policy == QoSPolicy() ? nil : policy
        // What nobody adopted has nothing to keep it in.
        if try await findIfPresent(volume) != nil { _ = try await findManaged(volume, "set QoS") }
        let declaration = try await amend(volume, "set QoS") { declaration in
            if declaration.kind != .template { declaration.qos = policy }
        }
        guard declaration.kind != .template else {
            throw failure(.invalidArgument, "set QoS", volume, "it is a template")
        }
        try await store.synchronize(HiddenName.declarations)
    }

    public func reserveVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) {
        try VolumeName.check(name)
        try checkSize(request.size, "reserve volume", name)
        try checkPolicy(request.qos, "reserve volume", of: name)
        let reservation = Declaration(
            .reservation, request.format, request.provisioning, bytes: request.size, qos: request.qos)
        try await withAdmission { (accounts) async throws(StorageError) in
            let existing = try await accounts.declaration(of: name)
            if existing == reservation { return }
            guard existing == nil, try await self.statusIfPresent(name) == nil else { throw self.taken(name) }
            try await self.admit(reservation.provisioned, beside: accounts, "reserve volume", name)
            try await accounts.declare(name, reservation)
        }
        try await store.synchronize(HiddenName.declarations)
    }
}
