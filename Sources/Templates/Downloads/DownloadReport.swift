import BlockStorage

/// What a download can tell of the places that it came from.
public struct DownloadReport: Equatable, Sendable {
    /// One of the places that a file is said to be at.
    public struct Location: Equatable, Sendable {
        /// Its URL, without what may be a secret in it.
        public var name: String
        /// In bytes, and used.
        public var bytesReceived: UInt64 = 0
        /// How often it did not answer, or not as it should.
        public var failures = 0
        /// How often it sent wrong bytes.
        public var checksumFailures = 0
        /// What was wrong the last time.
        public var reason: String?
        /// Nothing more is asked of it.
        public var isLeft = false

        public init(name: String) { self.name = name }
    }

    /// In the order of preference.
    public var locations: [Location]
    /// What is not as it was when the template was imported first, a sentence each.
    public var changes: [String] = []

    public init(locations: [Location]) { self.locations = locations }
}

/// Which version of a file a server has: what it says of it.
public struct SourceVersion: Equatable, Sendable, Codable {
    /// The URL, without what may be a secret in it.
    public var location: String
    public var entityTag: String?
    /// As the server writes it.
    public var modifiedAt: String?
    /// In bytes, where the server says it.
    public var size: UInt64?

    public init(location: String, entityTag: String? = nil, modifiedAt: String? = nil, size: UInt64? = nil) {
        self.location = location
        self.entityTag = entityTag
        self.modifiedAt = modifiedAt
        self.size = size
    }

    /// What is different in `later`, a sentence each; empty where nothing that both say is.
    public func changes(to later: SourceVersion) -> [String] {
        guard location == later.location else { return [] }
        func change<Value: Equatable>(_ what: String, _ old: Value?, _ new: Value?) -> String? {
            guard let old, let new, old != new else { return nil }
            return "its \(what) was \(old), and is \(new)"
        }
        return [
            change("ETag", entityTag, later.entityTag), change("date", modifiedAt, later.modifiedAt),
            change("size", size, later.size),
        ].compactMap(\.self)
    }

    /// Whether both are the same version for certain: a strong validator says so.
    public func isCertainlySame(as other: SourceVersion) -> Bool {
        guard location == other.location, let size, size == other.size, changes(to: other).isEmpty else { return false }
        if let entityTag { return entityTag == other.entityTag && !entityTag.hasPrefix("W/") }
        return false
    }
}
