import BlockStorage
import IORuntime

/// A pool in memory, for tests of what uses pools: raw volumes with snapshots and linked clones.
///
/// A clone holds a copy of its source, so that it is never in the source's way; it only remembers where it came from.
public final class MemoryPool: StoragePool {
    /// Ways of breaking a promise, to prove that the conformance tests notice.
    package enum Defect: CaseIterable, Sendable {
        case newVolumesHoldOldBytes, growthExposesOldBytes, createIgnoresDifferences, createIsNotIdempotent
        case deletedVolumesStay, deleteOfMissingFails, renameOverwrites, renameLosesData
        case namesAreNotChecked, missingIsAnInternalError, sizesAreNotChecked
        case writesAreLost, zeroesAreIgnored, extentsHideData, boundsAreNotChecked, closedVolumesAnswer
        case snapshotFollowsTheVolume, snapshotIsTakenAgain, revertDoesNothing, revertOpenVolumes
        case cloneFollowsItsSource, cloneIsShared, clonesAreDeletedFrom, smallerClonesAreMade, fullCopyKeepsItsTie
        case flattenDoesNothing, exclusiveIsShared, readersDoNotCount, readOnlyIsWritable, openVolumesAreDeleted
        case templateIsVisibleEarly, templateWithClonesIsDeleted, secondTemplateOverwrites, shrinkWithoutAsking
        case policyIsForgotten, limitsAreNotKept, growthIsNotCounted, policyIsNotCounted, deletedVolumesCount
        case repeatedCreateIsRefused, reservationIsNotCounted, reservationIsCountedTwice, stagedTemplateIsNotCounted
    }

    final class Entry: Sendable {
        let contents: MemoryVolume
        let provisioning: ProvisioningType
        let template: VolumeReference?
        let isTemplate: Bool
        /// In the order of their creation.
        let snapshots = Locked<[(name: String, contents: MemoryVolume)]>([])
        /// Open attachments: readers, or -1 for a writer.
        let attachments = Locked(0)
        let qos: Locked<QoSPolicy?>

        init(
            _ contents: MemoryVolume, provisioning: ProvisioningType = .thin, template: VolumeReference? = nil,
            isTemplate: Bool = false, qos: QoSPolicy? = nil
        ) {
            self.contents = contents
            self.qos = Locked(qos)
            self.provisioning = provisioning
            self.template = template
            self.isTemplate = isTemplate
        }
    }

    public let name: String
    public var kind: String { "memory" }
    public var formats: [VolumeFormat] { [.raw] }
    public let capabilities: [Capability]
    let defect: Defect?
    /// What the pool may promise. Changing it takes nothing back.
    public var limits: PoolLimits {
        get { chosenLimits.withLock { $0 } }
        set { chosenLimits.withLock { $0 = newValue } }
    }
    private let chosenLimits = Locked(PoolLimits.none)
    private let entries = Locked<[String: Entry]>([:])
    /// Volumes that are to be made, and templates that are being written: the latter under names that no volume has.
    private let reservations = Locked<[String: CreateRequest]>([:])
    private static let capacity: UInt64 = 1 << 40
    /// More than this is refused as `noSpace`, in bytes.
    private static let largestVolume: UInt64 = 1 << 30

    /// An empty pool that declares `features`; what it does not declare, it refuses.
    public init(
        name: String = "memory",
        features: [Capability.Feature] = [
            .thinProvisioning, .linkedClone, .cloneFromSnapshot, .snapshot, .revert, .resizeOnline, .shrink, .discard,
            .extents, .exclusiveAttach, .flatten,
        ]
    ) {
        self.name = name
        capabilities = features.map { Capability($0) }
        defect = nil
    }

    /// A pool that breaks one promise.
    package init(defect: Defect) {
        let sound = MemoryPool()
        name = "broken"
        capabilities = sound.capabilities
        self.defect = defect
    }

    public func statistics() -> PoolStatistics {
        let used = entries.withLock { $0.values.reduce(0) { $0 + $1.contents.geometry.size } }
        return PoolStatistics(
            capacity: Self.capacity, allocated: used, available: Self.capacity - min(Self.capacity, used))
    }

    public func provisioned() -> Provisioned {
        entries.withLock { entries in reservations.withLock { Self.sum(entries, $0) } }
    }

    private static func sum(_ entries: [String: Entry], _ reservations: [String: CreateRequest]) -> Provisioned {
        var sum = Provisioned()
        for entry in entries.values {
            sum.bytes += entry.contents.geometry.size
            sum.bytes += entry.snapshots.withLock { $0.reduce(0) { $0 + $1.contents.geometry.size } }
            sum.minIOPS += entry.qos.withLock { $0?.minIOPS ?? 0 }
        }
        for reservation in reservations.values {
            sum.bytes += reservation.size
            sum.minIOPS += reservation.qos?.minIOPS ?? 0
        }
        return sum
    }

