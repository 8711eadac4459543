/// What an image may ask for; the same as QEMU's (`block/qcow2.h`), so that either opens what the other wrote.
enum QCOW2Limits {
    static let clusterBits = 9...21
    /// Subclusters have at least 512 bytes.
    static let extendedL2ClusterBits = 14...21
    static let refcountOrder = 0...6
    /// In bytes.
    static let l1Table: UInt64 = 32 << 20
    /// In bytes.
    static let refcountTable: UInt64 = 8 << 20
    static let snapshotCount: UInt32 = 65536
    /// In bytes.
    static let snapshotTable: UInt64 = 64 << 20
    /// Of one snapshot, in bytes.
    static let snapshotExtraData: UInt32 = 1024
    /// In bytes.
    static let backingFileName = 1023
    /// A disk's size and every host offset stay below this: bits 9 to 55 of a table entry address a cluster.
    static let hostOffset: UInt64 = 1 << 56
    /// The unit that storage writes whole, in bytes; nothing relies on more.
    static let sector: UInt64 = 512
}
