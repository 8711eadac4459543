import BlockStorage
import IORuntime

/// Choosing a pool by its tags.
extension StorageHost {
    /// Makes a volume in the pool that has all `tags` and the most room for it.
    ///
    /// The same again succeeds, in the pool where it is. Throws `notFound` with the reason why each pool was rejected.
    @discardableResult
    public func createVolume(
        _ name: String, tags: [String], _ requirements: VolumeRequirements
    ) async throws(StorageError) -> VolumeDetails {
        try VolumeName.check(name)
        var (pools, reasons) = try await rank(
            tags: tags,
            CreateRequest(size: requirements.size, provisioning: requirements.provisioning, qos: requirements.qos),
            isHolding: name)
        for pool in pools {
            do {
                return try await createVolume(VolumeAddress(pool: pool, name: name), requirements)
            } catch  where [.quotaExceeded, .noSpace, .notSupported].contains(error.code) {
                // Others were faster, or it makes no such volumes.
                reasons.append("\(pool): \(error.why)")
            }
        }
        throw Self.noPool(tags, reasons)
    }

    /// The pool that has all `tags` and the most room for a volume of `size` bytes with that policy.
    ///
    /// Throws `notFound` with the reason why each pool was rejected.
    public func choosePool(
        tags: [String], size: UInt64, qos: QoSPolicy? = nil
    ) async throws(StorageError) -> String {
        let (pools, reasons) = try await rank(tags: tags, CreateRequest(size: size, qos: qos))
        guard let best = pools.first else { throw Self.noPool(tags, reasons) }
        return best
    }

    private static func noPool(_ tags: [String], _ reasons: [String]) -> StorageError {
        StorageError(
            .notFound, "choose pool", at: tags.isEmpty ? "without tags" : "tags \(tags.joined(separator: ","))",
            why: reasons.isEmpty ? "no pool is registered" : reasons.joined(separator: "; "))
    }

    /// How long other pools may still answer once one has room.
    private static let patience: Duration = .seconds(1)

    /// What a pool said about a volume to be made in it.
    private enum Answer: Sendable {
        case details(PoolDetails, isHolding: Bool)
        case failure(StorageError)
        /// To whoever waits: long enough.
        case enough
    }

    /// The pools with all the tags and room for the volume, those with the most room first, but before them all the one
    /// that has a volume of the name `isHolding`; and why the others are not among them.
    ///
    /// All pools are asked at once. One that does not answer is waited for until its deadline, and only for a moment
    /// once another has room.
    private func rank(
        tags: [String], _ request: CreateRequest, isHolding name: String? = nil
    ) async throws(StorageError) -> (pools: [String], reasons: [String]) {
        var asked: [String: PoolRecord] = [:]
        var reasons: [String] = []
        for record in try await catalog.pools() {
            let missing = Set(tags).subtracting(record.tags).sorted()
            if missing.isEmpty {
                asked[record.name] = record
            } else {
                reasons.append("\(record.name) has no tag \(missing.joined(separator: ","))")
            }
        }
        var ranked: [(pool: String, isHolding: Bool, room: UInt64)] = []
        // Tasks of their own: nobody waits for one that hangs.
        let (answers, continuation) = AsyncStream.makeStream(of: (pool: String, answer: Answer).self)
        var tasks: [Task<Void, Never>] = []
        defer { for task in tasks { task.cancel() } }
        for record in asked.values {
            tasks.append(Task { continuation.yield((record.name, await self.ask(record, isHolding: name))) })
            let deadline = try PoolURL.parse(record.url).url.deadlineSeconds
            tasks.append(Task { await Self.remind(continuation, of: record.name, after: .seconds(deadline)) })
        }
        if !asked.isEmpty {
            for await (pool, answer) in answers {
                if case .enough = answer, pool.isEmpty { break }
                // One that answers after its deadline has been given up.
                guard let record = asked.removeValue(forKey: pool) else { continue }
                switch answer {
                case .details(let details, let isHolding):
                    let room = try room(in: details, record, request)
                    if let reason = room.missing, !isHolding {
                        reasons.append("\(pool) \(reason)")
                    } else {
                        if ranked.isEmpty {
                            tasks.append(Task { await Self.remind(continuation, of: "", after: Self.patience) })
                        }
                        ranked.append((pool, isHolding, room.bytes))
                    }
                case .failure(let error): reasons.append("\(pool) does not answer: \(error)")
                case .enough: reasons.append("\(pool) has not answered within its deadline")
                }
                if asked.isEmpty { break }
            }
        }
        if Task.isCancelled { throw StorageError(.cancelled, "choose pool") }
        reasons += asked.keys.sorted().map { "\($0) has not answered yet" }
        ranked.sort { ($0.isHolding ? 1 : 0, $0.room, $1.pool) > ($1.isHolding ? 1 : 0, $1.room, $0.pool) }
        return (ranked.map(\.pool), reasons)
    }

    private static func remind(
        _ continuation: AsyncStream<(pool: String, answer: Answer)>.Continuation, of pool: String,
        after time: Duration
    ) async {
        try? await Task.sleep(for: time)
        continuation.yield((pool, .enough))
    }

    private func ask(_ record: PoolRecord, isHolding name: String?) async -> Answer {
        do throws(StorageError) {
            let details = try await poolDetails(record.name)
            if case .unresponsive(let reason) = details.health {
                return .failure(StorageError(.timedOut, "choose pool", at: record.name, why: reason))
            }
            guard let name else { return .details(details, isHolding: false) }
            let volume = VolumeAddress(pool: record.name, name: name)
            if try await catalog.volume(name, in: record.name)?.lazySize != nil {
                return .details(details, isHolding: true)
            }
            return .details(details, isHolding: try await exists(volume))
        } catch {
            return .failure(error)
        }
    }

    /// The bytes that the pool may still promise, and what it lacks for the volume.
    private func room(
        in details: PoolDetails, _ record: PoolRecord, _ request: CreateRequest
    ) throws(StorageError) -> (bytes: UInt64, missing: String?) {
        let url = try PoolURL.parse(record.url).url
        let most = record.limits(url).most(ofCapacity: details.capacityBytes)
        // Where nothing limits what may be promised, what is free on the storage ranks the pool.
        let bytes =
            most.bytes == .max
            ? details.availableBytes : most.bytes.subtractingSaturating(details.provisionedBytes)
        let iops = most.minIOPS.subtractingSaturating(details.allocatedIOPS)
        let needed = request.provisioning == .fat ? request.size : 1
        if bytes < request.size { return (bytes, "has \(bytes) logical bytes left to promise") }
        if iops < request.qos?.minIOPS ?? 0 { return (bytes, "has \(iops) IOPS left to promise") }
        if details.availableBytes < needed { return (bytes, "has \(details.availableBytes) bytes available") }
        return (bytes, nil)
    }
}