    /// Runs `change` if `demand` fits beside all that was promised, as one step.
    private func admit<Result>(
        _ demand: Provisioned, _ what: String, _ name: String, unless defects: Defect...,
        change: (inout [String: Entry], inout [String: CreateRequest]) throws(StorageError) -> Result
    ) throws(StorageError) -> Result {
        let limits = limits
        return try entries.withLock { (entries) throws(StorageError) in
            try reservations.withLock { (reservations) throws(StorageError) in
                var promised = Self.sum(entries, reservations)
                if defect == .deletedVolumesCount { promised.bytes += deletedBytes.withLock { $0 } }
                if defect != .limitsAreNotKept, !defects.contains(where: { $0 == defect }) {
                    try limits.check(
                        demand, beside: promised, capacity: Self.capacity, what, at: "\(self.name)/\(name)")
                }
                return try change(&entries, &reservations)
            }
        }
    }
    private let deletedBytes = Locked<UInt64>(0)

    public func reserveVolume(_ name: String, _ request: CreateRequest) throws(StorageError) {
        try check(name)
        try check(size: request.size, name, "reserve volume")
        if reservations.withLock({ $0[name] == request }) { return }
        let demand = Provisioned(bytes: request.size, minIOPS: request.qos?.minIOPS ?? 0)
        let isFree = try admit(demand, "reserve volume", name) { entries, reservations throws(StorageError) in
            guard entries[name] == nil, reservations[name] == nil else { return false }
            if defect != .reservationIsNotCounted { reservations[name] = request }
            return true
        }
        if !isFree { throw taken(name, "reserve volume") }
    }

    public func setQoS(_ policy: QoSPolicy?, of volume: String) throws(StorageError) {
        try check(volume)
        let policy = try policy == QoSPolicy() ? nil : policy
        if var reservation = reservations.withLock({ $0[volume] }) {
            reservation.qos = policy
            let changed = reservation
            return reservations.withLock { $0[volume] = changed }
        }
        let entry = try entry(volume, "set QoS")
        let old = entry.qos.withLock { $0?.minIOPS ?? 0 }
        let demand = Provisioned(minIOPS: (policy?.minIOPS ?? 0).subtractingSaturating(old))
        try admit(demand, "set QoS", volume, unless: .policyIsNotCounted) { _, _ in
            if defect != .policyIsForgotten { entry.qos.withLock { $0 = policy } }
        }
    }

    public func listVolumes() -> [VolumeDescription] {
        entries.withLock { $0 }.filter { !$0.value.isTemplate }.map(describe).sorted { $0.name < $1.name }
    }

    public func listTemplates() -> [VolumeDescription] {
        entries.withLock { $0 }.filter { $0.value.isTemplate }.map(describe).sorted { $0.name < $1.name }
    }

    public func describeVolume(_ name: String) throws(StorageError) -> VolumeDescription {
        describe(name, try entry(name, "describe volume"))
    }

    public func createVolume(_ name: String, _ request: CreateRequest) throws(StorageError) -> VolumeDescription {
        try check(name)
        try check(size: request.size, name, "create volume")
        guard request.format == .raw else {
            if entries.withLock({ $0[name] != nil }) { throw taken(name, "create volume") }
            throw refusal("create volume", name, "volumes are raw")
        }
        let contents =
            defect == .newVolumesHoldOldBytes
            ? MemoryVolume([UInt8](repeating: 0xee, count: Int(request.size))) : MemoryVolume(size: request.size)
        let made = Entry(contents, provisioning: request.provisioning, qos: request.qos)
        return try insert(name, made, "create volume", takingOver: request) { old in
            old.contents.geometry.size == request.size && !old.isTemplate && old.template == nil
                && (request.qos == nil || old.qos.withLock { $0 == request.qos })
        }
    }

