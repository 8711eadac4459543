import BlockStorage

/// A pool as it is registered, with all that opening it takes.
public struct PoolConfiguration: Sendable {
    public var name: String
    public var url: PoolURL
    public var secret: Secret?
    /// Where operations of more than one step record what they do.
    public var intents: any IntentLog
    /// A private directory in memory for what must outlive the process but not the host; nil where there is none.
    public var journalDirectory: String?
    /// What the pool answered when it was registered: another storage at the same place must be refused.
    public var identity: String?
    /// What the pool must not promise more than; see `StoragePool.provisioned`.
    public var limits = PoolLimits.none
    /// What the storage below holds all its volumes to together; nil where each can have a policy of its own.
    public var sharedPolicy: QoSPolicy?
    /// Whether its volumes go past caches.
    public var isDirect = false
}

/// A pool, and what tells its storage from any other.
public struct OpenedPool: Sendable {
    public var pool: any StoragePool
    /// Nil where the storage has no identity of its own.
    public var identity: String?

    public init(_ pool: any StoragePool, identity: String? = nil) {
        self.pool = pool
        self.identity = identity
    }
}

/// How the pools of one URL scheme are checked and opened.
public struct PoolDriver: Sendable {
    public var scheme: String
    /// Parameters that its URLs take, besides those of all pools.
    public var parameters: Set<String>
    /// Whether the pool is a directory of this host, so that its URL has a path and no host.
    public var isLocal: Bool
    /// Whether a pool can have a secret.
    public var hasSecret = true
    /// Throws `invalidArgument` for a URL that cannot be meant, beyond its parameters' names.
    public var checkLocation: @Sendable (PoolURL) throws(StorageError) -> Void = { _ in }
    /// The secret in the one form that everybody who reads it takes; throws `invalidArgument` for what is none.
    public var canonicalSecret: @Sendable (Secret) throws(StorageError) -> Secret = { $0 }
    /// The memory that the cache of each volume that is open for writing takes, in bytes; nil where volumes have none of
    /// their own. `PoolConfiguration.isDirect` opens them without.
    public var cacheBytes: @Sendable (PoolURL) throws(StorageError) -> UInt64? = { _ in nil }
    /// Opens the pool, and throws unless it answers.
    public var open: @Sendable (PoolConfiguration) async throws(StorageError) -> OpenedPool

    public init(
        scheme: String, parameters: Set<String> = [], isLocal: Bool = false,
        open: @escaping @Sendable (PoolConfiguration) async throws(StorageError) -> OpenedPool
    ) {
        self.scheme = scheme
        self.parameters = parameters
        self.isLocal = isLocal
        self.open = open
    }

    /// Throws `invalidArgument` for a URL that this driver cannot mean.
    func check(_ url: PoolURL, secret: Secret?) throws(StorageError) {
        try url.checkParameters(known: parameters)
        try checkLocation(url)
        guard hasSecret || secret == nil else {
            throw StorageError(.invalidArgument, "pool URL", at: "\(scheme)://…", why: "such a pool needs no secret")
        }
        guard isLocal else { return }
        guard url.authority.isEmpty, url.user == nil, secret == nil else {
            throw StorageError(
                .invalidArgument, "pool URL", at: "\(scheme)://…",
                why: "a pool of this host has no user, host or secret: \(scheme):///PATH")
        }
        guard !url.path.isEmpty else {
            throw StorageError(
                .invalidArgument, "pool URL", at: "\(url)", why: "it needs an absolute path: \(scheme):///PATH")
        }
    }
}
