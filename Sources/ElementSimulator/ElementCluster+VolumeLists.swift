import Foundation

extension ElementCluster {
    static let volumeListMethods: [String: Method] = [
        "ListVolumes": { (cluster, parameters) throws(ElementError) in try cluster.listVolumes(&parameters) },
        "ListActiveVolumes": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeVirtualVolumes")
            let active = cluster.state.volumes.filter { $0.value.status == .active || $0.value.status == .snapshotting }
            return cluster.list(
                try page(active, from: parameters.optional("startVolumeID"), limit: parameters.optional("limit")))
        },
        "ListDeletedVolumes": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeVirtualVolumes")
            return cluster.list(
                try page(cluster.state.volumes.filter { $0.value.status == .deleted }, from: nil, limit: nil))
        },
        "ListVolumesForAccount": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeVirtualVolumes")
            let account = try cluster.account(parameters.required("accountID"))
            let volumes = cluster.state.volumes.filter { $0.value.accountID == account.accountID }
            return cluster.list(
                try page(volumes, from: parameters.optional("startVolumeID"), limit: parameters.optional("limit")))
        },
        "GetVolumeCount": { (cluster, _) throws(ElementError) in ["count": .integer(cluster.state.volumes.count)] },
    ]

    private func listVolumes(_ parameters: inout Parameters) throws(ElementError) -> JSONValue {
        parameters.ignore("includeVirtualVolumes", "protectionSchemes")
        let ids: [Int]? = try parameters.optional("volumeIDs")
        let accounts: [Int]? = try parameters.optional("accounts")
        let start: Int? = try parameters.optional("startVolumeID")
        let limit: Int? = try parameters.optional("limit")
        let status: VolumeRecord.Status? = try parameters.choice("volumeStatus")
        let name: String? = try parameters.optional("volumeName")
        let isPaired: Bool? = try parameters.optional("isPaired")
        guard ids == nil || (accounts == nil && start == nil && limit == nil) else {
            throw .invalid("volumeIDs excludes accounts, startVolumeID and limit")
        }
        var volumes = state.volumes
        if let ids {
            let wanted = Set(ids)
            volumes = volumes.filter { wanted.contains($0.key) }
        }
        if let accounts {
            let wanted = Set(accounts)
            volumes = volumes.filter { wanted.contains($0.value.accountID) }
        }
        if let status { volumes = volumes.filter { $0.value.status == status } }
        if let name { volumes = volumes.filter { $0.value.name == name } }
        // None ever is.
        if isPaired == true { volumes = [:] }
        return list(try Self.page(volumes, from: start, limit: limit))
    }

    private func list(_ volumes: [VolumeRecord]) -> JSONValue {
        let groups = groupsByVolume()
        return ["volumes": .array(volumes.map { json($0, groups: groups[$0.volumeID] ?? []) })]
    }

    /// The access groups that each volume is in.
    func groupsByVolume() -> [Int: [Int]] {
        var groups: [Int: [Int]] = [:]
        for group in state.groups.values.sorted(by: { $0.volumeAccessGroupID < $1.volumeAccessGroupID }) {
            for volume in group.volumes { groups[volume, default: []].append(group.volumeAccessGroupID) }
        }
        return groups
    }

    func json(_ volume: VolumeRecord) -> JSONValue {
        json(volume, groups: groupsByVolume()[volume.volumeID] ?? [])
    }

    private func json(_ volume: VolumeRecord, groups: [Int]) -> JSONValue {
        [
            "access": .string(volume.access.rawValue), "accountID": .integer(volume.accountID),
            "attributes": .object(volume.attributes), "blockSize": 4096,
            "createTime": Self.timestamp(volume.createTime), "currentProtectionScheme": "doubleHelix",
            "deleteTime": volume.deleteTime.map(Self.timestamp) ?? "", "enable512e": .bool(volume.enable512e),
            "enableSnapMirrorReplication": false, "fifoSize": nil, "iqn": .string(name(of: volume)),
            "lastAccessTime": nil, "lastAccessTimeIO": nil, "minFifoSize": nil, "name": .string(volume.name),
            "previousProtectionScheme": nil, "purgeTime": volume.purgeTime.map(Self.timestamp) ?? "",
            "qos": json(volume.qos), "qosPolicyID": JSONValue(volume.qosPolicyID),
            "scsiEUIDeviceID": .string(identity(of: volume) + "f47acc0100000000"),
            "scsiNAADeviceID": .string("6f47acc100000000" + identity(of: volume)), "sliceCount": 1,
            "status": .string(volume.status.rawValue), "totalSize": .integer(volume.totalSize), "virtualVolumeID": nil,
            "volumeAccessGroups": JSONValue(groups),
            "volumeConsistencyGroupUUID": .string(volume.consistencyGroupUUID.uuidString.lowercased()),
            "volumeID": .integer(volume.volumeID), "volumePairs": [],
            "volumeUUID": .string(volume.uuid.uuidString.lowercased()),
        ]
    }

    func json(_ qos: QoSRecord) -> JSONValue {
        [
            "burstIOPS": .integer(qos.burstIOPS), "burstTime": .integer(limits.burstSeconds), "curve": limits.curveJSON,
            "maxIOPS": .integer(qos.maxIOPS), "minIOPS": .integer(qos.minIOPS),
        ]
    }

    /// What the names of all targets begin with. Names of targets have no capitals.
    var targetPrefix: String { "iqn.2010-01.com.solidfire:\(state.clusterID).".lowercased() }

    /// The name of the volume's target.
    func name(of volume: VolumeRecord) -> String { "\(targetPrefix)\(volume.name).\(volume.volumeID)".lowercased() }

    /// 16 hexadecimal digits that no other volume has: the cluster's identifier and the volume's number.
    func identity(of volume: VolumeRecord) -> String {
        let number = UInt64(UInt32(truncatingIfNeeded: volume.volumeID))
        return state.clusterID.utf8.reduce("") { $0 + Self.hexadecimal(UInt64($1), digits: 2) }
            + Self.hexadecimal(number, digits: 8)
    }

    private static func hexadecimal(_ number: UInt64, digits: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
}