    public func cloneVolume(
        _ source: VolumeReference, as name: String, _ request: CloneRequest
    ) throws(StorageError) -> VolumeDescription {
        try check(name)
        if !request.isFull {
            try need(source.snapshot == nil ? .linkedClone : .cloneFromSnapshot, "clone volume", name)
        }
        let entry = try entry(source.name, "clone volume")
        let contents = try contents(of: source, "clone volume")
        let size = request.size ?? contents.geometry.size
        if defect != .smallerClonesAreMade, size < contents.geometry.size {
            throw StorageError(.invalidArgument, "clone volume", at: name, why: "it would be smaller than its source")
        }
        try check(size: size, name, "clone volume")
        if entry.attachments.withLock({ $0 < 0 }) {
            throw StorageError(.busy, "clone volume", at: "\(source)", why: "it has a writer")
        }
        let copy = defect == .cloneIsShared ? contents : contents.copy(size: size)
        let isTied = !request.isFull || defect == .fullCopyKeepsItsTie
        let made = Entry(copy, template: isTied ? source : nil, qos: request.qos)
        return try insert(name, made, "clone volume") { old in
            !request.isFull && old.template == source && old.contents.geometry.size == size
        }
    }

    public func deleteVolume(_ name: String, policy: DeletePolicy) throws(StorageError) {
        try check(name)
        if policy == .trash { throw refusal("delete volume", name, "there is no trash") }
        guard let entry = entries.withLock({ $0[name] }) else {
            if reservations.withLock({ $0.removeValue(forKey: name) != nil }) { return }
            if defect == .deleteOfMissingFails { throw missing("delete volume", name) }
            return
        }
        try checkClosed(entry, "delete volume", name, unless: .openVolumesAreDeleted)
        if policy == .flatten {
            for clone in clones(of: name) { try flattenVolume(clone) }
        } else if defect != .clonesAreDeletedFrom {
            try checkUnused(name, "delete volume")
        }
        deletedBytes.withLock { $0 += entry.contents.geometry.size }
        if defect != .deletedVolumesStay { entries.withLock { $0[name] = nil } }
    }

    public func deleteTemplate(_ name: String) throws(StorageError) {
        try check(name)
        if defect != .templateWithClonesIsDeleted { try checkUnused(name, "delete template") }
        entries.withLock { $0[name] = nil }
    }

    public func renameVolume(_ name: String, to newName: String) throws(StorageError) {
        try check(newName)
        if let reservation = reservations.withLock({ $0[name] }) {
            let isDone = entries.withLock { entries in
                reservations.withLock { reservations in
                    guard entries[newName] == nil, reservations[newName] == nil else { return false }
                    reservations[name] = nil
                    reservations[newName] = reservation
                    return true
                }
            }
            if !isDone { throw taken(newName, "rename volume") }
            return
        }
        let entry = try entry(name, "rename volume")
        try checkClosed(entry, "rename volume", name)
        try checkUnused(name, "rename volume")
        let isDone = entries.withLock { entries in
            if entries[newName] != nil && defect != .renameOverwrites { return false }
            let size = entry.contents.geometry.size
            entries[newName] = defect == .renameLosesData ? Entry(MemoryVolume(size: size)) : entry
            entries[name] = nil
            return true
        }
        if !isDone { throw taken(newName, "rename volume") }
    }

    public func resizeVolume(_ name: String, to size: UInt64, allowShrink: Bool) async throws(StorageError) {
        let entry = try entry(name, "resize volume")
        try check(size: size, name, "resize volume")
        let old = entry.contents.geometry.size
        if size < old, defect != .shrinkWithoutAsking {
            try need(.shrink, "resize volume", name)
            if !allowShrink {
                throw StorageError(.invalidArgument, "resize volume", at: name, why: "a smaller size must be asked for")
            }
        }
        let demand = Provisioned(bytes: size.subtractingSaturating(old))
        try admit(demand, "resize volume", name, unless: .growthIsNotCounted) { _, _ in }
        try await entry.contents.resize(to: size)
        if size > old, defect == .growthExposesOldBytes {
            let bytes = [UInt8](repeating: 0xee, count: Int(size - old))
            try await entry.contents.write(bytes.rawBytes, at: old)
        }
    }

    public func flattenVolume(_ name: String) throws(StorageError) {
        let old = try entry(name, "flatten volume")
        try need(.flatten, "flatten volume", name)
        if defect == .flattenDoesNothing || old.template == nil { return }
        let flat = Entry(old.contents, provisioning: old.provisioning, qos: old.qos.withLock { $0 })
        flat.snapshots.withLock { $0 = old.snapshots.withLock { $0 } }
        entries.withLock { $0[name] = flat }
    }

    public func checkVolume(_ name: String, repair: CheckRepair) throws(StorageError) -> CheckReport {
        _ = try entry(name, "check volume")
        return CheckReport()
    }

    public func adoptVolume(_ name: String, format: VolumeFormat) throws(StorageError) -> VolumeDescription {
        describe(name, try entry(name, "adopt volume"))
    }

