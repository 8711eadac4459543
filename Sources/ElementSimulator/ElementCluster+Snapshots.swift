import Foundation

extension ElementCluster {
    static let snapshotMethods: [String: Method] = [
        "CreateSnapshot": { (cluster, parameters) throws(ElementError) in
            let volume = try cluster.activeVolume(parameters.required("volumeID"))
            let snapshot = try cluster.addSnapshot(of: volume, from: parameters.optional("snapshotID"), &parameters)
            return [
                "checksum": "0x0", "snapshot": cluster.json(snapshot), "snapshotID": .integer(snapshot.snapshotID),
            ]
        },
        "ListSnapshots": { (cluster, parameters) throws(ElementError) in
            let volumeID: Int? = try parameters.optional("volumeID")
            let snapshotID: Int? = try parameters.optional("snapshotID")
            if let volumeID, cluster.state.volumes[volumeID] == nil { throw .noVolume(volumeID) }
            if let snapshotID, cluster.state.snapshots[snapshotID] == nil { throw .noSnapshot(snapshotID) }
            let snapshots = cluster.state.snapshots.values
                .filter { volumeID ?? $0.volumeID == $0.volumeID && snapshotID ?? $0.snapshotID == $0.snapshotID }
                .sorted { $0.snapshotID < $1.snapshotID }
            return ["snapshots": .array(snapshots.map(cluster.json))]
        },
        "ModifySnapshot": { (cluster, parameters) throws(ElementError) in
            let id: Int = try parameters.required("snapshotID")
            guard var snapshot = cluster.state.snapshots[id] else { throw .noSnapshot(id) }
            if parameters.has("expirationTime") { snapshot.expirationTime = try cluster.expiration(&parameters) }
            if let isReplicated: Bool = try parameters.optional("enableRemoteReplication") {
                snapshot.enableRemoteReplication = isReplicated
            }
            if let label: String = try parameters.optional("snapMirrorLabel") { snapshot.snapMirrorLabel = label }
            cluster.state.snapshots[id] = snapshot
            return ["snapshot": cluster.json(snapshot)]
        },
        "DeleteSnapshot": { (cluster, parameters) throws(ElementError) in
            let id: Int = try parameters.required("snapshotID")
            guard cluster.state.snapshots.removeValue(forKey: id) != nil else { throw .noSnapshot(id) }
            return [:]
        },
        "RollbackToSnapshot": { (cluster, parameters) throws(ElementError) in try cluster.rollBack(&parameters) },
    ]

    func snapshot(_ id: Int, of volumeID: Int) throws(ElementError) -> SnapshotRecord {
        guard let snapshot = state.snapshots[id], snapshot.volumeID == volumeID else { throw .noSnapshot(id) }
        return snapshot
    }

    /// Takes a snapshot of a volume, or of one of its snapshots.
    private mutating func addSnapshot(
        of volume: VolumeRecord, from sourceID: Int? = nil, _ parameters: inout Parameters
    ) throws(ElementError) -> SnapshotRecord {
        parameters.ignore("ensureSerialCreation")
        let name: String? = try parameters.optional("name")
        if let name, !name.isEmpty { try checkName(name, "name") }
        guard state.snapshots.values.count(where: { $0.volumeID == volume.volumeID }) < limits.snapshotsPerVolume else {
            throw .tooManySnapshots(limits.snapshotsPerVolume)
        }
        let source = try sourceID.map { id throws(ElementError) in try self.snapshot(id, of: volume.volumeID) }
        let snapshot = SnapshotRecord(
            snapshotID: state.takeID(), volumeID: volume.volumeID, uuid: makeUUID(),
            name: name.flatMap { $0.isEmpty ? nil : $0 } ?? Self.dateName(now),
            totalSize: source?.totalSize ?? volume.totalSize, createTime: now,
            attributes: try checkAttributes(parameters.optional("attributes")) ?? [:],
            expirationTime: try expiration(&parameters),
            enableRemoteReplication: try parameters.optional("enableRemoteReplication") ?? false,
            snapMirrorLabel: try parameters.optional("snapMirrorLabel"))
        state.snapshots[snapshot.snapshotID] = snapshot
        changes.append(
            .copy(from: source?.dataID ?? volume.dataID, to: snapshot.dataID, size: snapshot.totalSize))
        return snapshot
    }

