import BlockStorage
import IORuntime

/// What one test works with, and what it has to leave behind as it was: every volume, template and attachment made
/// through it is gone after `cleanUp`.
final class ConformanceContext: Sendable {
    private struct State {
        var names = 0
        var volumes: [String] = []
        var templates: [String] = []
        var opened: [any Volume] = []
        var staged: [any StagedTemplate] = []
    }

    let pool: any StoragePool
    let options: PoolConformance.Options
    let seed: UInt64
    /// The format under test; the pool's usual one where formats do not matter.
    let format: VolumeFormat
    private let run: String
    private let state = Locked(State())

    init(_ pool: any StoragePool, _ options: PoolConformance.Options, format: VolumeFormat?, seed: UInt64) {
        self.pool = pool
        self.options = options
        size = options.volumeSize ?? PoolConformance.usualSize
        self.format = format ?? pool.formats.first ?? .raw
        self.seed = seed
        run = String(UInt32.random(in: 0...UInt32.max), radix: 36)
    }

    /// Of test volumes, in bytes.
    let size: UInt64

    /// A name that nothing has; what comes to be called that is deleted in the end.
    func newName() -> String {
        state.withLock { state in
            state.names += 1
            let name = "\(options.namePrefix)\(run)-\(state.names)"
            state.volumes.append(name)
            return name
        }
    }

    /// As `newName`, for a template.
    func newTemplateName() -> String {
        let name = newName() + "-template"
        state.withLock { $0.templates.append(name) }
        return name
    }

    func request(size: UInt64? = nil, provisioning: ProvisioningType = .thin) -> CreateRequest {
        CreateRequest(size: size ?? self.size, format: format, provisioning: provisioning)
    }

    /// A new volume in the format under test; its name.
    func create(size: UInt64? = nil, provisioning: ProvisioningType = .thin) async throws -> String {
        let name = newName()
        _ = try await pool.createVolume(name, request(size: size, provisioning: provisioning))
        return name
    }

    /// A new volume with a random pattern in it, closed, and what it holds.
    func createFilled(size: UInt64? = nil) async throws -> (name: String, model: VolumeModel) {
        let name = try await create(size: size)
        var model = VolumeModel(size: size ?? self.size, seed: seed)
        try await with(VolumeReference(name), .exclusive) { try await model.mutate($0, operations: 40) }
        return (name, model)
    }

    /// A published template with a random pattern in it, and what it holds.
    func createTemplate() async throws -> (name: String, model: VolumeModel) {
        let name = newTemplateName()
        let staged = try await stage(name)
        var model = VolumeModel(size: size, seed: seed)
        try await model.mutate(staged.volume, operations: 40)
        _ = try await staged.publish()
        return (name, model)
    }

    func stage(_ name: String) async throws -> any StagedTemplate {
        let staged: any StagedTemplate
        do throws(StorageError) {
            staged = try await pool.stageTemplate(name, size: size)
        } catch {
            if error.code == .notSupported { throw NotCapable(reason: error.why) }
            throw error
        }
        self.staged(staged)
        return staged
    }

    /// Has a staged template discarded in the end.
    func staged(_ staged: any StagedTemplate) { state.withLock { $0.staged.append(staged) } }

    /// The pool as a host sees it that lets it promise no more than it does, and `volumes` volumes of the usual size.
    func limited(toVolumes volumes: UInt64) async throws -> any StoragePool {
        let promised = try await pool.provisioned()
        // Where formats have room of their own a volume takes more than its size.
        let probe = try await create()
        let one = try await pool.provisioned().bytes - promised.bytes
        try await pool.deleteVolume(probe, policy: .refuse)
        return try await limited(PoolLimits(capacityBytes: promised.bytes + volumes * one))
    }

    /// The pool as a host sees it that lets minimums add up to `iops` more than they do.
    func limited(toIOPS iops: UInt64) async throws -> any StoragePool {
        let promised = try await pool.provisioned()
        return try await limited(PoolLimits(overprovisioning: .infinity, capacityIOPS: promised.minIOPS + iops))
    }

    private func limited(_ limits: PoolLimits) async throws -> any StoragePool {
        guard let open = options.limited else { throw NotCapable(reason: "the pool is not opened with limits here") }
        return try await open(limits)
    }

    func clone(_ source: VolumeReference, size: UInt64? = nil, full: Bool = false) async throws -> String {
        let name = newName()
        _ = try await pool.cloneVolume(source, as: name, CloneRequest(size: size, isFull: full))
        return name
    }

    /// Opens a volume through the transport. It is closed in the end if the test does not close it.
    func open(_ reference: VolumeReference, _ mode: OpenMode) async throws -> any Volume {
        let volume = try await options.transport(try await pool.openVolume(reference, mode: mode))
        state.withLock { $0.opened.append(volume) }
        return volume
    }

    /// Runs `body` with an open volume and closes it.
    func with(
        _ reference: VolumeReference, _ mode: OpenMode, _ body: (any Volume) async throws -> Void
    ) async throws {
        let volume = try await open(reference, mode)
        try await body(volume)
        try await volume.close()
    }

    /// Opens a volume or snapshot for reading and compares it with `model`.
    func verify(_ reference: VolumeReference, _ model: VolumeModel, _ what: String) async throws {
        try await with(reference, .readOnly) { try await model.verify($0, what) }
    }

    /// Removes all that the test made, clones before their sources. Returns what could not be removed and why.
    func cleanUp() async -> [String] {
        let state = state.withLock { $0 }
        var problems: [String] = []
        for volume in state.opened {
            // A test may have closed it, or broken it on purpose; what matters is whether the deletion below works.
            try? await volume.close()
        }
        for staged in state.staged { await staged.discard() }
        let templates = Set(state.templates)
        for name in state.volumes.reversed() where !templates.contains(name) {
            do {
                for snapshot in (try? await pool.listSnapshots(of: name)) ?? [] {
                    if snapshot.isProtected {
                        try await pool.setProtected(false, snapshot: snapshot.name, of: name)
                    }
                    try await pool.deleteSnapshot(snapshot.name, of: name)
                }
                try await pool.deleteVolume(name, policy: .refuse)
            } catch {
                problems.append("\(name): \(error)")
            }
        }
        for name in state.templates.reversed() {
            do { try await pool.deleteTemplate(name) } catch { problems.append("\(name): \(error)") }
        }
        do {
            let prefix = "\(options.namePrefix)\(run)-"
            let left = try await pool.listVolumes().map(\.name) + pool.listTemplates().map(\.name)
            problems += left.filter { $0.hasPrefix(prefix) }.map { "\($0) is still listed" }
        } catch {
            problems.append("\(error)")
        }
        return problems
    }
}