    public func openVolume(_ reference: VolumeReference, mode: OpenMode) throws(StorageError) -> any Volume {
        let entry = try entry(reference.name, "open volume")
        let contents = try contents(of: reference, "open volume")
        let isReadOnly = mode == .readOnly
        if !isReadOnly, reference.snapshot != nil || entry.isTemplate {
            throw StorageError(.readOnly, "open volume", at: "\(reference)", why: "it is never written")
        }
        guard reference.snapshot == nil else { return MemoryAttachment(contents, self, isReadOnly: true) {} }
        let isFree = entry.attachments.withLock { attachments in
            if defect == .exclusiveIsShared { return true }
            if isReadOnly {
                guard attachments >= 0 else { return false }
                if defect != .readersDoNotCount { attachments += 1 }
            } else {
                guard attachments == 0 else { return false }
                attachments = -1
            }
            return true
        }
        guard isFree else { throw StorageError(.busy, "open volume", at: "\(reference)", why: "it is open") }
        return MemoryAttachment(contents, self, isReadOnly: isReadOnly && defect != .readOnlyIsWritable) {
            entry.attachments.withLock { attachments in
                if isReadOnly { attachments = max(0, attachments - 1) } else { attachments = 0 }
            }
        }
    }

    public func createSnapshot(_ snapshot: String, of volume: String) throws(StorageError) -> SnapshotDescription {
        try check(snapshot)
        let entry = try entry(volume, "create snapshot")
        try need(.snapshot, "create snapshot", volume)
        let size = entry.contents.geometry.size
        let isThere = entry.snapshots.withLock { $0.contains { $0.name == snapshot } }
        if !isThere { try admit(Provisioned(bytes: size), "create snapshot", volume) { _, _ in } }
        entry.snapshots.withLock { snapshots in
            if snapshots.contains(where: { $0.name == snapshot }) && defect != .snapshotIsTakenAgain { return }
            let contents = defect == .snapshotFollowsTheVolume ? entry.contents : entry.contents.copy(size: size)
            snapshots.removeAll { $0.name == snapshot }
            snapshots.append((snapshot, contents))
        }
        return SnapshotDescription(name: snapshot, size: size, createdAt: 0)
    }

    public func listSnapshots(of volume: String) throws(StorageError) -> [SnapshotDescription] {
        try entry(volume, "list snapshots").snapshots.withLock { snapshots in
            snapshots.map { SnapshotDescription(name: $0.name, size: $0.contents.geometry.size, createdAt: 0) }
        }
    }

    public func deleteSnapshot(_ snapshot: String, of volume: String) throws(StorageError) {
        try entry(volume, "delete snapshot").snapshots.withLock { $0.removeAll { $0.name == snapshot } }
    }

