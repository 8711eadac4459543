import BlockStorage

/// Where a pool is and how it is used: `SCHEME://[USER@]HOST/PATH[?NAME=VALUE&…]`, without any secret.
///
/// Two URLs that mean the same are equal and print the same.
public struct PoolURL: Hashable, Sendable {
    public var scheme: String
    public var user: String?
    /// Hosts and ports as written, empty for pools of this host.
    public var authority: String
    /// Absolute, without empty, `.` or `..` components and without a trailing slash.
    public var path: String
    public var parameters: [String: String]

    /// Longer ones are refused.
    static let largestByteCount = 4096
    /// Names of parameters whose values are secrets, in lower case.
    private static let secretParameters: Set<String> = ["secret", "password", "key", "clusteradminpassword"]

    /// Parses `text`, and takes a secret out of `USER:SECRET@` or out of a parameter that holds one.
    ///
    /// Throws `invalidArgument`, with a reason that repeats nothing of the text but its scheme.
    public static func parse(_ text: String) throws(StorageError) -> (url: PoolURL, secret: Secret?) {
        if let found = try ElementLocation.cloudStack(text) { return found }
        let parser = try Parser(text)
        return try parser.parse()
    }

    private struct Parser {
        let scheme: String
        let rest: Substring

        init(_ text: String) throws(StorageError) {
            guard let colon = text.firstRange(of: "://"), text.utf8.count <= PoolURL.largestByteCount else {
                throw StorageError(.invalidArgument, "pool URL", why: "it must be SCHEME://… of at most 4096 bytes")
            }
            scheme = text[..<colon.lowerBound].lowercased()
            rest = text[colon.upperBound...]
            let isName = scheme.utf8.allSatisfy { byte in
                byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")
                    || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
            }
            guard isName, (1...32).contains(scheme.utf8.count) else {
                throw StorageError(.invalidArgument, "pool URL", why: "the scheme must be 1 to 32 letters and digits")
            }
            guard !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
                throw failure("it has a control character")
            }
        }

        func failure(_ why: String) -> StorageError {
            StorageError(.invalidArgument, "pool URL", at: "\(scheme)://…", why: why)
        }

        func parse() throws(StorageError) -> (url: PoolURL, secret: Secret?) {
            let query = rest.firstIndex(of: "?")
            let location = rest[..<(query ?? rest.endIndex)]
            let slash = location.firstIndex(of: "/") ?? location.endIndex
            try checkLogin(location[..<slash], path: location[slash...], query: query.map { rest[$0...] } ?? "")
            var (authority, user, secret) = try authority(location[..<slash])
            var parameters: [String: String] = [:]
            if let query {
                for part in rest[rest.index(after: query)...].split(separator: "&") {
                    let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    guard pair.count == 2, !pair[0].isEmpty else { throw failure("a parameter is not NAME=VALUE") }
                    let name = try decode(pair[0])
                    let value = try decode(pair[1])
                    if PoolURL.secretParameters.contains(name.lowercased()) {
                        guard secret == nil else { throw failure("it has more than one secret") }
                        secret = Secret(value)
                    } else if parameters.updateValue(value, forKey: name) != nil {
                        throw failure("a parameter is given twice")
                    }
                }
            }
            if user?.isEmpty == true { user = nil }
            let url = PoolURL(
                scheme: scheme, user: user, authority: authority, path: try path(location[slash...]),
                parameters: parameters)
            return (url, secret)
        }

        /// Refuses a login whose secret has a '/' or '?' as it is: the rest of the secret would be taken for a path or for
        /// parameters, and be shown.
        private func checkLogin(
            _ authority: Substring, path: Substring, query: Substring
        ) throws(StorageError) {
            guard !authority.isEmpty else { return }
            let port = authority.lastIndex(of: ":").map { authority[authority.index(after: $0)...] } ?? ""
            let mayBeLogin = !authority.contains("@") && !port.allSatisfy { "0123456789]".contains($0) }
            guard !path.contains("@"), !(mayBeLogin && query.contains("@")) else {
                throw failure("in a user, a secret or a path write '/' as %2F, '?' as %3F and '@' as %40")
            }
        }

