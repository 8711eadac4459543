import BlockStorage

/// What the URL of a pool on a tgt target says:
/// `tgt://HOST[:PORT]?control=N&directory=DIR[&…]`, with what `ISCSILocation` takes.
struct TGTLocation: Equatable, Sendable {
    /// Where initiators log in.
    var portal: HostAndPort
    /// Which of the host's daemons: the number that tgtd was given as `--control-port`.
    var control: UInt16
    /// Where the units' files are, and what is known of them.
    var directory: String
    var units: ISCSILocation

    static let scheme = "tgt"
    static let parameters = ISCSILocation.parameters.union(["control", "directory"])

    /// Throws `invalidArgument` for what cannot be meant.
    init(_ url: PoolURL) throws(StorageError) {
        func failure(_ why: String) -> StorageError {
            StorageError(.invalidArgument, "pool URL", at: "\(Self.scheme)://…", why: why)
        }
        guard url.user == nil, url.path.isEmpty, !url.authority.isEmpty else {
            throw failure("it is written tgt://HOST:PORT?control=N&directory=DIR")
        }
        guard let address = HostAndPort(url.authority) else {
            throw failure("a portal is HOST or HOST:PORT, with IPv6 addresses in brackets")
        }
        portal = address.withPort(usual: ISCSILocation.usualPort)
        guard let control = UInt16(url.parameters["control"] ?? "0") else {
            throw failure("'control' is the number of tgtd's control port, 0 to 65535")
        }
        self.control = control
        guard let directory = url.parameters["directory"], directory.hasPrefix("/") else {
            throw failure("'directory' must be the absolute path of a directory for the units' files")
        }
        self.directory = directory
        units = try ISCSILocation(url)
    }
}
