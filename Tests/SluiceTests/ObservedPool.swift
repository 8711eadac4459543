import BlockStorage
import IORuntime

/// Called with its name before and after each call of a pool, and each request of its volumes that changes something;
/// what it throws, the call throws.
typealias StepObserver = @Sendable (String) throws(StorageError) -> Void

/// A pool whose calls are observed.
struct ObservedPool: StoragePool {
    let base: any StoragePool
    let observe: StepObserver

    private func step<Result>(
        call: String = #function, _ body: () async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        try observe(call)
        let result = try await body()
        try observe(call)
        return result
    }

    var name: String { base.name }
    var kind: String { base.kind }
    var formats: [VolumeFormat] { base.formats }
    var capabilities: [Capability] { base.capabilities }

    func statistics() async throws(StorageError) -> PoolStatistics {
        try await step { () async throws(StorageError) in try await base.statistics() }
    }

    func listVolumes() async throws(StorageError) -> [VolumeDescription] {
        try await step { () async throws(StorageError) in try await base.listVolumes() }
    }

    func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription {
        try await step { () async throws(StorageError) in try await base.describeVolume(name) }
    }

    func createVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) -> VolumeDescription {
        try await step { () async throws(StorageError) in try await base.createVolume(name, request) }
    }

    func provisioned() async throws(StorageError) -> Provisioned {
        try await step { () async throws(StorageError) in try await base.provisioned() }
    }

    func reserveVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.reserveVolume(name, request) }
    }

    func cloneVolume(
        _ source: VolumeReference, as name: String, _ request: CloneRequest
    ) async throws(StorageError) -> VolumeDescription {
        try await step { () async throws(StorageError) in try await base.cloneVolume(source, as: name, request) }
    }

    func deleteVolume(_ name: String, policy: DeletePolicy) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.deleteVolume(name, policy: policy) }
    }

    func renameVolume(_ name: String, to newName: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.renameVolume(name, to: newName) }
    }

    func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
        try await step { () async throws(StorageError) in
            try await base.resizeVolume(name, to: size, allowShrink: allowShrink)
        }
    }

    func flattenVolume(_ name: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.flattenVolume(name) }
    }

    func checkVolume(_ name: String, repair: CheckRepair) async throws(StorageError) -> CheckReport {
        try await step { () async throws(StorageError) in try await base.checkVolume(name, repair: repair) }
    }

    func openVolume(_ reference: VolumeReference, mode: OpenMode) async throws(StorageError) -> any Volume {
        try observe(#function)
        let volume = ObservedVolume(base: try await base.openVolume(reference, mode: mode), observe: observe)
        do {
            try observe(#function)
        } catch {
            try? await volume.base.close()
            throw error
        }
        return volume
    }

    func breakLock(of volume: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.breakLock(of: volume) }
    }

    func createSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) -> SnapshotDescription {
        try await step { () async throws(StorageError) in try await base.createSnapshot(snapshot, of: volume) }
    }

    func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] {
        try await step { () async throws(StorageError) in try await base.listSnapshots(of: volume) }
    }

    func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.deleteSnapshot(snapshot, of: volume) }
    }

    func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.revert(volume, to: snapshot) }
    }

    func setProtected(_ protected: Bool, snapshot: String, of volume: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in
            try await base.setProtected(protected, snapshot: snapshot, of: volume)
        }
    }

    func setQoS(_ policy: QoSPolicy?, of volume: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.setQoS(policy, of: volume) }
    }

    func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription {
        try await step { () async throws(StorageError) in try await base.adoptVolume(name, format: format) }
    }

    func stageTemplate(_ name: String, size: UInt64) async throws(StorageError) -> any StagedTemplate {
        try observe(#function)
        let staged = ObservedTemplate(base: try await base.stageTemplate(name, size: size), observe: observe)
        do {
            try observe(#function)
        } catch {
            await staged.base.discard()
            throw error
        }
        return staged
    }

    func listTemplates() async throws(StorageError) -> [VolumeDescription] {
        try await step { () async throws(StorageError) in try await base.listTemplates() }
    }

    func deleteTemplate(_ name: String) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.deleteTemplate(name) }
    }

    func recover(_ intent: Intent) async throws(StorageError) {
        try await step { () async throws(StorageError) in try await base.recover(intent) }
    }
}

private struct ObservedTemplate: StagedTemplate {
    let base: any StagedTemplate
    let observe: StepObserver

    var volume: any ResizableVolume { ObservedVolume(base: base.volume, observe: observe) }

    func publish() async throws(StorageError) -> VolumeDescription {
        try observe(#function)
        let published = try await base.publish()
        try observe(#function)
        return published
    }

    func discard() async { await base.discard() }
}

struct ObservedVolume: ResizableVolume {
    let base: any Volume
    let observe: StepObserver

    var geometry: VolumeGeometry { base.geometry }
    var stack: String { base.stack }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try observe(#function)
        try await base.read(into: &buffer, at: offset)
        try observe(#function)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try observe(#function)
        try await base.write(bytes, at: offset, options: options)
        try observe(#function)
    }

    func readv(_ vector: IOVector) async throws(StorageError) { try await base.readv(vector) }

    func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        try observe(#function)
        try await base.writev(vector, options: options)
        try observe(#function)
    }

    func flush() async throws(StorageError) {
        try observe(#function)
        try await base.flush()
        try observe(#function)
    }

    func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try observe(#function)
        try await base.discard(range)
        try observe(#function)
    }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try observe(#function)
        try await base.writeZeroes(range, options: options)
        try observe(#function)
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] { try await base.extents(in: range) }

    func resize(to size: UInt64) async throws(StorageError) {
        guard let base = base as? any ResizableVolume else { throw StorageError(.notSupported, "resize volume") }
        try observe(#function)
        try await base.resize(to: size)
        try observe(#function)
    }

    /// Closes, whatever the observer says: a process that lives on must not keep its locks.
    func close() async throws(StorageError) {
        var failure: StorageError?
        do { try observe(#function) } catch { failure = error }
        try await base.close()
        if let failure { throw failure }
        try observe(#function)
    }
}
