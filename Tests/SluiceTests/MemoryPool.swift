import BlockStorage
import Foundation
import IORuntime
import Sluice

/// Storage in memory that several pools of several hosts may show, as a file system is shared.
final class SharedStorage: Sendable {
    fileprivate struct Entry {
        var volume: MemoryVolume
        var request: CreateRequest
        var snapshots: [String: [UInt8]] = [:]
        var readers = 0
        var hasWriter = false
        var isTemplate = false
    }

    fileprivate let entries = Locked<[String: Entry]>([:])
    /// Thrown by writes to volumes opened from now on.
    let writeFailure = Locked<StorageError?>(nil)

    /// The names of what is there.
    var names: [String] { entries.withLock { $0.keys.sorted() } }
}

extension PoolDriver {
    /// `memory:///…` pools on one storage for each path.
    static func memory(_ storages: [String: SharedStorage]) -> PoolDriver {
        PoolDriver(scheme: "memory") { configuration throws(StorageError) in
            guard let storage = storages[configuration.url.path] else {
                throw StorageError(.notFound, "open pool", at: "\(configuration.url)")
            }
            return MemoryPool(name: configuration.name, storage: storage)
        }
    }
}

/// A pool whose volumes are in memory: what the host is tested against without files.
struct MemoryPool: StoragePool {
    let name: String
    let storage: SharedStorage
    var kind: String { "memory" }
    var formats: [VolumeFormat] { [.raw] }
    var capabilities: [Capability] { [Capability(.snapshot), Capability(.exclusiveAttach)] }

    func statistics() async throws(StorageError) -> PoolStatistics {
        PoolStatistics(capacity: 1 << 30, allocated: 1 << 20, available: (1 << 30) - (1 << 20))
    }

    func listVolumes() async throws(StorageError) -> [VolumeDescription] {
        storage.entries.withLock { entries in
            entries.filter { !$0.value.isTemplate }.map { describe($0.key, $0.value) }
        }
    }

    func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription {
        describe(name, try entry(name))
    }

    func createVolume(
        _ name: String, _ request: CreateRequest
    ) async throws(StorageError) -> VolumeDescription {
        try storage.entries.withLock { entries throws(StorageError) in
            if let existing = entries[name] {
                guard existing.request == request else {
                    throw StorageError(.alreadyExists, "create volume", at: name)
                }
                return describe(name, existing)
            }
            let entry = SharedStorage.Entry(volume: MemoryVolume(size: request.size), request: request)
            entries[name] = entry
            return describe(name, entry)
        }
    }

    func cloneVolume(
        _ source: VolumeReference, as name: String, _ request: CloneRequest
    ) async throws(StorageError) -> VolumeDescription {
        let origin = try entry(source.name)
        let contents = source.snapshot.flatMap { origin.snapshots[$0] } ?? origin.volume.contents
        let volume = MemoryVolume(contents)
        try await volume.resize(to: request.size ?? UInt64(contents.count))
        let create = CreateRequest(size: volume.geometry.size)
        storage.entries.withLock { $0[name] = SharedStorage.Entry(volume: volume, request: create) }
        return try await describeVolume(name)
    }

