import BlockStorage
import Foundation

/// A Ceph cluster, a pool in it, and who asks: all that a connection takes.
public struct RBDCluster: Sendable {
    /// A monitor's host name or address, and its port where that is not one of Ceph's own.
    public struct Monitor: Hashable, Sendable {
        public var host: String
        public var port: UInt16?

        public init(host: String, port: UInt16? = nil) {
            self.host = host
            self.port = port
        }
    }

    /// At least one, unless the configuration file names them. All addresses of a name are tried, looked up again at
    /// each connection.
    public var monitors: [Monitor]
    public var pool: String
    /// Without `client.`.
    public var user: String
    /// In base64, as `ceph auth print-key` prints it; nil where a keyring has it, or none is needed.
    public var key: Secret?
    /// A `ceph.conf`; nil for none.
    public var configurationFile: String?
    /// A keyring; nil for the one that the configuration file names.
    public var keyring: String?

    public init(
        monitors: [Monitor], pool: String, user: String = "admin", key: Secret? = nil,
        configurationFile: String? = nil, keyring: String? = nil
    ) {
        self.monitors = monitors
        self.pool = pool
        self.user = user
        self.key = key
        self.configurationFile = configurationFile
        self.keyring = keyring
    }

    /// Whether a text is a key of Ceph's: in base64, of the type AES (1), from a time of eight bytes, and with as many
    /// bytes as it says, which are 16.
    static func isKey(_ text: String) -> Bool {
        guard let bytes = Data(base64Encoded: text), bytes.count == 28 else { return false }
        return bytes.prefix(2).elementsEqual([1, 0]) && bytes[10..<12].elementsEqual([16, 0])
    }
}

/// librbd's cache of one image that is open for writing.
public struct RBDCachePolicy: Hashable, Sendable {
    /// In bytes; 0 for no cache.
    public var byteCount: UInt64
    /// Whether writes are acknowledged once the cache has them. They are lost when this process dies before a flush,
    /// which a guest behind an export that comes back would not notice. Writes go through until the first flush, which
    /// shows that flushes come.
    public var isWriteback: Bool

    /// librbd's own default size, and no write acknowledged that the cluster does not have.
    public static let standard = RBDCachePolicy(byteCount: 32 << 20)
    public static let none = RBDCachePolicy(byteCount: 0)

    public init(byteCount: UInt64, isWriteback: Bool = false) {
        self.byteCount = byteCount
        self.isWriteback = isWriteback
    }
}
