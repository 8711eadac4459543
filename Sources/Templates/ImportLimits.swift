/// How much a template may ask of this host.
public struct ImportLimits: Sendable {
    /// The largest image that a source may unpack to, and the largest disk that it may describe, in bytes.
    public var largestSize: UInt64 = 16 << 40
    /// How many bytes that are not zero one byte of the source may unpack to, once more than 64 MiB have come out.
    public var largestRatio: UInt64 = 1100
    /// How long it may take to unpack.
    public var unpackTime = Duration.seconds(6 * 3600)

    /// Limits that no sensible template reaches.
    public init() {}
}
