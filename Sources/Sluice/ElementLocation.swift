import BlockStorage

/// What the URL of a pool on a NetApp Element (SolidFire) array says:
/// `element://MVIP[:PORT]?user=NAME[&svip=HOST:PORT&ca=FILE&fingerprint=SHA256&transport=https|http&account=NAME
/// &access=account|group&access-group=NAME&default-min-iops=N&default-max-iops=N&burst-factor=F&lowest-iops=50|100
/// &highest-iops=100000|200000&minIops=N&maxIops=N&burstIops=N&mount=PATH]`.
struct ElementLocation: Equatable, Sendable {
    /// How it is known that the array is the one that is meant.
    enum Trust: Equatable, Sendable {
        /// The system's authorities vouch for its certificate.
        case system
        /// An authority in this PEM file does.
        case authorities(String)
        /// Its certificate has this SHA-256 fingerprint.
        case certificate(String)
        /// It does not prove itself: plain HTTP.
        case unencrypted
    }

    /// Who may log in to the volumes.
    enum Access: Equatable, Sendable {
        /// Whoever has the CHAP secrets of the account.
        case account
        /// The initiators of a volume access group, without CHAP: this one, or one that has the account's name.
        case group(String?)
    }

    /// Of the management: a virtual address, or a name.
    var host: String
    var port: UInt16
    /// Where the volumes are, those to try first first; empty for where the array says that they are.
    var portals: [HostAndPort]
    /// A cluster administrator.
    var user: String
    var trust: Trust
    /// Of the array, which owns the volumes: those of one account are one pool.
    var account: String
    var access: Access
    /// What a volume gets where nothing else is said.
    var defaultMinIOPS: UInt64
    var defaultMaxIOPS: UInt64
    /// A burst of which nothing is said is the maximum, this many times.
    var burstFactor: Double
    /// The lowest minimum, where the array's own word is not to be taken.
    var lowestIOPS: UInt64?
    /// The highest maximum and burst, where the array's own word is not to be taken.
    var highestIOPS: UInt64?
    /// The policy of the one volume that all share, where the pool is to be one volume.
    var shared: QoSPolicy?
    /// Where this host has that volume mounted, with the file system that all hosts share; nil until it has.
    var mountPoint: String?

    static let scheme = "element"
    static let parameters: Set<String> = [
        "svip", "user", "ca", "fingerprint", "transport", "account", "access", "access-group", "default-min-iops",
        "default-max-iops", "burst-factor", "lowest-iops", "highest-iops", "minIops", "maxIops", "burstIops", "mount",
    ]
    static let usualAccount = "sluice"
    /// What CloudStack's plugin takes where a key is blank.
    static let usualMinIOPS: UInt64 = 100
    static let usualMaxIOPS: UInt64 = 15_000
    static let usualBurstFactor = 1.5

