import VolumeQoS

extension ElementCluster {
    static let statisticsMethods: [String: Method] = [
        "GetVolumeStats": { (cluster, parameters) throws(ElementError) in
            let volume = try cluster.volume(parameters.required("volumeID"))
            cluster.usage.advance(to: cluster.now)
            return ["volumeStats": cluster.statistics(volume, cluster.groupsByVolume())]
        },
        "ListVolumeStats": { (cluster, parameters) throws(ElementError) in
            let ids: [Int]? = try parameters.optional("volumeIDs")
            for id in ids ?? [] { _ = try cluster.volume(id) }
            return cluster.listStatistics { ids?.contains($0) ?? true }
        },
        "ListVolumeStatsByVolume": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeVirtualVolumes")
            return cluster.listStatistics { _ in true }
        },
        "ListVolumeStatsByAccount": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeVirtualVolumes")
            let accounts: [Int]? = try parameters.optional("accounts")
            for id in accounts ?? [] { _ = try cluster.account(id) }
            let volumes = cluster.state.volumes
            return cluster.listStatistics { id in
                guard let accounts, let volume = volumes[id] else { return true }
                return accounts.contains(volume.accountID)
            }
        },
        "ListVolumeStatsByVolumeAccessGroup": { (cluster, parameters) throws(ElementError) in
            parameters.ignore("includeVirtualVolumes")
            let ids: [Int]? = try parameters.optional("volumeAccessGroups")
            for id in ids ?? [] { _ = try cluster.group(id) }
            let groups = cluster.state.groups.values.filter { ids?.contains($0.volumeAccessGroupID) ?? true }
            let members = Set(groups.flatMap(\.volumes))
            return cluster.listStatistics { members.contains($0) }
        },
        "ListISCSISessions": { (cluster, _) throws(ElementError) in ["sessions": []] },
        // Of the simulator only.
        "SimulatorSetVolumeLoad": { (cluster, parameters) throws(ElementError) in
            let volume = try cluster.volume(parameters.required("volumeID"))
            let iops: Double = try parameters.required("iops")
            let size: Int = try parameters.optional("ioSize") ?? 4096
            guard (0...1e9).contains(iops), (1...1 << 30).contains(size) else {
                throw .invalid("iops is 0 to 1000000000, and ioSize 1 to 1073741824")
            }
            let load = iops > 0 ? VolumeUsage.Load(iops: iops, size: size) : nil
            cluster.usage.setLoad(load, of: volume.volumeID, now: cluster.now)
            return [:]
        },
    ]

    private mutating func listStatistics(_ isWanted: (Int) -> Bool) -> JSONValue {
        usage.advance(to: now)
        let groups = groupsByVolume()
        let volumes = state.volumes.values.filter { $0.status != .deleted && isWanted($0.volumeID) }
            .sorted { $0.volumeID < $1.volumeID }
        var statistics: [JSONValue] = []
        for volume in volumes { statistics.append(self.statistics(volume, groups)) }
        return ["volumeStats": .array(statistics)]
    }

    private mutating func statistics(_ volume: VolumeRecord, _ groups: [Int: [Int]]) -> JSONValue {
        let id = volume.volumeID
        let credit = usage.credit(of: id, now: now) / CostCurve.unit
        let activity = usage.activity(of: id)
        let used = usage.usedBytes(of: id)
        let utilization = Double(activity.normalisedIOPS) / Double(max(1, volume.qos.maxIOPS))
        return [
            "accountID": .integer(volume.accountID), "actualIOPS": .integer(activity.iops), "asyncDelay": nil,
            "averageIOPSize": .integer(activity.averageSize), "burstIOPSCredit": .integer(Int(credit)),
            "clientQueueDepth": 0, "desiredMetadataHosts": nil, "latencyUSec": 0,
            "metadataHosts": ["deadSecondaries": [], "liveSecondaries": [], "primary": 1],
            "nonZeroBlocks": .integer(used / 4096), "normalizedIOPS": .integer(activity.normalisedIOPS),
            "readBytes": .integer(activity.readBytes), "readBytesLastSample": 0, "readLatencyUSec": 0,
            "readOps": .integer(activity.readOperations), "readOpsLastSample": 0, "samplePeriodMSec": 500,
            "throttle": 0, "timestamp": Self.timestamp(now), "totalLatencyUSec": 0, "unalignedReads": 0,
            "unalignedWrites": 0, "volumeAccessGroups": JSONValue(groups[id] ?? []), "volumeID": .integer(id),
            "volumeSize": .integer(volume.totalSize), "volumeUtilization": .number(utilization),
            "writeBytes": .integer(activity.writtenBytes), "writeBytesLastSample": 0, "writeLatencyUSec": 0,
            "writeOps": .integer(activity.writeOperations), "writeOpsLastSample": 0,
            "zeroBlocks": .integer(max(0, volume.totalSize - used) / 4096),
        ]
    }
}
