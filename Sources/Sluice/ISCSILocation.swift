import BlockStorage

/// How this host logs in to targets, and how volumes lie on units, as the URLs of all pools of units say it:
/// `initiator=NAME&bind=ADDRESS&chap=one-way|mutual&header-digest=none|crc32c&snapshot-reserve=PERCENT`.
struct ISCSILocation: Equatable, Sendable {
    /// This host's name as an initiator; nil for the one that open-iscsi has.
    var initiator: String?
    /// The address of this host on the storage network; nil lets the routes decide.
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
        initiator = url.parameters["initiator"]
        if let name = initiator {
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
}