    /// Throws `invalidArgument` for what cannot be meant. No error repeats what may be a secret.
    init(_ url: PoolURL) throws(StorageError) {
        guard let address = HostAndPort(url.authority) else {
            throw Self.failure("it needs the array's management address: element://MVIP[:PORT]?user=NAME")
        }
        guard url.path.isEmpty else { throw Self.failure("after the management address there is no path") }
        (host, port) = (address.host, address.port ?? 443)
        portals = []
        if let list = url.parameters["svip"] {
            for part in list.split(separator: ",", omittingEmptySubsequences: false) {
                guard let portal = HostAndPort(part) else { throw Self.failure("'svip' is not HOST[:PORT]") }
                portals.append(portal)
            }
        }
        guard let user = url.user ?? url.parameters["user"], Self.isName(user),
            url.user == nil || url.parameters["user"] == nil
        else { throw Self.failure("it needs one cluster administrator: user=NAME") }
        self.user = user
        trust = try Self.trust(url)
        account = url.parameters["account"] ?? Self.usualAccount
        guard Self.isName(account) else { throw Self.failure("'account' has 1 to 64 characters") }
        access = try Self.access(url)
        lowestIOPS = try Self.number("lowest-iops", of: url, in: 1...15_000)
        highestIOPS = try Self.number("highest-iops", of: url, in: 100...200_000)
        let range = (lowestIOPS ?? 50)...15_000
        let highest = highestIOPS ?? 200_000
        defaultMinIOPS = try Self.number("default-min-iops", of: url, in: range) ?? Self.usualMinIOPS
        let lowestMaximum = max(100, defaultMinIOPS)
        guard lowestMaximum <= highest else { throw Self.failure("'highest-iops' is less than the minimum") }
        defaultMaxIOPS =
            try Self.number("default-max-iops", of: url, in: lowestMaximum...highest)
            ?? min(Self.usualMaxIOPS, highest)
        burstFactor = Self.usualBurstFactor
        if let text = url.parameters["burst-factor"] {
            guard let factor = Self.factor(text) else {
                throw Self.failure("'burst-factor' is a number from 1 to 1000")
            }
            burstFactor = factor
        }
        shared = try Self.shared(url, range, highest)
        mountPoint = url.parameters["mount"]
        if let path = mountPoint {
            guard shared != nil else {
                throw Self.failure("'mount' is for a shared volume, with minIops and the others")
            }
            guard path.hasPrefix("/"), path.utf8.count > 1, !path.split(separator: "/").contains("..") else {
                throw Self.failure("'mount' must be the absolute path of a mount point")
            }
        }
    }

    private static func trust(_ url: PoolURL) throws(StorageError) -> Trust {
        let (file, fingerprint) = (url.parameters["ca"], url.parameters["fingerprint"])
        switch url.parameters["transport"] {
        case "http":
            guard file == nil, fingerprint == nil else {
                throw failure("'ca' and 'fingerprint' are for transport=https")
            }
            return .unencrypted
        case nil, "https": break
        default: throw failure("'transport' is https or http")
        }
        switch (file, fingerprint) {
        case (nil, nil): return .system
        case (let file?, nil):
            guard file.hasPrefix("/"), !file.hasSuffix("/") else {
                throw failure("'ca' must be the absolute path of a file")
            }
            return .authorities(file)
        case (nil, let fingerprint?):
            let digits = fingerprint.filter { $0 != ":" }
            guard digits.count == 64, digits.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
                throw failure("'fingerprint' is the 64 hexadecimal digits of a certificate's SHA-256 digest")
            }
            return .certificate(digits.uppercased())
        default: throw failure("either 'ca' or 'fingerprint' says who the array is")
        }
    }

    private static func access(_ url: PoolURL) throws(StorageError) -> Access {
        let name = url.parameters["access-group"]
        guard name.map(isName) ?? true else { throw failure("'access-group' has 1 to 64 characters") }
        switch url.parameters["access"] {
        case "account" where name == nil: return .account
        case nil: return name == nil ? .account : .group(name)
        case "group": return .group(name)
        default: throw failure("'access' is account, or group, which 'access-group' may name")
        }
    }

    private static func shared(
        _ url: PoolURL, _ range: ClosedRange<UInt64>, _ highest: UInt64
    ) throws(StorageError) -> QoSPolicy? {
        let names = ["minIops", "maxIops", "burstIops"]
        let count = names.count { url.parameters[$0] != nil }
        guard count > 0 else { return nil }
        guard count == names.count else {
            throw failure("a shared volume has all of minIops, maxIops and burstIops")
        }
        let most = max(100, highest)
        let values = (
            try number("minIops", of: url, in: range), try number("maxIops", of: url, in: 50...most),
            try number("burstIops", of: url, in: 50...most)
        )
        do throws(StorageError) {
            return try QoSPolicy(minIOPS: values.0, maxIOPS: values.1, burstIOPS: values.2)
        } catch {
            throw failure("it needs minIops <= maxIops <= burstIops")
        }
    }

    private static func number(
        _ name: String, of url: PoolURL, in range: ClosedRange<UInt64>
    ) throws(StorageError) -> UInt64? {
        guard let text = url.parameters[name] else { return nil }
        guard let value = integer(text), range.contains(value) else {
            throw failure("'\(name)' is a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private static func integer(_ text: String) -> UInt64? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt64(text) : nil
    }

    fileprivate static func factor(_ text: String) -> Double? {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") }),
            let value = Double(text), (1...1000).contains(value)
        else { return nil }
        return value
    }

    /// Whether the array could have a user, an account or a group of that name.
    private static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f }
    }

    fileprivate static func failure(_ why: String) -> StorageError {
        StorageError(.invalidArgument, "pool URL", at: "\(scheme)://…", why: why)
    }
}

