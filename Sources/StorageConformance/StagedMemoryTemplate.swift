import BlockStorage

/// A template of a memory pool that is being filled.
final class StagedMemoryTemplate: StagedTemplate {
    private let pool: MemoryPool
    private let name: String
    private let entry: MemoryPool.Entry
    private let claim: String

    init(_ pool: MemoryPool, _ name: String, _ entry: MemoryPool.Entry, _ claim: String) {
        self.pool = pool
        self.name = name
        self.entry = entry
        self.claim = claim
    }

    var volume: any ResizableVolume { entry.contents }

    func publish() throws(StorageError) -> VolumeDescription { try pool.publish(name, entry, claim) }

    func discard() { pool.discard(claim) }
}
