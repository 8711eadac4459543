import BlockStorage
import IORuntime
import Logging

/// How operations of several steps begin, end, and are taken up again.
extension StorageHost {
    /// Runs `body` while no other operation of this host changes `shared`, or does anything with `exclusive`.
    ///
    /// What a dead process left of an operation on any of them is finished or undone first. Waits a bounded time for
    /// other operations, then throws `busy`, naming what is in the way where that is known. Not reentrant.
    func withVolumes<Result>(
        _ what: String, exclusive: [VolumeAddress] = [], shared: [VolumeAddress] = [],
        _ body: () async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        var uses: [VolumeAddress: OperationLocks.Use] = [:]
        for volume in shared { uses[volume.volume] = .shared }
        for volume in exclusive { uses[volume.volume] = .exclusive }
        // Who only uses a volume says more of it than that.
        return try await logging(what, exclusive.first ?? shared.first, doneAt: exclusive.isEmpty ? .debug : .info) {
            () async throws(StorageError) in try await whileHolding(uses, what, body)
        }
    }

    private func whileHolding<Result>(
        _ uses: [VolumeAddress: OperationLocks.Use], _ what: String,
        _ body: () async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        let deadline = ContinuousClock.now + operationWait
        while true {
            let held = try await acquire(uses, what, until: deadline)
            let result: Swift.Result<Result?, StorageError>
            var stale: [RecordedWorkflow] = []
            do throws(StorageError) {
                stale = try await intents.all(about: uses.keys)
                result = .success(stale.isEmpty ? try await body() : nil)
            } catch {
                result = .failure(error)
            }
            await held.release()
            if let result = try result.get() { return result }
            for recorded in stale.reversed() { try await settle(recorded, until: deadline) }
        }
    }

    private func acquire(
        _ uses: [VolumeAddress: OperationLocks.Use], _ what: String, until deadline: ContinuousClock.Instant
    ) async throws(StorageError) -> OperationLocks.Held {
        do {
            return try await locks.acquire(uses, what, until: deadline)
        } catch  where error.code == .busy && error.why.isEmpty {
            let running = try await intents.all(about: uses.keys).last
            let why = running.map { "\($0.workflow.description) by process \($0.processID) is under way" }
            throw StorageError(.busy, what, at: error.place, why: why ?? "another operation on it is under way")
        }
    }

    /// Records the workflow, and runs `body`, which ends it. When that fails, undoes what it did, or finishes it where
    /// it is past that. The locks of its volumes are held.
    func run<Result>(
        _ workflow: Workflow, _ body: (IntentToken) async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        if Task.isCancelled { throw StorageError(.cancelled, workflow.description) }
        do throws(StorageError) {
            return try await body(try await intents.begin(workflow))
        } catch {
            do throws(StorageError) {
                try await uncancelled { () async throws(StorageError) in
                    // Not by its token: what failed may be the recording, after it took effect.
                    for recorded in try await self.intents.all(about: workflow.volumes).reversed() {
                        try await self.recover(recorded.token)
                    }
                }
            } catch let failure {
                // Whoever next has to do with these volumes tries again.
                logger.warning("cannot undo \(workflow.description) yet: \(failure)")
            }
            throw error
        }
    }

    /// All that is known of a volume that an operation has made: it is too late to be cancelled.
    func detailsWhenDone(of volume: VolumeAddress) async throws(StorageError) -> VolumeDetails {
        try await uncancelled { () async throws(StorageError) in try await self.details(of: volume) }
    }

    /// Finishes or undoes what processes that died had begun; leaves alone what others are doing.
    func recoverAll() async {
        let count = await RunningAttachment.removeLeftovers(in: home.run)
        if count > 0 { logger.notice("swept what dead processes had left attached: \(count)") }
        do {
            let recorded = try await intents.all()
            if !recorded.isEmpty { await settle(recorded) }
        } catch {
            logger.warning("cannot read what interrupted operations left: \(error)")
        }
    }

    private static let recoveryWait = Duration.seconds(5)

    /// Settles what can be settled; no longer than `recoveryWait`, after which it goes on by itself: a pool that does
    /// not answer keeps nobody from the others.
    private func settle(_ recorded: [RecordedWorkflow]) async {
        let (ended, continuation) = AsyncStream.makeStream(of: Never.self)
        Task {
            await withDiscardingTaskGroup { group in
                for (_, recorded) in Dictionary(grouping: recorded, by: { Set($0.workflow.volumes.map(\.pool)) }) {
                    group.addTask { for recorded in recorded.reversed() { await self.settleOrWarn(recorded) } }
                }
            }
            continuation.finish()
        }
        let timer = Task {
            try? await Task.sleep(for: min(operationWait, Self.recoveryWait))
            continuation.finish()
        }
        for await _ in ended {}
        timer.cancel()
    }

