import BlockStorage
import Foundation

/// What the URL of a pool in a Ceph cluster says:
/// `rbd://USER@MONITOR[,MONITOR…]/POOL[?conf=FILE&keyring=FILE&data-pool=NAME&object-size=S&cache=S&cache-mode=writethrough|writeback
/// &qos=librbd|none]`.
struct RBDLocation: Equatable, Sendable {
    struct Monitor: Equatable, Sendable {
        /// A name, or an address, without brackets.
        var host: String
        /// Nil for both of Ceph's own: 3300 and 6789.
        var port: UInt16?

        /// As it stands in a URL.
        var text: String {
            (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "")
        }
    }

    var monitors: [Monitor]
    var pool: String
    /// Without `client.`.
    var user: String
    /// A `ceph.conf`.
    var configurationFile: String?
    var keyring: String?
    /// Where the data of new images goes, as with erasure coding.
    var dataPool: String?
    /// Of new images, in bytes; nil for the cluster's own choice.
    var objectSize: UInt64?
    /// The cache of each image that is open for writing, in bytes; 0 for none.
    var cacheBytes: UInt64
    /// Whether the cache acknowledges writes that the cluster has not: they are lost if the process dies.
    var isWriteback: Bool
    /// Whether librbd holds images to their policies.
    var isLimitedByLibrbd: Bool

    static let scheme = "rbd"
    static let parameters: Set<String> = ["conf", "keyring", "data-pool", "object-size", "cache", "cache-mode", "qos"]
    /// What librbd takes where nothing else is said.
    static let defaultCacheBytes: UInt64 = 32 << 20

    /// Throws `invalidArgument` for what cannot be meant. No error repeats the user or anything that may be a secret.
    init(_ url: PoolURL) throws(StorageError) {
        monitors = try Self.monitors(url)
        user = url.user ?? "admin"
        pool = String(url.path.dropFirst())
        configurationFile = url.parameters["conf"]
        keyring = url.parameters["keyring"]
        dataPool = url.parameters["data-pool"]
        guard !user.hasPrefix("client."), Self.isName(user) else {
            throw Self.failure("the user is written without 'client.', and has no spaces or slashes")
        }
        guard !pool.isEmpty else { throw Self.failure("it needs a pool: rbd://USER@MONITOR/POOL") }
        guard Self.isName(pool) else {
            throw Self.failure("after the monitors there is one name, of a pool: rbd://USER@MONITOR/POOL")
        }
        for (name, file) in [("conf", configurationFile), ("keyring", keyring)] {
            guard file.map({ $0.hasPrefix("/") && !$0.hasSuffix("/") }) ?? true else {
                throw Self.failure("'\(name)' must be the absolute path of a file")
            }
        }
        guard dataPool.map(Self.isName) ?? true else { throw Self.failure("'data-pool' is no name of a pool") }
        guard !monitors.isEmpty || configurationFile != nil else {
            throw Self.failure("it needs a monitor, or 'conf' that names them: rbd://USER@MONITOR/POOL")
        }
        objectSize = try Self.size("object-size", of: url)
        cacheBytes = try Self.size("cache", of: url) ?? Self.defaultCacheBytes
        if let size = objectSize, size.nonzeroBitCount != 1 || !((4 << 10)...(32 << 20)).contains(size) {
            throw Self.failure("'object-size' must be a power of two from 4k to 32M")
        }
        if cacheBytes != 0, !((1 << 20)...(4 << 30)).contains(cacheBytes) {
            throw Self.failure("'cache' must be 0, or 1M to 4G")
        }
        switch url.parameters["cache-mode"] {
        case nil, "writethrough": isWriteback = false
        case "writeback": isWriteback = true
        default: throw Self.failure("'cache-mode' is writethrough or writeback")
        }
        switch url.parameters["qos"] {
        case nil, "librbd": isLimitedByLibrbd = true
        case "none": isLimitedByLibrbd = false
        default: throw Self.failure("'qos' is librbd or none")
        }
    }

    /// `user@monitor:port/pool`, as libvirt's secrets are named.
    var usage: String { "\(user)@\(monitors.map(\.text).joined(separator: ","))/\(pool)" }

    /// A key in the form that `ceph auth print-key` prints, which every reader of it takes: CloudStack writes `-` and `_`
    /// for `+` and `/`.
    ///
    /// Throws `invalidArgument` for what is no key: librados would print it.
    static func canonicalKey(_ secret: Secret) throws(StorageError) -> Secret {
        let key = secret.reveal { text -> String? in
            var key = String(text.filter { $0 != "=" }.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
            key += String(repeating: "=", count: (4 - key.utf8.count % 4) % 4)
            guard let bytes = Data(base64Encoded: key), bytes.base64EncodedString() == key else { return nil }
            // Of the type AES (1), from a time of eight bytes, and as long as it says: 16 bytes.
            let isKey =
                bytes.count == 28 && bytes.prefix(2).elementsEqual([1, 0]) && bytes[10..<12].elementsEqual([16, 0])
            return isKey ? key : nil
        }
        guard let key else {
            throw failure("the secret is not a key as 'ceph auth print-key' prints it: 40 characters of base64")
        }
        return Secret(key)
    }

    private static func monitors(_ url: PoolURL) throws(StorageError) -> [Monitor] {
        guard !url.authority.isEmpty else { return [] }
        var monitors: [Monitor] = []
        for part in url.authority.split(separator: ",", omittingEmptySubsequences: false) {
            monitors.append(try monitor(part))
        }
        return monitors
    }

    private static func monitor(_ text: Substring) throws(StorageError) -> Monitor {
        let (host, rest): (Substring, Substring)
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw failure("a '[' of a monitor has no ']'") }
            (host, rest) = (text[text.index(after: text.startIndex)..<end], text[text.index(after: end)...])
            let isAddress =
                host.contains(":") && host.utf8.allSatisfy { Self.isHexadecimal($0) || ":.".utf8.contains($0) }
            guard isAddress else { throw failure("what is in the brackets of a monitor is no IPv6 address") }
        } else {
            (host, rest) = (text.prefix { $0 != ":" }, text.drop { $0 != ":" })
            guard !rest.dropFirst().contains(":") else {
                throw failure("an IPv6 address of a monitor stands in brackets: [2001:db8::1]:3300")
            }
            let isName = host.utf8.allSatisfy { byte in
                Self.isHexadecimal(byte) || (UInt8(ascii: "g")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "G")...UInt8(ascii: "Z")).contains(byte) || "-._".utf8.contains(byte)
            }
            guard !host.isEmpty, isName else { throw failure("a monitor has no name or address") }
        }
        if rest.isEmpty { return Monitor(host: String(host)) }
        let digits = rest.dropFirst()
        guard rest.hasPrefix(":"), !digits.hasPrefix("+"), let port = UInt16(digits), port > 0 else {
            throw failure("the port of a monitor is no number from 1 to 65535")
        }
        return Monitor(host: String(host), port: port)
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
    }

    /// Whether the cluster could have a pool or a user of that name, and Sluice can tell people its paths.
    private static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 200
            && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && !"/@:,;".utf8.contains($0) }
    }

    private static func size(_ name: String, of url: PoolURL) throws(StorageError) -> UInt64? {
        guard let text = url.parameters[name] else { return nil }
        guard let count = ByteCount(text) else { throw failure("'\(name)' is no size such as 4M") }
        return count.bytes
    }

    private static func failure(_ why: String) -> StorageError {
        StorageError(.invalidArgument, "pool URL", at: "\(scheme)://…", why: why)
    }
}
