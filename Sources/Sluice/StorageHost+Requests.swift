import BlockStorage
import IORuntime
import VolumeQoS

/// What can be done to a volume while it is attached, in this process or in another.
extension StorageHost {
    /// All that is known of the volume, as the process that holds it sees it.
    public func volumeDetails(_ volume: VolumeAddress) async throws(StorageError) -> VolumeDetails {
        guard case .details(let details) = try await submit(.info, to: volume) else { throw Self.misunderstood }
        return details
    }

    /// Sets, changes or (nil) removes the volume's policy.
    public func setQoS(_ policy: QoSPolicy?, of volume: VolumeAddress) async throws(StorageError) {
        _ = try await submit(.setQoS(policy), to: volume)
    }

    /// Sets the virtual size in bytes; a smaller one needs `allowShrink`.
    public func resizeVolume(
        _ volume: VolumeAddress, to size: UInt64, allowShrink: Bool = false
    ) async throws(StorageError) {
        _ = try await submit(.resize(size: size, allowShrink: allowShrink), to: volume)
    }

    /// Calls `body` with the extents of the volume, or of a snapshot, in order, a bounded number at a time.
    public func map(
        _ volume: VolumeAddress, _ body: ([Extent]) throws(StorageError) -> Void
    ) async throws(StorageError) {
        if volume.snapshot != nil {
            try await mapSnapshot(volume, body)
            return
        }
        var next: UInt64? = 0
        while let offset = next {
            guard case .extents(let extents, let following) = try await submit(.map(offset: offset), to: volume) else {
                throw Self.misunderstood
            }
            try body(extents)
            next = following.flatMap { $0 > offset ? $0 : nil }
        }
    }

    private func mapSnapshot(
        _ snapshot: VolumeAddress, _ body: ([Extent]) throws(StorageError) -> Void
    ) async throws(StorageError) {
        let opened = try await openVolume(snapshot, mode: .readOnly)
        try await closing(opened) { () async throws(StorageError) in
            var next: UInt64? = 0
            while let offset = next {
                let (extents, following) = try await opened.mergedExtents(from: offset)
                try body(extents)
                next = following
            }
        }
    }

    public func createSnapshot(
        _ snapshot: String, of volume: VolumeAddress
    ) async throws(StorageError) -> SnapshotDescription {
        try VolumeName.check(snapshot, as: "snapshot name")
        guard case .snapshot(let made) = try await submit(.createSnapshot(snapshot), to: volume) else {
            throw Self.misunderstood
        }
        return made
    }

    public func listSnapshots(of volume: VolumeAddress) async throws(StorageError) -> [SnapshotDescription] {
        guard case .snapshots(let list) = try await submit(.listSnapshots, to: volume) else { throw Self.misunderstood }
        return list
    }

    /// Deletes a snapshot; one that is not there is deleted already.
    public func deleteSnapshot(_ snapshot: String, of volume: VolumeAddress) async throws(StorageError) {
        _ = try await submit(.deleteSnapshot(snapshot), to: volume)
    }

    /// Makes the volume what it was at the snapshot; `busy` while it is in use.
    public func revert(_ volume: VolumeAddress, to snapshot: String) async throws(StorageError) {
        try VolumeName.check(snapshot, as: "snapshot name")
        try await materialise(volume.volume)
        try await withVolumes("revert volume", exclusive: [volume]) { () async throws(StorageError) in
            try await refuseWhileServed(volume, "revert volume")
            try await pool(volume.pool).revert(volume.name, to: snapshot)
        }
    }

    /// Protects a snapshot from being deleted, or ends that.
    public func setProtected(
        _ protected: Bool, snapshot: String, of volume: VolumeAddress
    ) async throws(StorageError) {
        _ = try await submit(.setProtected(protected, snapshot: snapshot), to: volume)
    }

    private static var misunderstood: StorageError {
        StorageError(.internalError, "control message", why: "the reply does not fit the request: other version?")
    }

    /// Has the request performed by the process that holds the volume: this one, unless another has it attached.
    private func submit(_ request: VolumeRequest, to volume: VolumeAddress) async throws(StorageError) -> VolumeReply {
        try VolumeName.check(volume.name)
        let volume = volume.volume
        if attachedVolume(volume) == nil,
            let holder = try await runningAttachments().first(where: { $0.address == volume && $0.mode == .exclusive })
        {
            let reply = try await holder.send(request)
            if case .failure(let failure) = reply { throw failure.error }
            return reply
        }
        return try await perform(request, on: volume)
    }

    /// Performs the request in this process.
    func perform(_ request: VolumeRequest, on volume: VolumeAddress) async throws(StorageError) -> VolumeReply {
        if request.needsVolume { try await materialise(volume) }
        guard request.changesVolume else { return try await perform(request, on: volume, in: pool(of: volume)) }
        return try await withVolumes("change volume", exclusive: [volume]) { () async throws(StorageError) in
            // Somebody else may have attached it while this one was waiting.
            if attachedVolume(volume) == nil { try await refuseWhileServed(volume, "change volume", as: .exclusive) }
            return try await perform(request, on: volume, in: pool(of: volume))
        }
    }

