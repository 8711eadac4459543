import BlockStorage

/// What the URL of a pool on a tgt target says:
/// `tgt://HOST[:PORT]?control=N&directory=DIR[&initiator=NAME&bind=ADDRESS&header-digest=none|crc32c]`.
struct TGTLocation: Equatable, Sendable {
    /// `HOST:PORT`, where initiators log in.
    var portal: String
    /// Which of the host's daemons: the number that tgtd was given as `--control-port`.
    var control: UInt16
    /// Where the units' files are, and what is known of them.
    var directory: String
    var initiator: InitiatorLocation

    static let scheme = "tgt"
    static let parameters = InitiatorLocation.parameters.union(["control", "directory"])

    /// Throws `invalidArgument` for what cannot be meant.
    init(_ url: PoolURL) throws(StorageError) {
        func failure(_ why: String) -> StorageError {
            StorageError(.invalidArgument, "pool URL", at: "\(Self.scheme)://…", why: why)
        }
        guard url.user == nil, url.path.isEmpty, !url.authority.isEmpty else {
            throw failure("it is written tgt://HOST:PORT?control=N&directory=DIR")
        }
        portal = try InitiatorLocation.portal(url.authority, scheme: Self.scheme)
        guard let control = UInt16(url.parameters["control"] ?? "0") else {
            throw failure("'control' is the number of tgtd's control port, 0 to 65535")
        }
        self.control = control
        guard let directory = url.parameters["directory"], directory.hasPrefix("/") else {
            throw failure("'directory' must be the absolute path of a directory for the units' files")
        }
        self.directory = directory
        initiator = try InitiatorLocation(url)
    }
}

/// How this host logs in to targets, as the URLs of all pools on them say it.
struct InitiatorLocation: Equatable, Sendable {
    /// This host's name; nil for the one that open-iscsi has.
    var name: String?
    /// The address of this host on the storage network; nil lets the routes decide.
    var boundAddress: String?
    var hasHeaderDigest: Bool

    static let parameters: Set<String> = ["initiator", "bind", "header-digest"]

    init(_ url: PoolURL) throws(StorageError) {
        func failure(_ why: String) -> StorageError {
            StorageError(.invalidArgument, "pool URL", at: "\(url.scheme)://…", why: why)
        }
        name = url.parameters["initiator"]
        if let name {
            let isName =
                ["iqn.", "eui.", "naa."].contains(where: name.hasPrefix) && name.utf8.count <= 223
                && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }
            guard isName else { throw failure("'initiator' is no name such as iqn.1993-08.org.debian:01:host") }
        }
        boundAddress = url.parameters["bind"]
        if let boundAddress {
            guard !boundAddress.isEmpty, boundAddress.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw failure("'bind' is no address of this host")
            }
        }
        switch url.parameters["header-digest"] {
        case nil, "none": hasHeaderDigest = false
        case "crc32c": hasHeaderDigest = true
        default: throw failure("'header-digest' is none or crc32c")
        }
    }

    /// `HOST:PORT`, for `HOST` too; IPv6 addresses stand in brackets. Throws `invalidArgument` for anything else.
    static func portal(_ text: String, scheme: String) throws(StorageError) -> String {
        func failure(_ why: String) -> StorageError {
            StorageError(.invalidArgument, "pool URL", at: "\(scheme)://…", why: why)
        }
        let host =
            text.hasPrefix("[")
            ? text.prefix { $0 != "]" } + (text.contains("]") ? "]" : "") : text.prefix { $0 != ":" }
        let rest = text.dropFirst(host.count)
        let isHost =
            host.hasPrefix("[")
            ? host.hasSuffix("]")
                && host.dropFirst().dropLast().utf8.allSatisfy { isHexadecimal($0) || ":.".utf8.contains($0) }
                && host.contains(":")
            : !host.isEmpty && host.utf8.allSatisfy { isLetterOrDigit($0) || "-._".utf8.contains($0) }
        guard isHost else { throw failure("a portal is HOST or HOST:PORT, with IPv6 addresses in brackets") }
        if rest.isEmpty { return "\(host):3260" }
        guard rest.hasPrefix(":"), !rest.dropFirst().hasPrefix("+"), let port = UInt16(rest.dropFirst()), port > 0
        else {
            throw failure("the port of a portal is no number from 1 to 65535")
        }
        return "\(host):\(port)"
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        Character(Unicode.Scalar(byte)).isHexDigit
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        let character = Character(Unicode.Scalar(byte))
        return character.isASCII && (character.isLetter || character.isNumber)
    }
}
