import BlockStorage
import Foundation
import IORuntime
import Logging
import Metrics
import SystemPackage
import VolumeQoS

/// The storage of one hypervisor host: its pools, their volumes, and what is attached.
///
/// Every process that opens the same home works on the same pools. What a pool can know is asked from the pool; the
/// catalog adds only what no pool can hold. An operation on a volume that another process serves is done by that
/// process.
public final class StorageHost: Sendable {
    /// Where the catalog and the secrets are.
    public let home: StorageHome
    let catalog: Catalog
    let secrets: SecretStore
    let intents: CatalogIntents
    let locks: OperationLocks
    /// How long an operation waits for others on the same volume.
    let operationWait: Duration
    /// A private directory in memory for what must outlive a process and not the host; nil where there is none.
    private let journalDirectory: String?
    let drivers: [String: PoolDriver]
    let logger: Logger
    private let pools = Locked<[String: OpenPool]>([:])
    /// What this process has attached, by the names of its records.
    let attachments = Locked<[String: Attachment]>([:])
    /// What the attached volumes of each pool share, where Sluice holds them to their policies.
    let throttles = Locked<[String: ThrottleGroup]>([:])
    /// Where the numbers of attached volumes go.
    let metrics: any MetricsFactory

    private struct OpenPool {
        var record: PoolRecord
        var task: Task<Result<any StoragePool, StorageError>, Never>
    }

    private init(
        home: StorageHome, catalog: Catalog, drivers: [PoolDriver], operationWait: Duration, journalDirectory: String?,
        logger: Logger, metrics: any MetricsFactory
    ) {
        self.home = home
        self.catalog = catalog
        self.operationWait = operationWait
        self.journalDirectory = journalDirectory
        self.logger = logger
        self.metrics = metrics
        intents = CatalogIntents(catalog: catalog)
        locks = OperationLocks(file: home.operationLocks)
        secrets = SecretStore(directory: home.secrets)
        self.drivers = Dictionary(drivers.map { ($0.scheme, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Opens the host's storage, and finishes or undoes what processes that died had begun.
    ///
    /// `home` is a directory of this user alone, made where it is missing. `metrics` is where attached volumes publish
    /// their numbers.
    public static func open(
        home: String = StorageHome.defaultPath, drivers: [PoolDriver] = PoolDriver.all,
        logger: Logger = Logger(label: "sluice"), metrics: any MetricsFactory = MetricsSystem.factory
    ) async throws(StorageError) -> StorageHost {
        try await open(
            home: home, drivers: drivers, logger: logger, metrics: metrics, operationWait: .seconds(10),
            journalDirectory: defaultJournalDirectory(), observer: nil)
    }

    /// As above; `observer` sees every write of the catalog.
    static func open(
        home: String, drivers: [PoolDriver], logger: Logger, metrics: any MetricsFactory, operationWait: Duration,
        journalDirectory: String?, observer: Catalog.WriteObserver?
    ) async throws(StorageError) -> StorageHost {
        let home = try StorageHome(home)
        let catalog = try await Catalog(home, observer: observer)
        let host = StorageHost(
            home: home, catalog: catalog, drivers: drivers, operationWait: operationWait,
            journalDirectory: journalDirectory, logger: logger, metrics: metrics)
        await host.recoverAll()
        return host
    }

    /// The pool of that name, opened at its first use; throws `notFound` for one that is not registered.
    public func pool(_ name: String) async throws(StorageError) -> any StoragePool {
        guard let record = try await catalog.pool(name) else { throw Self.noSuchPool(name) }
        let task = pools.withLock { pools in
            if let pool = pools[name], pool.record == record { return pool.task }
            let task = Task { () async -> Result<any StoragePool, StorageError> in
                do throws(StorageError) {
                    return .success(try await self.open(record, secret: try self.secret(of: record)).pool)
                } catch {
                    return .failure(error)
                }
            }
            pools[name] = OpenPool(record: record, task: task)
            return task
        }
        let result = await task.value
        // The next caller tries again: a pool that did not answer may answer then.
        if case .failure = result { forget(name) }
        return try result.get()
    }

    static func noSuchPool(_ name: String) -> StorageError {
        StorageError(.notFound, "find pool", at: name, why: "no such pool: see 'sluice pool list'")
    }

    /// Drops the open pool, so that its next use opens it anew.
    func forget(_ name: String) {
        pools.withLock { pools in _ = pools.removeValue(forKey: name) }
    }

    /// The pool of that name as one whose volumes go past the page cache.
    func directPool(_ name: String) async throws(StorageError) -> any StoragePool {
        guard let record = try await catalog.pool(name) else { throw Self.noSuchPool(name) }
        return try await open(record, secret: try secret(of: record), isDirect: true).pool
    }

    /// The pool of that name as another host sees it that lets it promise this much; for tests of its admission.
    public func pool(_ name: String, limits: PoolLimits) async throws(StorageError) -> any StoragePool {
        guard let record = try await catalog.pool(name) else {
            throw StorageError(.notFound, "find pool", at: name, why: "no such pool: see 'sluice pool list'")
        }
        return try await open(record, secret: try secret(of: record), limits: limits).pool
    }

    /// Opens a pool, which need not be registered.
    func open(
        _ record: PoolRecord, secret: Secret?, isDirect: Bool = false, limits: PoolLimits? = nil
    ) async throws(StorageError) -> OpenedPool {
        let url = try PoolURL.parse(record.url).url
        let driver = try driver(of: url)
        try driver.check(url, secret: secret)
        return try await driver.open(
            PoolConfiguration(
                name: record.name, url: url, secret: secret, intents: intents,
                journalDirectory: journalDirectory, identity: record.identity,
                limits: limits ?? record.limits(url), isDirect: isDirect))
    }

    func secret(of record: PoolRecord) throws(StorageError) -> Secret? {
        try record.secret.map { name throws(StorageError) in try secrets.load(name) }
    }

    func driver(of url: PoolURL) throws(StorageError) -> PoolDriver {
        if let driver = drivers[url.scheme] { return driver }
        throw StorageError(
            .notSupported, "open pool", at: "\(url.scheme)://…",
            why: "this build has: \(drivers.keys.sorted().joined(separator: " "))")
    }

    /// A directory of this user in shared memory: it outlives a process, and not the host. Nil where that cannot be.
    static func defaultJournalDirectory() -> String? {
        let path = "/dev/shm/sluice-\(getuid())"
        return (try? StorageHome.makeDirectory(FilePath(path))) == nil ? nil : path
    }
}
