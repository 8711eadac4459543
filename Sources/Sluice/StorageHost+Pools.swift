import BlockStorage
import IORuntime

/// How a pool is registered.
public struct PoolRegistration: Sendable {
    public var name: String
    /// As the operator wrote it; a secret in it goes to the secret store.
    public var url: String
    /// What volumes can ask for instead of a pool.
    public var tags: [String]
    /// The bytes that may be used, where that is less than the storage has.
    public var capacityBytes: UInt64?
    /// The most that the minimums of its volumes may add up to.
    public var capacityIOPS: UInt64?
    public var secret: Secret?

    public init(
        name: String, url: String, tags: [String] = [], capacityBytes: UInt64? = nil, capacityIOPS: UInt64? = nil,
        secret: Secret? = nil
    ) {
        self.name = name
        self.url = url
        self.tags = tags
        self.capacityBytes = capacityBytes
        self.capacityIOPS = capacityIOPS
        self.secret = secret
    }
}

extension StorageHost {
    /// Registers a pool, after checking that it answers.
    ///
    /// Again with the same values succeeds; with others it throws `alreadyExists`.
    @discardableResult
    public func addPool(_ registration: PoolRegistration) async throws(StorageError) -> PoolSummary {
        try VolumeName.check(registration.name, as: "pool name")
        for tag in registration.tags { try VolumeName.check(tag, as: "tag") }
        let (url, embedded) = try PoolURL.parse(registration.url)
        let driver = try driver(of: url)
        let canonical = { (secret: Secret) throws(StorageError) in try driver.canonicalSecret(secret) }
        let (given, embeddedToo) = (try registration.secret.map(canonical), try embedded.map(canonical))
        if let given, let embeddedToo, embeddedToo != given {
            throw StorageError(
                .invalidArgument, "add pool", at: registration.name,
                why: "the URL and the secret file hold other secrets")
        }
        let secret = given ?? embeddedToo
        var record = PoolRecord(
            name: registration.name, url: url.description, tags: Set(registration.tags).sorted(),
            capacityBytes: try VolumeRecord.integer(registration.capacityBytes),
            capacityIOPS: try VolumeRecord.integer(registration.capacityIOPS))
        if let existing = try await catalog.pool(record.name) {
            try check(existing, isSameAs: record, secret: secret)
            _ = try await pool(record.name)
            return PoolSummary(name: record.name, kind: url.scheme, url: record.url)
        }
        record.identity = try await open(record, secret: secret).identity
        record.secret = try secret.map { secret throws(StorageError) in try secrets.store(secret) }
        do {
            if let existing = try await catalog.insert(record) {
                if let stored = record.secret { secrets.remove(stored) }
                try check(existing, isSameAs: record, secret: secret)
            }
        } catch {
            if let stored = record.secret { secrets.remove(stored) }
            throw error
        }
        return PoolSummary(name: record.name, kind: url.scheme, url: record.url)
    }

    private func check(
        _ existing: PoolRecord, isSameAs record: PoolRecord, secret: Secret?
    ) throws(StorageError) {
        var same = record
        same.secret = existing.secret
        same.identity = existing.identity
        guard existing == same, try self.secret(of: existing) == secret else {
            throw StorageError(
                .alreadyExists, "add pool", at: record.name,
                why: "it is registered with other values: remove it first, its volumes stay")
        }
    }

    public func listPools() async throws(StorageError) -> [PoolSummary] {
        try await catalog.pools().map { record in
            PoolSummary(name: record.name, kind: String(record.url.prefix { $0 != ":" }), url: record.url)
        }
    }

    /// Capacity, use, health and capabilities, from the pool itself. A pool that does not answer in time is described as
    /// far as it is known, with the reason as its health. Throws `notFound` for a pool that is not registered.
    public func poolDetails(_ name: String) async throws(StorageError) -> PoolDetails {
        guard let record = try await catalog.pool(name) else { throw Self.noSuchPool(name) }
        let url = try PoolURL.parse(record.url).url
        let registered = record.capacityBytes.flatMap { UInt64(exactly: $0) }
        var details = PoolDetails(
            name: name, kind: url.scheme, url: record.url, tags: record.tags, capacityBytes: registered ?? 0,
            allocatedBytes: 0, availableBytes: 0, provisionedBytes: 0, deadlineSeconds: url.deadlineSeconds,
            health: .healthy, capacityIOPS: record.capacityIOPS.flatMap { UInt64(exactly: $0) }, allocatedIOPS: 0,
            capabilities: [])
        do throws(StorageError) {
            let pool = try await pool(name)
            details.kind = pool.kind
            details.capabilities = pool.capabilities
            let statistics = try await pool.statistics()
            let provisioned = try await pool.provisioned()
            details.capacityBytes = registered.map { min($0, statistics.capacity) } ?? statistics.capacity
            details.allocatedBytes = statistics.allocated
            // What else is on the storage is not held against the part of it that the pool may use.
            details.availableBytes = min(details.capacityBytes, statistics.available)
            details.provisionedBytes = provisioned.bytes
            details.allocatedIOPS = provisioned.minIOPS
            details.volumeCount = statistics.volumeCount
            if let stated = statistics.capacityIOPS {
                details.capacityIOPS = min(details.capacityIOPS ?? stated, stated)
            }
            details.health = pool.health
        } catch {
            details.health = .unresponsive(reason: "\(error)")
        }
        return details
    }

    /// Keeps the name and the room for a lazy volume in its pool, as far as that can hold such a thing.
    func reserve(_ volume: VolumeAddress, _ request: CreateRequest) async throws(StorageError) {
        let pool = try await pool(volume.pool)
        try pool.checkPolicy(request.qos, "create volume", of: volume.name)
        do {
            try await pool.reserveVolume(volume.name, request)
        } catch  where error.code == .notSupported {
        }
    }

    /// Forgets a pool; what is in it stays. Throws `busy` while a volume of it is attached, or an operation that makes,
    /// moves or removes one is under way.
    public func removePool(_ name: String) async throws(StorageError) {
        if let holder = try await runningAttachments().first(where: { $0.pool == name }) {
            throw StorageError(.busy, "remove pool", at: name, why: "\(holder.address) is held by \(holder.holder)")
        }
        try await settleAll(in: name)
        let lazy = try await catalog.volumes(in: name).filter { $0.lazySize != nil }
        if let first = lazy.first {
            throw StorageError(
                .busy, "remove pool", at: name,
                why: "\(lazy.count) of its volumes are not made yet, such as \(first.address): delete them first")
        }
        let record = try await catalog.pool(name)
        _ = try await catalog.deletePool(name)
        if let secret = record?.secret { secrets.remove(secret) }
        secrets.remove(SecretStore.name(of: "iscsi \(name)"))
        throttles.withLock { throttles in _ = throttles.removeValue(forKey: name) }
        forget(name)
    }
}

extension UInt64 {
    func subtractingSaturating(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}