        private func authority(_ text: Substring) throws(StorageError) -> (String, user: String?, Secret?) {
            guard let at = text.lastIndex(of: "@") else { return (String(text), nil, nil) }
            let login = text[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let user = try login.first.map { part throws(StorageError) in try decode(part) }
            let secret = login.count == 2 ? Secret(try decode(login[1])) : nil
            return (String(text[text.index(after: at)...]), user, secret)
        }

        private func path(_ text: Substring) throws(StorageError) -> String {
            let components = try decode(text).split(separator: "/").filter { $0 != "." }
            guard !components.contains("..") else { throw failure("the path has a '..'") }
            return components.isEmpty ? "" : "/" + components.joined(separator: "/")
        }

        private func decode(_ text: Substring) throws(StorageError) -> String {
            var bytes: [UInt8] = []
            var rest = text.utf8[...]
            while let byte = rest.popFirst() {
                guard byte == UInt8(ascii: "%") else {
                    bytes.append(byte)
                    continue
                }
                guard let digits = String(rest.prefix(2)), digits.utf8.count == 2, digits.first != "+",
                    let value = UInt8(digits, radix: 16), value >= 0x20, value != 0x7f
                else { throw failure("a '%' is not followed by two hexadecimal digits of a printable byte") }
                bytes.append(value)
                rest = rest.dropFirst(2)
            }
            guard let result = String(validating: bytes, as: UTF8.self) else { throw failure("it is not UTF-8") }
            return result
        }
    }
}

extension PoolURL: CustomStringConvertible {
    /// The URL in its canonical form, which parses to an equal value.
    public var description: String {
        let login = user.map { "\(Self.encode($0))@" } ?? ""
        let query = parameters.sorted { $0.key < $1.key }.map {
            "\(Self.encode($0.key))=\(Self.encode($0.value, keeping: "/:"))"
        }
        let suffix = query.isEmpty ? "" : "?\(query.joined(separator: "&"))"
        return "\(scheme)://\(login)\(authority)\(Self.encode(path, keeping: "/"))\(suffix)"
    }

    private static func encode(_ text: String, keeping extra: String = "") -> String {
        var result = ""
        for byte in text.utf8 {
            let character = Character(Unicode.Scalar(byte))
            let isPlain = byte < 0x80 && (character.isLetter || character.isNumber || "-._~+,".contains(character))
            if isPlain || extra.utf8.contains(byte) {
                result.append(character)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += byte < 16 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }
}

extension PoolURL {
    /// The time in which the pool must answer a request, in seconds: `deadline=`, 60 where it is not given.
    public var deadlineSeconds: Int { parameters["deadline"].flatMap { Int($0) } ?? 60 }

    /// How many logical bytes a pool may promise for each byte of its capacity: `overprovisioning=`, at least 1; nil
    /// where it is not given.
    public var overprovisioning: Double? { parameters["overprovisioning"].flatMap { Double($0) } }

    /// `force=true`: use a place that does not look right for the pool, such as a mount of a local file system.
    public var isForced: Bool { parameters["force"].map { $0 == "true" || $0 == "1" } ?? false }

    /// What the URLs of all pools take.
    static let commonParameters: Set<String> = ["deadline", "overprovisioning", "force"]

    /// Throws `invalidArgument` for a parameter that is neither common to all pools nor in `known`, or has no
    /// meaningful value.
    func checkParameters(known: Set<String>) throws(StorageError) {
        let common = Self.commonParameters
        for (name, value) in parameters.sorted(by: { $0.key < $1.key }) {
            guard common.contains(name) || known.contains(name) else {
                throw StorageError(
                    .invalidArgument, "pool URL", at: "\(scheme)://…",
                    why: "unknown parameter '\(name.prefix(40))', use one of: "
                        + common.union(known).sorted().joined(separator: " "))
            }
            let isGood =
                switch name {
                case "deadline": Int(value).map { (1...86_400).contains($0) } ?? false
                case "overprovisioning": Double(value).map { $0 >= 1 && $0 <= 1000 } ?? false
                case "force": ["true", "false", "1", "0"].contains(value)
                default: true
                }
            guard isGood else {
                throw StorageError(
                    .invalidArgument, "pool URL", at: "\(scheme)://…",
                    why: "'\(name)' has no such value: "
                        + "deadline is 1 to 86400 seconds, overprovisioning 1 to 1000, force true or false")
            }
        }
    }
}