// MARK: CloudStack

extension ElementLocation {
    /// The keys of CloudStack's form, in lower case, and the parameters that they become.
    private static let keys: [String: String] = [
        "mvip": "mvip", "svip": "svip", "clusteradminusername": "user", "clusteradminpassword": "password",
        "clusterdefaultminiops": "default-min-iops", "clusterdefaultmaxiops": "default-max-iops",
        "clusterdefaultburstiopspercentofmaxiops": "burst-factor", "miniops": "minIops", "maxiops": "maxIops",
        "burstiops": "burstIops", "mount": "mount", "datacenter": "",
    ]

    /// The URL and the password of what CloudStack calls a URL:
    /// `MVIP=HOST[:PORT];SVIP=HOST[:PORT];clusterAdminUsername=NAME;clusterAdminPassword=SECRET;clusterDefaultMinIops=N
    /// ;clusterDefaultMaxIops=N;clusterDefaultBurstIopsPercentOfMaxIops=FACTOR`.
    ///
    /// Keys come in any order and in any letters; those that are missing or blank, but for MVIP and the user, have the
    /// values that CloudStack gives them; `datacenter` is ignored. Despite its name the last one is a factor: 2 is twice
    /// the maximum. `minIops`, `maxIops` and `burstIops` are those of its shared form, to which Sluice adds `mount`.
    ///
    /// Nil for a text that does not begin with one of the keys. Throws `invalidArgument`, with a reason that repeats nothing
    /// of it, for what cannot be meant.
    static func cloudStack(_ text: String) throws(StorageError) -> (url: PoolURL, secret: Secret?)? {
        let first = text.prefix { $0 != "=" && $0 != ";" }
        guard keys[trimmed(first).lowercased()] != nil, text.utf8.count <= PoolURL.largestByteCount else { return nil }
        guard !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
            throw failure("it has a control character")
        }
        var values: [String: String] = [:]
        for part in text.split(separator: ";") {
            guard let equals = part.firstIndex(of: "=") else { throw failure("a part is not KEY=VALUE") }
            // No unknown key is repeated: it may be the rest of a password with a ';' in it.
            guard let name = keys[trimmed(part[..<equals]).lowercased()] else {
                throw failure("it has a key that CloudStack's form does not have; in a password there is no ';'")
            }
            let value = part[part.index(after: equals)...]
            guard !name.isEmpty else { continue }
            guard values.updateValue(name == "password" ? String(value) : trimmed(value), forKey: name) == nil else {
                throw failure("a key is given twice")
            }
        }
        guard let address = HostAndPort(values.removeValue(forKey: "mvip") ?? "") else {
            throw failure("it needs the array's management address: MVIP=HOST[:PORT]")
        }
        let password = values.removeValue(forKey: "password")
        let url = PoolURL(
            scheme: scheme, authority: address.description, path: "",
            parameters: values.filter { !$0.value.isEmpty })
        // What is wrong is said now, and in the words of this form's meaning.
        _ = try ElementLocation(url)
        return (url, password.flatMap { $0.isEmpty ? nil : Secret($0) })
    }

    private static func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
