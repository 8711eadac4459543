import BlockStorage
import SystemPackage

/// How far a server is trusted, and what a download needs to know of this host.
public struct DownloadOptions: Sendable {
    public var limits = DownloadLimits()
    /// Where this host is: the ISO 3166 code of its country, as metalinks name the locations of their mirrors. Nil
    /// where it does not matter.
    public var location: String?
    /// A file with the certificates, in PEM, of authorities to trust besides the system's.
    public var authorities: FilePath?
    /// For the server of the URL, and for no other that it redirects to or that a metalink names.
    public var credentials: DownloadCredentials?

    public init() {}
}

/// What a server may ask of this host before it is left.
public struct DownloadLimits: Sendable {
    /// The largest file, in bytes.
    public var largestSize: UInt64 = 4 << 40
    /// The largest metalink, in bytes.
    public var largestMetalink = 4 << 20
    /// The lowest rate, in bytes a second, over any `rateWindow`.
    public var lowestRate: UInt64 = 1024
    public var rateWindow = Duration.seconds(60)
    /// How long a server may say nothing.
    public var idleTime = Duration.seconds(30)
    /// How long it may take to connect, with the TLS handshake.
    public var connectTime = Duration.seconds(10)
    /// How long all of it may take, with every attempt.
    public var totalTime = Duration.seconds(24 * 3600)
    /// How many redirects one request may follow.
    public var redirects = 5
    /// The largest header of an answer, in bytes. No more than 2 MiB are read whatever it says.
    public var largestHeader = 64 << 10
    /// How often a location may fail, and, apart from that, send wrong bytes, before it is left.
    public var attempts = 3
    /// How many mirrors of one file are read from at the same time.
    public var parallelMirrors = 4
    /// How long a location that failed is left alone; the double after its second failure, and so on.
    public var retryDelay = Duration.milliseconds(500)

    public init() {}
}
