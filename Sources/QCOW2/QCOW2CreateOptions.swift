/// What a new image is like.
public struct QCOW2CreateOptions: Sendable {
    /// How much space a new image takes at once.
    public enum Preallocation: String, Sendable, CaseIterable {
        /// Nothing beyond the header and empty tables.
        case off
        /// Every cluster has its place and none has space.
        case metadata
        /// As `metadata`, and space is reserved.
        case falloc
        /// As `metadata`, and zeros are written.
        case full
    }

    /// Of the disk, in bytes; rounded up to whole sectors of 512, since QEMU does not see a part of one.
    public var size: UInt64
    /// 2 or 3.
    public var version: UInt32 = 3
    /// In bytes, a power of two, 512 to 2 MiB; from 16 KiB with extended L2 entries.
    public var clusterSize: UInt64 = 64 << 10
    /// The width of a refcount in bits, a power of two up to 64; 16 in version 2.
    public var refcountBits = 16
    /// L2 entries that address subclusters; version 3 only.
    public var hasExtendedL2 = false
    /// How compressed clusters will be compressed; zstd needs version 3.
    public var compressionType = QCOW2CompressionType.zlib
    /// Lets QEMU postpone refcount updates; version 3 only.
    public var hasLazyRefcounts = false
    /// Recorded in the image as it is: whoever opens the image resolves it.
    public var backingFile: String?
    /// Recorded with `backingFile`.
    public var backingFormat: String?
    /// The name of the file that holds the guest data, recorded as it is; version 3 only.
    public var dataFile: String?
    /// The external data file is to be a raw image of the disk at all times.
    public var hasRawExternalData = false
    /// How much space the image takes at once.
    public var preallocation = Preallocation.off

    /// An image of version 3 with QEMU's defaults, for a disk of `size` bytes.
    public init(size: UInt64) { self.size = size }
}
