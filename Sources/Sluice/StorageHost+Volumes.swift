import BlockStorage

/// `POOL/NAME` or `POOL/NAME@SNAPSHOT`.
public struct VolumeAddress: Hashable, Codable, Sendable, CustomStringConvertible {
    public var pool: String
    public var reference: VolumeReference

    public var name: String { reference.name }
    public var snapshot: String? { reference.snapshot }
    public var description: String { "\(pool)/\(reference)" }

    public init(pool: String, name: String, snapshot: String? = nil) {
        self.pool = pool
        reference = VolumeReference(name, snapshot: snapshot)
    }

    /// Throws `invalidArgument` for anything but the two forms, with names that `VolumeName` allows.
    public init(_ text: String) throws(StorageError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else {
            throw StorageError(
                .invalidArgument, "volume address", at: "'\(text.prefix(300))'",
                why: "use POOL/NAME or POOL/NAME@SNAPSHOT")
        }
        let names = parts[1].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        self.init(
            pool: String(parts[0]), name: String(names[0]), snapshot: names.count == 2 ? String(names[1]) : nil)
        try VolumeName.check(pool, as: "pool name")
        try VolumeName.check(name, as: "volume name")
        if let snapshot { try VolumeName.check(snapshot, as: "snapshot name") }
    }

    /// The volume without the snapshot.
    var volume: VolumeAddress { VolumeAddress(pool: pool, name: name) }
}

/// A volume to make.
public struct VolumeRequirements: Sendable {
    /// In bytes.
    public var size: UInt64
    /// Nil for the pool's usual one.
    public var format: VolumeFormat?
    public var provisioning: ProvisioningType
    public var qos: QoSPolicy?
    /// Record it now and make it when it is first used.
    public var isLazy: Bool

    public init(
        size: UInt64, format: VolumeFormat? = nil, provisioning: ProvisioningType = .thin, qos: QoSPolicy? = nil,
        isLazy: Bool = false
    ) {
        self.size = size
        self.format = format
        self.provisioning = provisioning
        self.qos = qos
        self.isLazy = isLazy
    }

    /// What that is in `pool`. Throws `notSupported` for a format that the pool does not create.
    func request(in pool: any StoragePool) throws(StorageError) -> CreateRequest {
        guard let format = format ?? pool.formats.first, pool.formats.contains(format) else {
            throw StorageError(
                .notSupported, "create volume", at: pool.name,
                why: "the volumes of \(pool.kind) pools are \(pool.formats.map(\.rawValue).joined(separator: " or ")): "
                    + "leave the format out")
        }
        return CreateRequest(size: size, format: format, provisioning: provisioning, qos: qos)
    }
}

extension StorageHost {
    /// Makes a volume that reads as zeros. The same volume again succeeds, another of that name is `alreadyExists`.
    @discardableResult
    public func createVolume(
        _ volume: VolumeAddress, _ requirements: VolumeRequirements
    ) async throws(StorageError) -> VolumeDetails {
        try VolumeName.check(volume.name)
        let request = try requirements.request(in: try await pool(volume.pool))
        var record = VolumeRecord(pool: volume.pool, name: volume.name, provisioning: request.provisioning)
        try record.setQoS(request.qos)
        if requirements.isLazy {
            record.lazySize = try VolumeRecord.integer(request.size)
            record.lazyFormat = request.format
        }
        return try await withVolumes("create volume", exclusive: [volume]) { [record] () async throws(StorageError) in
            try await create(record, request)
            return try await detailsWhenDone(of: volume)
        }
    }