    public func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
        let entry = try entry(volume, "revert volume")
        let contents = try contents(of: VolumeReference(volume, snapshot: snapshot), "revert volume")
        try checkClosed(entry, "revert volume", volume, unless: .revertOpenVolumes)
        if defect == .revertDoesNothing { return }
        try await entry.contents.resize(to: 0)
        try await entry.contents.resize(to: contents.geometry.size)
        let bytes = contents.contents
        try await entry.contents.write(bytes.rawBytes, at: 0)
    }

    public func stageTemplate(_ name: String, size: UInt64) throws(StorageError) -> any StagedTemplate {
        try check(name)
        try check(size: size, name, "stage template")
        let entry = Entry(MemoryVolume(size: size), isTemplate: true)
        let claim = "/staged/\(ObjectIdentifier(entry))"
        let room = defect == .stagedTemplateIsNotCounted ? 0 : size
        try admit(Provisioned(bytes: room), "stage template", name) { _, reservations in
            reservations[claim] = CreateRequest(size: room)
        }
        if defect == .templateIsVisibleEarly { entries.withLock { $0[name] = entry } }
        return StagedMemoryTemplate(self, name, entry, claim)
    }

    func discard(_ claim: String) { reservations.withLock { _ = $0.removeValue(forKey: claim) } }

    func publish(_ name: String, _ entry: Entry, _ claim: String) throws(StorageError) -> VolumeDescription {
        discard(claim)
        if defect == .secondTemplateOverwrites || defect == .templateIsVisibleEarly {
            entries.withLock { $0[name] = entry }
        }
        return try insert(name, entry, "publish template") { $0 === entry }
    }

    private func insert(
        _ name: String, _ entry: Entry, _ what: String, takingOver request: CreateRequest? = nil,
        isSame: (Entry) -> Bool
    ) throws(StorageError) -> VolumeDescription {
        if let old = entries.withLock({ $0[name] }) {
            guard defect != .createIsNotIdempotent, isSame(old) || defect == .createIgnoresDifferences else {
                throw taken(name, what)
            }
            if defect != .repeatedCreateIsRefused { return describe(name, old) }
        }
        let reserved = reservations.withLock { $0[name] }
        if let reserved, reserved != request { throw taken(name, what) }
        var demand = Provisioned(
            bytes: entry.contents.geometry.size, minIOPS: entry.qos.withLock { $0?.minIOPS ?? 0 })
        // Its room is there already. What is published gave back its own just now.
        if (reserved != nil && defect != .reservationIsCountedTwice) || entry.isTemplate { demand = Provisioned() }
        let stored: Entry? = try admit(demand, what, name) { entries, reservations in
            if let old = entries[name] { return isSame(old) ? old : nil }
            entries[name] = entry
            reservations[name] = nil
            return entry
        }
        guard let stored else { throw taken(name, what) }
        return describe(name, stored)
    }

    private func describe(_ name: String, _ entry: Entry) -> VolumeDescription {
        VolumeDescription(
            name: name, path: "memory:\(self.name)/\(name)", format: .raw, virtualSize: entry.contents.geometry.size,
            allocatedSize: entry.contents.geometry.size, provisioning: entry.provisioning, template: entry.template,
            snapshots: entry.snapshots.withLock { $0.map(\.name) }, qos: entry.qos.withLock { $0 },
            isTemplate: entry.isTemplate)
    }

    private func contents(of reference: VolumeReference, _ what: String) throws(StorageError) -> MemoryVolume {
        let entry = try entry(reference.name, what)
        if defect == .cloneFollowsItsSource, let template = entry.template { return try contents(of: template, what) }
        guard let snapshot = reference.snapshot else { return entry.contents }
        guard let found = entry.snapshots.withLock({ $0.first { $0.name == snapshot }?.contents }) else {
            throw missing(what, "\(reference)")
        }
        return found
    }

    private func entry(_ name: String, _ what: String) throws(StorageError) -> Entry {
        try check(name)
        guard let entry = entries.withLock({ $0[name] }) else { throw missing(what, name) }
        return entry
    }

    private func clones(of name: String) -> [String] {
        entries.withLock { $0.filter { $0.value.template?.name == name }.map(\.key).sorted() }
    }

    private func check(_ name: String) throws(StorageError) {
        if defect != .namesAreNotChecked { try VolumeName.check(name) }
    }

    private func check(size: UInt64, _ name: String, _ what: String) throws(StorageError) {
        if defect == .sizesAreNotChecked && size <= Self.largestVolume { return }
        guard size > 0, size % 512 == 0 else {
            throw StorageError(.invalidArgument, what, at: name, why: "\(size) is not a positive multiple of 512 bytes")
        }
        if size > Self.largestVolume { throw StorageError(.noSpace, what, at: name, why: "it would not fit in memory") }
    }

    private func checkClosed(_ entry: Entry, _ what: String, _ name: String, unless: Defect? = nil) throws(StorageError)
    {
        if let unless, defect == unless { return }
        if entry.attachments.withLock({ $0 != 0 }) { throw StorageError(.busy, what, at: name, why: "it is open") }
    }

    private func checkUnused(_ name: String, _ what: String) throws(StorageError) {
        let clones = clones(of: name)
        if !clones.isEmpty {
            let names = clones.joined(separator: ", ")
            throw StorageError(.busy, what, at: name, why: "it has clones: \(names)")
        }
    }

    private func need(_ feature: Capability.Feature, _ what: String, _ name: String) throws(StorageError) {
        if !can(feature) { throw refusal(what, name, "the pool does not declare \(feature.rawValue)") }
    }

    private func refusal(_ what: String, _ name: String, _ why: String) -> StorageError {
        StorageError(.notSupported, what, at: "\(self.name)/\(name)", why: why)
    }

    private func taken(_ name: String, _ what: String) -> StorageError {
        StorageError(.alreadyExists, what, at: "\(self.name)/\(name)", why: "something else has that name")
    }

    private func missing(_ what: String, _ name: String) -> StorageError {
        let code: StorageError.Code = defect == .missingIsAnInternalError ? .internalError : .notFound
        return StorageError(code, what, at: "\(self.name)/\(name)", why: "there is no such thing")
    }
}

extension UInt64 {
    fileprivate func subtractingSaturating(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }
}

extension MemoryVolume {
    /// A new volume with these contents, cut or continued by zeros to `size`.
    fileprivate func copy(size: UInt64) -> MemoryVolume {
        var bytes = contents
        let wanted = Int(size)
        if bytes.count > wanted { bytes.removeLast(bytes.count - wanted) }
        bytes.append(contentsOf: repeatElement(0, count: wanted - bytes.count))
        return MemoryVolume(bytes)
    }
}
