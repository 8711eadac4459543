import BlockStorage
import IORuntime
import Testing

/// A pool in memory that has templates and nothing else, and can be told to fail.
final class TestPool: StoragePool {
    struct State {
        var templates: [String: MemoryVolume] = [:]
        /// Names that volumes have.
        var volumes: Set<String> = []
        /// Staged templates that were neither published nor discarded.
        var stagedCount = 0
        var stagings = 0
        var opens = 0
        /// What the staged volume's writes throw.
        var writeFailure: StorageError?
        /// Called in the importing task, when it stages a template.
        var onStage: (@Sendable () -> Void)?
        /// Called once, before the next template is published.
        var beforePublish: (@Sendable () -> Void)?
    }

    let state = Locked(State())
    let name = "test"
    let kind = "test"
    let formats: [VolumeFormat] = [.qcow2]
    let capabilities: [Capability] = []

    subscript(name: String) -> [UInt8]? { state.withLock { $0.templates[name] }?.contents }
    var stagedCount: Int { state.withLock { $0.stagedCount } }

    func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription {
        if state.withLock({ $0.volumes.contains(name) }) {
            return VolumeDescription(name: name, path: name, format: .raw, virtualSize: 512, allocatedSize: 0)
        }
        guard let volume = state.withLock({ $0.templates[name] }) else {
            throw StorageError(.notFound, "describe volume", at: name)
        }
        return describe(name, volume)
    }

    fileprivate func describe(_ name: String, _ volume: MemoryVolume) -> VolumeDescription {
        VolumeDescription(
            name: name, path: name, format: .qcow2, virtualSize: volume.geometry.size, allocatedSize: 0,
            isTemplate: true)
    }

    func openVolume(_ reference: VolumeReference, mode: OpenMode) async throws(StorageError) -> any Volume {
        let contents = state.withLock { state in
            state.opens += 1
            return state.templates[reference.name]?.contents
        }
        guard let contents else { throw StorageError(.notFound, "open volume", at: reference.name) }
        return MemoryVolume(contents, isReadOnly: true)
    }

    func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate {
        let hook = state.withLock { state in
            state.stagings += 1
            state.stagedCount += 1
            return state.onStage
        }
        hook?()
        return StagedTestTemplate(self, name, size)
    }

    private func unsupported() -> StorageError { StorageError(.notSupported, "test pool") }

    func statistics() async throws(StorageError) -> PoolStatistics { throw unsupported() }
    func listVolumes() async throws(StorageError) -> [VolumeDescription] { [] }
    func createVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) -> VolumeDescription {
        throw unsupported()
    }
    func cloneVolume(
        _ source: VolumeReference, as name: String, _ request: CloneRequest
    ) async throws(StorageError) -> VolumeDescription { throw unsupported() }
    func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError) { throw unsupported() }
    func renameVolume(_ name: String, to newName: String) async throws(StorageError) { throw unsupported() }
    func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
        throw unsupported()
    }
    func flattenVolume(_ name: String) async throws(StorageError) { throw unsupported() }
    func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport {
        throw unsupported()
    }
    func createSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) -> SnapshotDescription {
        throw unsupported()
    }
    func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] { [] }
    func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) { throw unsupported() }
    func revert(_ volume: String, to snapshot: String) async throws(StorageError) { throw unsupported() }
    func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription {
        throw unsupported()
    }
    func listTemplates() async throws(StorageError) -> [VolumeDescription] { [] }
    func deleteTemplate(_ name: String) async throws(StorageError) { throw unsupported() }
}

private final class StagedTestTemplate: StagedTemplate {
    private let pool: TestPool
    private let name: String
    private let memory: MemoryVolume
    private let isDone = Locked(false)
    let volume: any ResizableVolume

    init(_ pool: TestPool, _ name: String, _ size: UInt64) {
        (self.pool, self.name, memory) = (pool, name, MemoryVolume(size: size))
        volume = FailingVolume(memory, pool)
    }

    func publish() async throws(StorageError) -> VolumeDescription {
        let before = pool.state.withLock { state in
            defer { state.beforePublish = nil }
            return state.beforePublish
        }
        before?()
        let isTaken = pool.state.withLock { state in
            if state.templates[name] != nil { return true }
            state.templates[name] = memory
            return false
        }
        if isTaken { throw StorageError(.alreadyExists, "publish template", at: name) }
        end()
        return pool.describe(name, memory)
    }

    func discard() async {
        #expect(!Task.isCancelled)
        end()
    }

    private func end() {
        let wasDone = isDone.withLock { isDone in
            defer { isDone = true }
            return isDone
        }
        if !wasDone { pool.state.withLock { $0.stagedCount -= 1 } }
    }
}

private final class FailingVolume: ResizableVolume {
    private let base: MemoryVolume
    private let pool: TestPool

    init(_ base: MemoryVolume, _ pool: TestPool) { (self.base, self.pool) = (base, pool) }

    var geometry: VolumeGeometry { base.geometry }
    var stack: String { "failing" }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        if let failure = pool.state.withLock({ $0.writeFailure }) { throw failure }
        try await base.write(bytes, at: offset, options: options)
    }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await base.read(into: &buffer, at: offset)
    }

    func flush() async throws(StorageError) { try await base.flush() }
    func discard(_ range: Range<UInt64>) async throws(StorageError) { try await base.discard(range) }
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await base.writeZeroes(range, options: options)
    }
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] { try await base.extents(in: range) }
    func resize(to size: UInt64) async throws(StorageError) { try await base.resize(to: size) }
    func close() async throws(StorageError) { try await base.close() }
}