    func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError) {
        try storage.entries.withLock { entries throws(StorageError) in
            if let entry = entries[name], entry.hasWriter || entry.readers > 0 {
                throw StorageError(.busy, "delete volume", at: name)
            }
            entries[name] = nil
        }
    }

    func renameVolume(_ name: String, to newName: String) async throws(StorageError) {
        let entry = try entry(name)
        storage.entries.withLock { entries in
            entries[name] = nil
            entries[newName] = entry
        }
    }

    func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
        let volume = try entry(name).volume
        guard allowShrink || size >= volume.geometry.size else {
            throw StorageError(.invalidArgument, "resize volume", at: name, why: "it would shrink")
        }
        try await volume.resize(to: size)
    }

    func flattenVolume(_ name: String) async throws(StorageError) { _ = try entry(name) }

    func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport {
        _ = try entry(name)
        return CheckReport()
    }

    func openVolume(_ reference: VolumeReference, mode: OpenMode) async throws(StorageError) -> any Volume {
        let name = reference.name
        return try storage.entries.withLock { entries throws(StorageError) in
            guard var entry = entries[name] else { throw StorageError(.notFound, "open volume", at: name) }
            if let snapshot = reference.snapshot {
                guard let contents = entry.snapshots[snapshot] else {
                    throw StorageError(.notFound, "open snapshot", at: "\(reference)")
                }
                return MemoryVolume(contents, isReadOnly: true)
            }
            guard !entry.hasWriter, mode == .readOnly || entry.readers == 0 else {
                throw StorageError(.busy, "open volume", at: name)
            }
            if mode == .exclusive { entry.hasWriter = true } else { entry.readers += 1 }
            entries[name] = entry
            let failure = storage.writeFailure.withLock { $0 }
            return OpenVolume(base: entry.volume, isReadOnly: mode == .readOnly, writeFailure: failure) {
                storage.entries.withLock { entries in
                    if mode == .exclusive { entries[name]?.hasWriter = false } else { entries[name]?.readers -= 1 }
                }
            }
        }
    }

    func createSnapshot(
        _ snapshot: String, of volume: String
    ) async throws(StorageError) -> SnapshotDescription {
        let contents = try entry(volume).volume.contents
        storage.entries.withLock { $0[volume]?.snapshots[snapshot] = contents }
        return SnapshotDescription(name: snapshot, size: UInt64(contents.count), createdAt: 0)
    }

    func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] {
        try entry(volume).snapshots.map { SnapshotDescription(name: $0, size: UInt64($1.count), createdAt: 0) }
    }

    func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) {
        _ = try entry(volume)
        storage.entries.withLock { $0[volume]?.snapshots[snapshot] = nil }
    }

    func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
        throw StorageError(.notSupported, "revert volume", at: volume)
    }

    func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription {
        try await describeVolume(name)
    }

    func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate {
        throw StorageError(.notSupported, "stage template", at: name)
    }

    func listTemplates() async throws(StorageError) -> [VolumeDescription] {
        storage.entries.withLock { entries in
            entries.filter(\.value.isTemplate).map { describe($0.key, $0.value) }
        }
    }

    func deleteTemplate(_ name: String) async throws(StorageError) { storage.entries.withLock { $0[name] = nil } }

    private func entry(_ name: String) throws(StorageError) -> SharedStorage.Entry {
        guard let entry = storage.entries.withLock({ $0[name] }) else {
            throw StorageError(.notFound, "find volume", at: name)
        }
        return entry
    }

    private func describe(_ name: String, _ entry: SharedStorage.Entry) -> VolumeDescription {
        VolumeDescription(
            name: name, path: "/memory/\(name)", format: entry.request.format,
            virtualSize: entry.volume.geometry.size, allocatedSize: 0, provisioning: entry.request.provisioning,
            snapshots: entry.snapshots.keys.sorted())
    }
}

/// A volume that gives its hold back when it is closed.
private final class OpenVolume: Volume {
    private let base: MemoryVolume
    private let isReadOnly: Bool
    private let writeFailure: StorageError?
    private let release: Locked<(@Sendable () -> Void)?>

    init(
        base: MemoryVolume, isReadOnly: Bool, writeFailure: StorageError?, release: @escaping @Sendable () -> Void
    ) {
        (self.base, self.isReadOnly, self.writeFailure) = (base, isReadOnly, writeFailure)
        self.release = Locked(release)
    }

    var geometry: VolumeGeometry { VolumeGeometry(size: base.geometry.size, isReadOnly: isReadOnly) }
    var stack: String { "shared(memory)" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await base.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        if let writeFailure { throw writeFailure }
        try geometry.checkWritable()
        try await base.write(bytes, at: offset, options: options)
    }

    func flush() async throws(StorageError) {}

    func discard(_ range: Range<UInt64>) async throws(StorageError) { try await base.discard(range) }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await base.writeZeroes(range, options: options)
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }

    func close() async throws(StorageError) {
        let release = release.withLock { release in
            defer { release = nil }
            return release
        }
        release?()
    }
}
