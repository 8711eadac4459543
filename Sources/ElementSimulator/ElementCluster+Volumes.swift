extension ElementCluster {
    static let volumeMethods: [String: Method] = [
        "CreateVolume": { (cluster, parameters) throws(ElementError) in try cluster.createVolume(&parameters) },
        "ModifyVolume": { (cluster, parameters) throws(ElementError) in
            let id: Int = try parameters.required("volumeID")
            let volume = try cluster.modify([id], &parameters)
            return ["volume": volume.first.map(cluster.json) ?? nil]
        },
        "ModifyVolumes": { (cluster, parameters) throws(ElementError) in
            let volumes = try cluster.modify(parameters.required("volumeIDs"), &parameters)
            return ["volumes": .array(volumes.map(cluster.json))]
        },
        "DeleteVolume": { (cluster, parameters) throws(ElementError) in
            let volume = try cluster.delete(parameters.required("volumeID"))
            return ["volume": cluster.json(volume)]
        },
        "DeleteVolumes": { (cluster, parameters) throws(ElementError) in
            var volumes: [JSONValue] = []
            for id in try cluster.chosenVolumes(&parameters) where cluster.state.volumes[id]?.status != .deleted {
                volumes.append(cluster.json(try cluster.delete(id)))
            }
            return ["volumes": .array(volumes)]
        },
        "RestoreDeletedVolume": { (cluster, parameters) throws(ElementError) in
            try cluster.restore(parameters.required("volumeID"))
            return [:]
        },
        "PurgeDeletedVolume": { (cluster, parameters) throws(ElementError) in
            let id: Int = try parameters.required("volumeID")
            _ = try cluster.deletedVolume(id)
            cluster.purge(id)
            return [:]
        },
        "PurgeDeletedVolumes": { (cluster, parameters) throws(ElementError) in
            let isByNumber = parameters.has("volumeIDs")
            for id in try cluster.chosenVolumes(&parameters) {
                if isByNumber { _ = try cluster.deletedVolume(id) }
                if cluster.state.volumes[id]?.status == .deleted { cluster.purge(id) }
            }
            return [:]
        },
    ]

    // MARK: Create

    private mutating func createVolume(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        parameters.ignore("protectionScheme", "enableSnapMirrorReplication", "fifoSize", "minFifoSize")
        let name: String = try parameters.required("name")
        let account = try account(parameters.required("accountID"))
        let size = try size(parameters.required("totalSize"), "totalSize")
        let policy = try policy(&parameters)
        let qos = try qos(&parameters, beside: policy?.qos ?? state.defaultQoS)
        let volume = try addVolume(
            name, of: account.accountID, size: size, access: parameters.choice("access") ?? .readWrite,
            enable512e: parameters.optional("enable512e") ?? true,
            qos: qos, policyID: policy?.qosPolicyID,
            attributes: parameters.optional("attributes") ?? [:], status: .active)
        changes.append(.create(volume.dataID, size: size))
        return [
            "curve": limits.curveJSON, "volume": json(volume), "volumeID": .integer(volume.volumeID),
        ]
    }

    mutating func addVolume(
        _ name: String, of accountID: Int, size: Int, access: VolumeRecord.Access, enable512e: Bool, qos: QoSRecord,
        policyID: Int?, attributes: [String: JSONValue], status: VolumeRecord.Status
    ) throws(ElementError) -> VolumeRecord {
        try checkName(name, "name")
        guard name.utf8.allSatisfy({ $0.isLetterOrDigit || $0 == UInt8(ascii: "-") }) else {
            throw .invalid("member=[name] has letters, digits and hyphens")
        }
        guard state.volumes.count < limits.volumeCount else { throw .exceeded("Exceeded maximum number of volumes") }
        guard state.volumes.values.count(where: { $0.accountID == accountID }) < limits.volumesPerAccount else {
            throw .exceeded("Exceeded maximum number of volumes per account")
        }
        try checkSpace(for: size)
        let volume = VolumeRecord(
            volumeID: state.takeID(), name: name, uuid: makeUUID(), consistencyGroupUUID: makeUUID(),
            accountID: accountID, status: status, access: access, enable512e: enable512e, qos: qos,
            qosPolicyID: policyID, totalSize: size, attributes: try checkAttributes(attributes) ?? [:], createTime: now)
        state.volumes[volume.volumeID] = volume
        return volume
    }

    func size(_ size: Int, _ name: String) throws(ElementError) -> Int {
        guard let rounded = limits.rounded(size) else {
            let range = limits.volumeSize
            throw .invalid("member=[\(name)] is \(range.lowerBound) to \(range.upperBound)")
        }
        return rounded
    }

    func checkSpace(for size: Int) throws(ElementError) {
        guard size <= largestProvisionedSpace - provisionedSpace else {
            throw .exceeded("Exceeded maximum provisioned space of \(largestProvisionedSpace)")
        }
    }

    // MARK: Modify

    private mutating func modify(_ ids: [Int], _ parameters: inout Parameters) throws(ElementError) -> [VolumeRecord] {
        parameters.ignore("enableSnapMirrorReplication", "fifoSize", "minFifoSize")
        let accountID: Int? = try parameters.optional("accountID")
        if let accountID { _ = try account(accountID) }
        let access: VolumeRecord.Access? = try parameters.choice("access")
        let attributes = try checkAttributes(parameters.optional("attributes"))
        let newSize: Int? = try parameters.optional("totalSize")
        let policy = try policy(&parameters)
        let isAssociated: Bool? = try parameters.optional("associateWithQoSPolicy")
        let hasQoS = parameters.has("qos")
        var volumes: [VolumeRecord] = []
        for id in ids {
            var volume = try activeVolume(id)
            if let accountID { volume.accountID = accountID }
            if let access { volume.access = access }
            if let attributes { volume.attributes = attributes }
            if let newSize { try grow(&volume, to: newSize) }
            if let policy {
                (volume.qos, volume.qosPolicyID) = (policy.qos, policy.qosPolicyID)
            } else if hasQoS {
                (volume.qos, volume.qosPolicyID) = (try qos(&parameters, beside: volume.qos), nil)
            } else if isAssociated == false {
                volume.qosPolicyID = nil
            }
            state.volumes[id] = volume
            volumes.append(volume)
        }
        // Also where there is no volume.
        parameters.ignore("qos")
        return volumes
    }

    /// A volume only ever grows; a size that rounds to the one it has is no change.
    private mutating func grow(_ volume: inout VolumeRecord, to newSize: Int) throws(ElementError) {
        let size = try size(newSize, "totalSize")
        guard size >= volume.totalSize else { throw .shrinkProhibited }
        guard size > volume.totalSize else { return }
        try checkSpace(for: size - volume.totalSize)
        volume.totalSize = size
        changes.append(.extend(volume.dataID, size: size))
    }

    /// The `qos` parameter, what it leaves out from what holds already. 0 < minimum ≤ maximum ≤ burst.
    func qos(_ parameters: inout Parameters, beside old: QoSRecord) throws(ElementError) -> QoSRecord {
        guard let values: [String: JSONValue] = try parameters.optional("qos") else { return old }
        var members = Parameters(values)
        members.ignore("burstTime", "curve")
        let qos = try self.qos(members: &members, beside: old)
        try members.finish()
        return qos
    }

    func qos(members: inout Parameters, beside old: QoSRecord) throws(ElementError) -> QoSRecord {
        let qos = QoSRecord(
            minIOPS: try members.optional("minIOPS") ?? old.minIOPS,
            maxIOPS: try members.optional("maxIOPS") ?? old.maxIOPS,
            burstIOPS: try members.optional("burstIOPS") ?? old.burstIOPS)
        for (name, value, range) in [
            ("minIOPS", qos.minIOPS, limits.minIOPS), ("maxIOPS", qos.maxIOPS, limits.maxIOPS),
            ("burstIOPS", qos.burstIOPS, limits.maxIOPS),
        ] {
            guard range.contains(value) else {
                throw .invalid("member=[\(name)] is \(range.lowerBound) to \(range.upperBound)")
            }
        }
        guard qos.minIOPS <= qos.maxIOPS, qos.maxIOPS <= qos.burstIOPS else {
            throw .invalid("minIOPS is at most maxIOPS, and maxIOPS at most burstIOPS")
        }
        return qos
    }

    /// The policy that a call names, unless it says that it means none. It excludes `qos`.
    private func policy(_ parameters: inout Parameters) throws(ElementError) -> QoSPolicyRecord? {
        guard let id: Int = try parameters.optional("qosPolicyID"),
            try parameters.optional("associateWithQoSPolicy") ?? true
        else {
            parameters.ignore("associateWithQoSPolicy")
            return nil
        }
        guard !parameters.has("qos") else { throw .invalid("qos and qosPolicyID exclude each other") }
        guard let policy = state.policies[id] else { throw .noPolicy(id) }
        return policy
    }

    // MARK: Delete, restore, purge

    /// Deletes a volume until it is purged. A clone that is not finished never will be.
    private mutating func delete(_ id: Int) throws(ElementError) -> VolumeRecord {
        var volume = try volume(id)
        for job in state.jobs.values where job.volumeID == id && !job.isComplete {
            end(job, with: .noVolume(id), at: now, removing: false)
        }
        volume.status = .deleted
        volume.deleteTime = now
        volume.purgeTime = time(after: configuration.purgeSeconds)
        state.volumes[id] = volume
        for (groupID, group) in state.groups where group.volumes.contains(id) {
            state.groups[groupID]?.volumes.removeAll { $0 == id }
            state.groups[groupID]?.deletedVolumes.append(id)
        }
        return volume
    }

    private func deletedVolume(_ id: Int) throws(ElementError) -> VolumeRecord {
        guard let volume = state.volumes[id] else { throw .noVolume(id) }
        // Assumed.
        guard volume.status == .deleted else { throw .invalid("VolumeID \(id) is not deleted") }
        return volume
    }

    private mutating func restore(_ id: Int) throws(ElementError) {
        var volume = try deletedVolume(id)
        volume.status = .active
        (volume.deleteTime, volume.purgeTime) = (nil, nil)
        state.volumes[id] = volume
        for (groupID, group) in state.groups where group.deletedVolumes.contains(id) {
            state.groups[groupID]?.deletedVolumes.removeAll { $0 == id }
            state.groups[groupID]?.volumes.append(id)
        }
    }

    /// Forgets a volume and its snapshots.
    mutating func purge(_ id: Int) {
        state.volumes[id] = nil
        state.snapshots = state.snapshots.filter { $0.value.volumeID != id }
        for (groupID, group) in state.groups where group.volumes.contains(id) || group.deletedVolumes.contains(id) {
            state.groups[groupID]?.volumes.removeAll { $0 == id }
            state.groups[groupID]?.deletedVolumes.removeAll { $0 == id }
        }
    }

    /// Volumes by their numbers, their accounts or their access groups: exactly one of these.
    private func chosenVolumes(_ parameters: inout Parameters) throws(ElementError) -> [Int] {
        let ids: [Int]? = try parameters.optional("volumeIDs")
        let accounts: [Int]? = try parameters.optional("accountIDs")
        let groups: [Int]? = try parameters.optional("volumeAccessGroupIDs")
        guard [ids, accounts, groups].count(where: { $0 != nil }) == 1 else {
            throw .invalid("one of volumeIDs, accountIDs and volumeAccessGroupIDs is given")
        }
        if let ids {
            guard ids.count <= 500 else { throw .exceeded("At most 500 volumes at a time") }
            return ids
        }
        for id in accounts ?? [] { _ = try account(id) }
        var members: Set<Int> = []
        for id in groups ?? [] { members.formUnion(try group(id).volumes + group(id).deletedVolumes) }
        return state.volumes.values
            .filter { accounts?.contains($0.accountID) == true || members.contains($0.volumeID) }
            .map(\.volumeID).sorted()
    }
}

extension UInt8 {
    var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