    /// The lock of the volume is held.
    private func create(_ record: VolumeRecord, _ request: CreateRequest) async throws(StorageError) {
        let volume = record.address
        let existing = try await catalog.volume(volume.name, in: volume.pool)
        if let existing, existing.lazySize != nil {
            guard existing == record else { throw Self.taken(volume, "an unlike lazy volume has that name") }
            return
        }
        if record.lazySize != nil { return try await allocate(record) }
        let isThere = try await exists(volume)
        let pool = try await pool(volume.pool)
        guard !isThere else {
            // The pool says whether it is the same one.
            _ = try await pool.createVolume(volume.name, request)
            if existing == nil { try await catalog.save(record) }
            return
        }
        // What takes long can be cancelled: it is built under a name of its own, so that nobody else's can be undone.
        let temporaryName = request.provisioning == .fat ? Workflow.temporaryName() : nil
        try await run(.make(record, builtAs: temporaryName)) { token throws(StorageError) in
            if let temporaryName {
                _ = try await pool.createVolume(temporaryName, request)
                try await name(temporaryName, record, token)
            } else {
                try await make(record, token) { () async throws(StorageError) in
                    _ = try await pool.createVolume(volume.name, request)
                }
            }
        }
    }

    /// Makes a volume by one call of its pool, and records it.
    func make(
        _ record: VolumeRecord, _ token: IntentToken, _ body: @escaping @Sendable () async throws(StorageError) -> Void
    ) async throws(StorageError) {
        try await uncancelled { () async throws(StorageError) in
            try await body()
            try await self.intents.end(token) { try Catalog.save(record, $0) }
        }
    }

    static func taken(_ volume: VolumeAddress, _ why: String) -> StorageError {
        StorageError(.alreadyExists, "create volume", at: "\(volume)", why: why)
    }

    /// Makes `target` from a volume, template or snapshot: a linked clone in the same pool, or a full copy in any.
    public func cloneVolume(
        _ source: VolumeAddress, to target: VolumeAddress, _ request: CloneRequest = CloneRequest()
    ) -> StorageOperation<VolumeDetails> {
        StorageOperation { report throws(StorageError) in
            try await self.cloneVolume(source, to: target, request, report)
        }
    }

    private func cloneVolume(
        _ source: VolumeAddress, to target: VolumeAddress, _ request: CloneRequest,
        _ report: @escaping OperationProgress.Report
    ) async throws(StorageError) -> VolumeDetails {
        try VolumeName.check(target.name)
        guard source.pool == target.pool else {
            guard request.isFull else {
                throw StorageError(
                    .notSupported, "clone volume", at: "\(source) to \(target)",
                    why: "a linked clone lives in the pool of its source: use --full")
            }
            return try await copy(source, to: target, request, verifies: false, report)
        }
        try await materialise(source.volume)
        var record = VolumeRecord(pool: target.pool, name: target.name, provisioning: .thin)
        try record.setQoS(request.qos)
        return try await withVolumes("clone volume", exclusive: [target], shared: [source]) {
            [record] () async throws(StorageError) in
            try await namingHolder(of: source, "clone volume") { () async throws(StorageError) in
                try await clone(source, record, request)
            }
            return try await detailsWhenDone(of: target)
        }
    }

    /// Clones inside a pool. The locks of both volumes are held.
    private func clone(
        _ source: VolumeAddress, _ record: VolumeRecord, _ request: CloneRequest
    ) async throws(StorageError) {
        let target = record.address
        let pool = try await pool(target.pool)
        try await refuseLazyName(target, "clone volume")
        if let existing = try await describe(target) {
            if request.isFull {
                let opened = try await open(source, mode: .readOnly)
                return try await closing(opened) { () async throws(StorageError) in
                    try await compare(opened, with: existing, record, size: request.size)
                }
            }
            // The pool says whether it is the same one.
            _ = try await pool.cloneVolume(source.reference, as: target.name, request)
            if try await catalog.volume(target.name, in: target.pool) == nil { try await catalog.save(record) }
            return
        }
        let temporaryName = request.isFull ? Workflow.temporaryName() : nil
        try await run(.make(record, builtAs: temporaryName)) { token throws(StorageError) in
            if let temporaryName {
                _ = try await pool.cloneVolume(source.reference, as: temporaryName, request)
                try await name(temporaryName, record, token)
            } else {
                try await make(record, token) { () async throws(StorageError) in
                    _ = try await pool.cloneVolume(source.reference, as: target.name, request)
                }
            }
        }
    }