    /// The pool as it is used for the volume: what has it attached knows it there.
    private func pool(of volume: VolumeAddress) async throws(StorageError) -> any StoragePool {
        if let attached = attachedVolume(volume) { return attached.pool }
        return try await pool(volume.pool)
    }

    private func perform(
        _ request: VolumeRequest, on volume: VolumeAddress, in pool: any StoragePool
    ) async throws(StorageError) -> VolumeReply {
        switch request {
        case .info:
            return .details(try await details(of: volume))
        case .map(let offset):
            if let attached = attachedVolume(volume)?.volume {
                let (extents, next) = try await attached.mergedExtents(from: offset)
                return .extents(extents, next: next)
            }
            let opened = try await pool.openVolume(volume.reference, mode: .readOnly)
            return try await closing(opened) { () async throws(StorageError) in
                let (extents, next) = try await opened.mergedExtents(from: offset)
                return .extents(extents, next: next)
            }
        case .setQoS(let policy):
            try await setPolicy(policy, of: volume, in: pool)
            for attachment in attachments.withLock({ Array($0.values) }) where attachment.address == volume {
                attachment.throttle?.setPolicy(policy)
            }
            return .done
        case .resize(let size, let allowShrink):
            try await pool.resizeVolume(volume.name, to: size, allowShrink: allowShrink)
            return .done
        case .listSnapshots:
            return .snapshots(try await pool.listSnapshots(of: volume.name))
        case .createSnapshot(let snapshot):
            return .snapshot(try await pool.createSnapshot(snapshot, of: volume.name))
        case .deleteSnapshot(let snapshot):
            try await pool.deleteSnapshot(snapshot, of: volume.name)
            return .done
        case .setProtected(let protected, let snapshot):
            try await pool.setProtected(protected, snapshot: snapshot, of: volume.name)
            return .done
        }
    }

    private func setPolicy(
        _ policy: QoSPolicy?, of volume: VolumeAddress, in pool: any StoragePool
    ) async throws(StorageError) {
        try pool.checkPolicy(policy, "set QoS", of: volume.name)
        guard var lazy = try await catalog.volume(volume.name, in: volume.pool), lazy.lazySize != nil else {
            return try await pool.setQoS(policy, of: volume.name)
        }
        try lazy.setQoS(policy)
        try await setPolicy(ofLazy: lazy)
    }

    /// What this process knows of the volume.
    func details(of volume: VolumeAddress) async throws(StorageError) -> VolumeDetails {
        let pool = try await pool(volume.pool)
        let record = try await catalog.volume(volume.name, in: volume.pool)
        let shared = pool.sharedPolicy
        let isEnforced = pool.can(.qosMinimum) || shared != nil
        let running = try await runningAttachments().filter { $0.address.volume == volume.volume }
        let attachment = running.first { $0.mode == .exclusive } ?? running.first
        if let record, let size = record.lazySize.flatMap({ UInt64(exactly: $0) }) {
            return VolumeDetails(
                pool: volume.pool, name: volume.name, path: "", format: record.lazyFormat, virtualSize: size,
                allocatedSize: 0, provisioning: record.provisioning, snapshots: [], qos: shared ?? record.qos,
                enforcedBy: .none, minimum: isEnforced ? .enforced : .admissionOnly)
        }
        let description = try await pool.describeVolume(volume.name)
        return VolumeDetails(
            pool: volume.pool, name: volume.name, path: description.path, format: description.format,
            virtualSize: description.virtualSize, allocatedSize: description.allocatedSize,
            provisioning: record?.provisioning ?? description.provisioning,
            template: description.template.map { "\(volume.pool)/\($0)" } ?? record?.template,
            snapshots: description.snapshots,
            qos: shared ?? description.qos, enforcedBy: attachment?.enforcer ?? pool.enforcer,
            minimum: isEnforced ? .enforced : .admissionOnly, attachment: attachment?.details,
            rows: description.details, throttle: attachedVolume(volume)?.throttle?.volume.statistics)
    }
}

extension Volume {
    /// The extents from `offset` on, neighbours of one kind joined, as many as fit one control message. `next` is where
    /// the rest begins, nil at the end of the volume.
    func mergedExtents(from offset: UInt64) async throws(StorageError) -> (extents: [Extent], next: UInt64?) {
        let size = geometry.size
        var result: [Extent] = []
        var start = offset
        // Steps follow the fragmentation, so that neither a fragmented volume makes a large array below nor an empty
        // one many calls.
        let smallestStep: UInt64 = 16 << 20
        var step = smallestStep
        while start < size, result.count < ControlMessage.extentsInReply {
            let end = min(size, start.addingSaturating(step))
            let found = try await extents(in: start..<end)
            for extent in found {
                if let last = result.last, last.kind == extent.kind, last.range.upperBound == extent.range.lowerBound {
                    result[result.count - 1].range = last.range.lowerBound..<extent.range.upperBound
                } else {
                    result.append(extent)
                }
            }
            start = end
            step = found.count < 256 ? min(step * 2, 1 << 50) : max(step / 2, smallestStep)
        }
        if result.count > ControlMessage.extentsInReply {
            result.removeLast(result.count - ControlMessage.extentsInReply)
            start = result.last?.range.upperBound ?? start
        }
        return (result, start < size ? start : nil)
    }
}