    private func settleOrWarn(_ recorded: RecordedWorkflow) async {
        do {
            try await settle(recorded, until: .now)
        } catch  where error.code == .busy {
            logger.debug("\(recorded.workflow.description) is under way: \(error)")
        } catch {
            logger.warning("cannot undo \(recorded.workflow.description) yet: \(error)")
        }
    }

    /// Settles what was interrupted in a pool that is about to be removed. Throws `busy` while something is under way.
    func settleAll(in pool: String) async throws(StorageError) {
        for recorded in try await intents.all().reversed()
        where recorded.workflow.volumes.contains(where: { $0.pool == pool }) {
            do {
                try await settle(recorded, until: .now)
            } catch  where error.code != .busy {
                logger.warning("gave up \(recorded.workflow.description): \(error)")
            }
        }
    }

    /// Finishes or undoes a workflow that nobody runs any more.
    private func settle(
        _ recorded: RecordedWorkflow, until deadline: ContinuousClock.Instant
    ) async throws(StorageError) {
        var uses: [VolumeAddress: OperationLocks.Use] = [:]
        for volume in recorded.workflow.volumes { uses[volume] = .exclusive }
        let held = try await acquire(uses, "undo \(recorded.workflow.description)", until: deadline)
        var failure: StorageError?
        // The kernel takes what a process had in flight apart after it is gone, and its files are in use until then.
        for _ in 0..<40 {
            do throws(StorageError) {
                failure = nil
                try await recover(recorded.token)
            } catch {
                failure = error
            }
            guard failure?.code == .busy else { break }
            await IOExecutor.sleep(for: .milliseconds(25))
        }
        await held.release()
        if let failure { throw failure }
    }

    /// Finishes or undoes a workflow, whatever is left to do of it. The locks of its volumes are held.
    private func recover(_ token: IntentToken) async throws(StorageError) {
        guard let workflow = try await intents.workflow(token) else { return }
        // Without its pool nothing can be done, ever.
        for volume in workflow.volumes where try await catalog.pool(volume.pool) == nil {
            try await intents.end(token)
            logger.warning(
                "\(workflow.description) was interrupted, and pool \(volume.pool) is not registered any more")
            return
        }
        switch workflow {
        case .make(let record, let temporaryName):
            try await recover(token, making: record, builtAs: temporaryName)
        case .importTemplate(let template, let row):
            let found = try await describe(template)
            let isPublished = found?.isTemplate == true
            try await intents.end(token) { database in if isPublished, let row { try Catalog.save(row, database) } }
        case .delete(let volume):
            let isGone = try await describe(volume) == nil
            // Only what was lazy here had a reservation of this host's: another may have made one since.
            if isGone, try await catalog.volume(volume.name, in: volume.pool)?.lazySize != nil {
                try await cancelReservation(volume)
            }
            try await intents.end(token) { database in if isGone { try Catalog.forget(volume, database) } }
        case .rename(let volume, let newName):
            let newVolume = VolumeAddress(pool: volume.pool, name: newName)
            let (old, new) = (try await describe(volume), try await describe(newVolume))
            try await intents.end(token) { database in
                if old == nil, new != nil { try Catalog.move(volume, to: newVolume, database) }
            }
        case .allocate, .setPolicy, .moveLazy:
            try await recover(token, lazy: workflow)
        case .migrate(let migration):
            try await recover(token, migrating: migration)
        case .pool(let intent):
            try await pool(intent.pool).recover(intent)
            try await intents.end(token)
        }
        logger.notice("took up \(workflow.description) where it was interrupted")
    }

    private func recover(
        _ token: IntentToken, making record: VolumeRecord, builtAs temporaryName: String?
    ) async throws(StorageError) {
        if let temporaryName, try await exists(VolumeAddress(pool: record.pool, name: temporaryName)) {
            try await pool(record.pool).deleteVolume(temporaryName, policy: .refuse)
            return try await intents.end(token)
        }
        // What is there stays, whoever made it: by now it may hold somebody's data.
        let isThere = try await describe(record.address)?.isManaged == true
        try await intents.end(token) { database in if isThere { try Catalog.complete(record, database) } }
    }

    /// The volume or template as its pool describes it; nil when it is not there.
    func describe(_ volume: VolumeAddress) async throws(StorageError) -> VolumeDescription? {
        let pool = try await pool(volume.pool)
        do {
            return try await pool.describeVolume(volume.name)
        } catch  where error.code == .notFound {
            return nil
        }
    }

    func exists(_ volume: VolumeAddress) async throws(StorageError) -> Bool {
        do {
            return try await describe(volume) != nil
        } catch  where error.code == .corrupt {
            // What cannot be described is there.
            return true
        }
    }
}