    /// The pool's volumes, without templates, sorted by name.
    public func listVolumes(in pool: String) async throws(StorageError) -> [VolumeSummary] {
        let records = try await catalog.volumesBeyondPools(in: pool)
        let origins = records.filter { $0.template != nil }.reduce(into: [:]) { $0[$1.name] = $1.template }
        let volumes = try await self.pool(pool).listVolumes().map { volume in
            var summary = summary(of: volume, in: pool)
            summary.template = summary.template ?? origins[volume.name]
            return summary
        }
        let names = Set(volumes.map(\.name))
        let lazy = records.compactMap { record -> VolumeSummary? in
            guard let size = record.lazySize.flatMap({ UInt64(exactly: $0) }), !names.contains(record.name) else {
                return nil
            }
            return VolumeSummary(
                name: record.name, format: record.lazyFormat, virtualSize: size, allocatedSize: 0, isManaged: true)
        }
        return (volumes + lazy).sorted { $0.name < $1.name }
    }

    func summary(of volume: VolumeDescription, in pool: String) -> VolumeSummary {
        VolumeSummary(
            name: volume.name, format: volume.format, virtualSize: volume.virtualSize,
            allocatedSize: volume.allocatedSize, isManaged: volume.isManaged,
            template: volume.template.map { "\(pool)/\($0)" })
    }

    /// Deletes a volume; one that is not there is deleted already.
    public func deleteVolume(_ volume: VolumeAddress, policy: DeletePolicy = .refuse) async throws(StorageError) {
        try await withVolumes("delete volume", exclusive: [volume]) { () async throws(StorageError) in
            try await refuseWhileServed(volume, "delete volume")
            if try await catalog.volume(volume.name, in: volume.pool)?.lazySize != nil, try await exists(volume) {
                // What has its name in the pool is somebody else's; only the room that is kept for it goes.
                if try await describe(volume)?.isManaged == false {
                    try await pool(volume.pool).deleteVolume(volume.name, policy: .refuse)
                }
                return try await catalog.write("forget volume") { try Catalog.forget(volume, $0) }
            }
            let pool = try await pool(volume.pool)
            try await run(.delete(volume)) { token throws(StorageError) in
                // Flattening clones takes long, and may be cancelled.
                if policy == .flatten { try await pool.deleteVolume(volume.name, policy: .flatten) }
                try await uncancelled { () async throws(StorageError) in
                    if policy != .flatten { try await pool.deleteVolume(volume.name, policy: policy) }
                    try await self.intents.end(token) { try Catalog.forget(volume, $0) }
                }
            }
        }
    }

    /// Makes a linked clone independent of its template.
    public func flattenVolume(_ volume: VolumeAddress) async throws(StorageError) {
        try await withVolumes("flatten volume", exclusive: [volume]) { () async throws(StorageError) in
            try await refuseWhileServed(volume, "flatten volume")
            try await pool(volume.pool).flattenVolume(volume.name)
        }
    }

    /// Gives a volume another name in its pool; one that has it already is left alone.
    public func renameVolume(_ volume: VolumeAddress, to newName: String) async throws(StorageError) {
        try VolumeName.check(newName)
        guard newName != volume.name else { return }
        let target = VolumeAddress(pool: volume.pool, name: newName)
        try await withVolumes("rename volume", exclusive: [volume, target]) { () async throws(StorageError) in
            try await refuseWhileServed(volume, "rename volume")
            let isThere = try await exists(target)
            let (old, new) = (
                try await catalog.volume(volume.name, in: volume.pool),
                try await catalog.volume(newName, in: volume.pool)
            )
            if old == nil, isThere || new?.lazySize != nil, try await !exists(volume) { return }
            if old?.lazySize != nil { return try await moveLazy(volume, to: target) }
            try await refuseLazyName(target, "rename volume")
            let pool = try await pool(volume.pool)
            try await run(.rename(volume, to: newName)) { token throws(StorageError) in
                try await uncancelled { () async throws(StorageError) in
                    try await pool.renameVolume(volume.name, to: newName)
                    try await self.intents.end(token) { try Catalog.move(volume, to: target, $0) }
                }
            }
        }
    }

