import BlockStorage

/// How this host logs in to targets, and how volumes lie on units, as the URLs of all pools of units say it:
/// `initiator=NAME&bind=ADDRESS&chap=one-way|mutual&header-digest=none|crc32c&snapshot-reserve=PERCENT`.
struct ISCSILocation: Equatable, Sendable {
    /// This host's name as an initiator, in lower case; nil for the one that open-iscsi has.
    var initiator: String?
    /// The address of this host on the storage network, in numbers; nil lets the routes decide.
    var boundAddress: String?
    /// Whether targets must prove themselves, too.
    var isMutual: Bool
    var hasHeaderDigest: Bool
    /// By how much the unit of a QCOW2 image is larger than all of the image can be, in percent.
    var snapshotReserve: UInt8

    static let usualPort: UInt16 = 3260
    static let parameters: Set<String> = ["initiator", "bind", "chap", "header-digest", "snapshot-reserve"]

    init(_ url: PoolURL) throws(StorageError) {
        func failure(_ why: String) -> StorageError {
            StorageError(.invalidArgument, "pool URL", at: "\(url.scheme)://…", why: why)
        }
        // In capitals they are the same names, which targets compare in lower case (RFC 7143, section 4.2.7.1).
        initiator = url.parameters["initiator"]?.lowercased()
        if let name = initiator {
            let isName =
                ["iqn.", "eui.", "naa."].contains(where: name.hasPrefix) && name.utf8.count <= 223
                && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }
            guard isName else { throw failure("'initiator' is no name such as iqn.1993-08.org.debian:01:host") }
        }
        boundAddress = url.parameters["bind"]
        if let boundAddress {
            // A link-local one has a zone.
            let address = boundAddress.prefix { $0 != "%" }
            guard Self.isIPv4(boundAddress[...]) || Self.isIPv6(String(address)) else {
                throw failure("'bind' is an address of this host in numbers, such as 10.0.0.5 or 2001:db8::5")
            }
        }
        switch url.parameters["chap"] {
        case nil, "one-way": isMutual = false
        case "mutual": isMutual = true
        default: throw failure("'chap' is one-way or mutual")
        }
        switch url.parameters["header-digest"] {
        case nil, "none": hasHeaderDigest = false
        case "crc32c": hasHeaderDigest = true
        default: throw failure("'header-digest' is none or crc32c")
        }
        guard let percent = UInt8(url.parameters["snapshot-reserve"] ?? "0") else {
            throw failure("'snapshot-reserve' is a number of percent, 0 to 255")
        }
        snapshotReserve = percent
    }

    /// Four numbers without a zero in front, which some would take for octal.
    private static func isIPv4(_ text: Substring) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { part in UInt8(part).map { String($0) == part } ?? false }
    }

    /// As RFC 4291, section 2.2, has them: without brackets.
    private static func isIPv6(_ text: String) -> Bool {
        let halves = text.split(separator: "::", omittingEmptySubsequences: false)
        var count = 0
        for half in halves where !half.isEmpty {
            for group in half.split(separator: ":", omittingEmptySubsequences: false) {
                if group.endIndex == text.endIndex, isIPv4(group) {
                    count += 2
                } else {
                    guard (1...4).contains(group.utf8.count), group.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
                        return false
                    }
                    count += 1
                }
            }
        }
        return halves.count == 1 ? count == 8 : halves.count == 2 && count < 8
    }
}
