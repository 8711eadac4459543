import BlockStorage
import IORuntime
import Logging
import SystemPackage

/// The memory that a volume's own cache takes in the process that has it attached for writing.
public struct CacheMemory: Codable, Hashable, Sendable {
    /// In bytes; 0 for no cache.
    public var byteCount: UInt64
    /// Whether the volume has none because the caches of the host's other attachments take what is allowed.
    public var isRefused: Bool

    init(_ byteCount: UInt64, isRefused: Bool = false) {
        (self.byteCount, self.isRefused) = (byteCount, isRefused)
    }
}

extension RunningAttachment {
    /// What the caches of the attachments in `directory` take together, in bytes: of those that others see, and of those
    /// that are on their way.
    static func cacheBytes(in directory: FilePath) async -> UInt64 {
        var (sum, found) = (0 as UInt64, Set<String>())
        // One that is published meanwhile has its hidden name first, or is found by the other.
        for listing in [names(in: directory), names(in: directory)] {
            for id in listing where !found.contains(id) {
                for path in [hiddenRecord(id, in: directory), record(id, in: directory)] {
                    guard let attachment = await living(path, in: directory), found.insert(id).inserted else {
                        continue
                    }
                    sum = sum.addingSaturating(attachment.cache?.byteCount ?? 0)
                }
            }
        }
        return sum
    }
}

extension StorageHost {
    /// No volume has this address.
    private static let cacheLock = VolumeAddress(pool: "", name: "caches")

    /// Reserves the record of an attachment, and in it the memory of the volume's cache: none where the caches of this
    /// host's attachments would take more than `limit` bytes together.
    func reserve(
        _ record: inout RunningAttachment, cacheLimit limit: UInt64
    ) async throws(StorageError) -> File {
        try StorageHome.makeDirectory(home.run)
        guard record.mode == .exclusive, let wanted = try await cacheBytes(in: record.pool) else {
            return try await record.reserve()
        }
        // What is counted must not change until this one counts.
        let held = try await locks.acquire(
            [Self.cacheLock: .exclusive], "count caches", until: .now + operationWait)
        let taken = wanted == 0 ? 0 : await RunningAttachment.cacheBytes(in: home.run)
        let isRefused = taken.addingSaturating(wanted) > limit
        record.cache = isRefused ? CacheMemory(0, isRefused: true) : CacheMemory(wanted)
        let file: File
        do throws(StorageError) {
            file = try await record.reserve()
            try await record.write(to: file)
        } catch {
            record.withdraw()
            await held.release()
            throw error
        }
        await held.release()
        if isRefused {
            log(
                .warning, "attached without a cache: those of this host take \(taken) of \(limit) bytes",
                "attach volume", record.address)
        }
        return file
    }

    /// The memory that the cache of a volume of that pool takes; nil where volumes have none of their own.
    private func cacheBytes(in pool: String) async throws(StorageError) -> UInt64? {
        guard let record = try await catalog.pool(pool) else { throw Self.noSuchPool(pool) }
        let url = try PoolURL.parse(record.url).url
        return try driver(of: url).cacheBytes(url)
    }
}
