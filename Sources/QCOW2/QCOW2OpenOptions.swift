import BlockStorage

/// How an image is opened.
public struct QCOW2OpenOptions: Sendable {
    /// No writes, and nothing in the image changes.
    public var isReadOnly = false
    /// Where the image holds nothing itself. The engine opens no file by itself: the caller resolves the name in the
    /// header, through its own gate. Closed with the image.
    public var backing: (any Volume)?
    /// The external data file, of an image that has one. Closed with the image.
    public var dataFile: (any ResizableVolume)?
    /// The name or id of the internal snapshot to read instead of the current state; implies `isReadOnly`.
    public var snapshot: String?
    /// Keeps acknowledged writes through the death of this process; `nil` promises only what a flush promises.
    public var journal: QCOW2Journal?
    /// The most memory for L2 tables, in bytes. As much as the disk has is used, up to this.
    public var cacheByteCount = 32 << 20

    /// For reading and writing, without a backing file.
    public init() {}
}