    /// Puts a snapshot's bytes and size in the volume's place; what it had is a snapshot then, if that is wanted.
    private mutating func rollBack(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        let volumeID: Int = try parameters.required("volumeID")
        let snapshotID: Int = try parameters.required("snapshotID")
        let savesState: Bool = try parameters.required("saveCurrentState")
        var volume = try activeVolume(volumeID)
        let snapshot = try snapshot(snapshotID, of: volumeID)
        var answer: [String: JSONValue] = [:]
        if savesState {
            let saved = try addSnapshot(of: volume, &parameters)
            answer = [
                "checksum": "0x0", "snapshot": json(saved), "snapshotID": .integer(saved.snapshotID),
            ]
        } else {
            parameters.ignore("name", "attributes")
        }
        if snapshot.totalSize > volume.totalSize { try checkSpace(for: snapshot.totalSize - volume.totalSize) }
        volume.generation += 1
        volume.totalSize = snapshot.totalSize
        state.volumes[volumeID] = volume
        changes.append(.copy(from: snapshot.dataID, to: volume.dataID, size: volume.totalSize))
        return .object(answer)
    }

    /// When a snapshot expires: a date, or after so many hours, minutes and seconds.
    private func expiration(_ parameters: inout Parameters) throws(ElementError) -> UInt64? {
        if let text: String = try parameters.optional("expirationTime"), text != "null", text != "fifo", !text.isEmpty {
            parameters.ignore("retention")
            guard let date = try? Date(text, strategy: .iso8601), date.timeIntervalSince1970 >= 0,
                date.timeIntervalSince1970 < 1e10
            else { throw .invalid("member=[expirationTime] is a date such as 2026-01-31T12:00:00Z") }
            return UInt64(date.timeIntervalSince1970) * 1_000_000_000
        }
        guard let text: String = try parameters.optional("retention") else { return nil }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { UInt64($0) }
        guard parts.count == 3, let hours = parts[0], let minutes = parts[1], let seconds = parts[2],
            hours < 1_000_000, minutes < 60, seconds < 60
        else { throw .invalid("member=[retention] is HH:mm:ss") }
        return now + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000
    }

    private static func dateName(_ time: UInt64) -> String {
        guard case .string(let text) = timestamp(time) else { return "snapshot" }
        return text
    }

    private func json(_ snapshot: SnapshotRecord) -> JSONValue {
        let uuid = JSONValue.string(snapshot.uuid.uuidString.lowercased())
        return [
            "attributes": .object(snapshot.attributes), "checksum": "0x0",
            "createTime": Self.timestamp(snapshot.createTime),
            "enableRemoteReplication": .bool(snapshot.enableRemoteReplication), "expirationReason": "None",
            "expirationTime": snapshot.expirationTime.map(Self.timestamp) ?? nil, "groupID": 0,
            "groupSnapshotUUID": "00000000-0000-0000-0000-000000000000",
            "instanceCreateTime": Self.timestamp(snapshot.createTime), "instanceSnapshotUUID": uuid,
            "name": .string(snapshot.name), "remoteStatuses": [],
            "snapMirrorLabel": snapshot.snapMirrorLabel.map { .string($0) } ?? nil,
            "snapshotID": .integer(snapshot.snapshotID), "snapshotUUID": uuid, "status": "done",
            "totalSize": .integer(snapshot.totalSize), "virtualVolumeID": nil,
            "volumeID": .integer(snapshot.volumeID),
            "volumeName": .string(state.volumes[snapshot.volumeID]?.name ?? ""),
        ]
    }
}