    /// Checks a volume's metadata, and repairs it where that is asked.
    public func checkVolume(
        _ volume: VolumeAddress, repair: CheckRepair = .none
    ) async throws(StorageError) -> CheckReport {
        try await materialise(volume)
        guard repair != .none else {
            return try await withVolumes("check volume", shared: [volume]) { () async throws(StorageError) in
                try await refuseWhileServed(volume, "check volume", as: .exclusive)
                return try await pool(volume.pool).checkVolume(volume.name, repair: .none)
            }
        }
        return try await withVolumes("repair volume", exclusive: [volume]) { () async throws(StorageError) in
            try await refuseWhileServed(volume, "repair volume")
            return try await pool(volume.pool).checkVolume(volume.name, repair: repair)
        }
    }

    /// Takes over what is in the pool already, in the format that the caller declares. All that there is to know of it
    /// is in the pool.
    public func adoptVolume(
        _ volume: VolumeAddress, format: VolumeFormat
    ) async throws(StorageError) -> VolumeDetails {
        try await withVolumes("adopt volume", exclusive: [volume]) { () async throws(StorageError) in
            try await refuseLazyName(volume, "adopt volume")
            _ = try await pool(volume.pool).adoptVolume(volume.name, format: format)
            return try await detailsWhenDone(of: volume)
        }
    }

    /// Ends a hold on the volume by a program that is dead, on any host.
    public func breakLock(of volume: VolumeAddress) async throws(StorageError) {
        try await withVolumes("break lock", exclusive: [volume]) { () async throws(StorageError) in
            try await refuseWhileServed(volume, "break lock")
            try await pool(volume.pool).breakLock(of: volume.name)
        }
    }

    /// Opens a volume, or a snapshot (read-only): exclusive for one writer, or shared between readers.
    ///
    /// `isDirect` goes past the page cache.
    public func openVolume(
        _ volume: VolumeAddress, mode: OpenMode, isDirect: Bool = false
    ) async throws(StorageError) -> any Volume {
        try await materialise(volume.volume)
        return try await withVolumes("open volume", shared: [volume]) { () async throws(StorageError) in
            try await open(volume, mode: mode, isDirect: isDirect)
        }
    }

    /// As above, where the lock of the volume is held.
    func open(
        _ volume: VolumeAddress, mode: OpenMode, isDirect: Bool = false
    ) async throws(StorageError) -> any Volume {
        try await open(
            volume, mode: mode, in: isDirect ? try await directPool(volume.pool) : try await pool(volume.pool))
    }

    func open(
        _ volume: VolumeAddress, mode: OpenMode, in pool: any StoragePool
    ) async throws(StorageError) -> any Volume {
        try await namingHolder(of: volume, "open volume") { () async throws(StorageError) in
            try await pool.openVolume(volume.reference, mode: mode)
        }
    }

    /// Runs `body`, and says who serves the volume where it fails because that is in use.
    private func namingHolder<Result>(
        of volume: VolumeAddress, _ what: String, _ body: () async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        do {
            return try await body()
        } catch  where error.code == .busy {
            guard let holder = try await runningAttachments().first(where: { $0.address.volume == volume.volume })
            else {
                throw error
            }
            throw Self.held(by: holder, what)
        }
    }

    static func held(by attachment: RunningAttachment, _ what: String) -> StorageError {
        StorageError(.busy, what, at: "\(attachment.address.volume)", why: "it is held by \(attachment.holder)")
    }

    /// Throws `busy`, naming the holder, while a process of this host has the volume attached, in that mode or in any.
    func refuseWhileServed(
        _ volume: VolumeAddress, _ what: String, as mode: Attachment.Mode? = nil
    ) async throws(StorageError) {
        let holder = try await runningAttachments().first { holder in
            holder.address.volume == volume.volume && (mode == nil || holder.mode == mode)
        }
        if let holder { throw Self.held(by: holder, what) }
    }
}
