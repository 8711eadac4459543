import Foundation

extension ElementCluster {
    static let clusterMethods: [String: Method] = [
        "GetAPI": { (cluster, _) throws(ElementError) in cluster.api },
        "GetClusterInfo": { (cluster, _) throws(ElementError) in cluster.information },
        "GetClusterVersionInfo": { (cluster, _) throws(ElementError) in cluster.versionInformation },
        "GetClusterCapacity": { (cluster, _) throws(ElementError) in ["clusterCapacity": cluster.capacity] },
        "GetLimits": { (cluster, _) throws(ElementError) in cluster.limits.json },
    ]

    /// The versions of the interface that are answered at their paths.
    static let versions = [
        "1.0", "2.0", "3.0", "4.0", "5.0", "5.1", "6.0", "7.0", "7.1", "7.2", "7.3", "7.4", "8.0", "8.1", "8.2", "8.3",
        "8.4", "8.5", "8.6", "8.7", "9.0", "9.1", "9.2", "9.3", "9.4", "9.5", "9.6", "10.0", "10.1", "10.2", "10.3",
        "10.4", "10.5", "10.6", "10.7", "11.0", "11.1", "11.3", "11.5", "11.7", "11.8", "12.0", "12.2", "12.3",
    ]
    private static let currentVersion = "12.3"

    private var api: JSONValue {
        [
            "currentVersion": .string(Self.currentVersion), "supportedVersions": JSONValue(Self.versions),
            .init(Self.currentVersion): JSONValue(Self.methods.keys.sorted()),
        ]
    }

    private var information: JSONValue {
        [
            "clusterInfo": [
                "attributes": [:], "defaultProtectionScheme": "doubleHelix",
                "enabledProtectionSchemes": ["doubleHelix"],
                "encryptionAtRestState": "disabled", "ensemble": [.string(configuration.storageAddress)],
                "mvip": .string(configuration.managementAddress), "mvipInterface": "Bond1G", "mvipNodeID": 1,
                "mvipVlanTag": "0", "name": .string(configuration.clusterName), "repCount": 2,
                "softwareEncryptionAtRestState": "disabled", "supportedProtectionSchemes": ["doubleHelix"],
                "svip": .string(configuration.storageAddress), "svipInterface": "Bond10G", "svipNodeID": 1,
                "svipVlanTag": "0", "uniqueID": .string(state.clusterID),
                "uuid": .string(state.uuid.uuidString.lowercased()),
            ]
        ]
    }

    private var versionInformation: JSONValue {
        [
            "clusterAPIVersion": .string(Self.currentVersion), "clusterVersion": "12.3.0.958",
            "clusterVersionInfo": [
                [
                    "nodeID": 1, "nodeInternalRevision": "BuildType=Release Element=simulator",
                    "nodeVersion": "12.3.0.958",
                ]
            ],
            "softwareVersionInfo": [
                "currentVersion": "12.3.0.958", "nodeID": 0, "packageName": "", "pendingVersion": "12.3.0.958",
                "startTime": "",
            ],
        ]
    }

    /// Deleted volumes count until they are purged.
    var provisionedSpace: Int { state.volumes.values.reduce(0) { $0 + $1.totalSize } }

    /// What volumes may have together.
    var largestProvisionedSpace: Int {
        let (space, overflow) = configuration.capacityBytes.multipliedReportingOverflow(
            by: configuration.overprovisioning)
        return overflow ? .max : space
    }

    private var capacity: JSONValue {
        let activity = usage.total
        let used = usage.usedBytes
        let blocks = used / 4096
        return [
            "activeBlockSpace": .integer(used), "activeSessions": .integer(usage.sessionCount),
            "averageIOPS": .integer(activity.iops), "clusterRecentIOSize": .integer(activity.averageSize),
            "currentIOPS": .integer(activity.iops), "maxIOPS": .integer(configuration.capacityIOPS),
            "maxOverProvisionableSpace": .integer(largestProvisionedSpace),
            "maxProvisionedSpace": .integer(configuration.capacityBytes),
            "maxUsedMetadataSpace": .integer(configuration.capacityBytes / 16),
            "maxUsedSpace": .integer(configuration.capacityBytes), "nonZeroBlocks": .integer(blocks),
            "peakActiveSessions": .integer(usage.peakSessionCount), "peakIOPS": .integer(usage.peakIOPS),
            "provisionedSpace": .integer(provisionedSpace), "snapshotNonZeroBlocks": 0,
            "timestamp": Self.timestamp(now), "totalOps": .integer(activity.operations),
            "uniqueBlocks": .integer(blocks), "uniqueBlocksUsedSpace": .integer(used), "usedMetadataSpace": 0,
            "usedMetadataSpaceInSnapshots": 0, "usedSpace": .integer(used),
            "zeroBlocks": .integer(max(0, provisionedSpace - used) / 4096),
        ]
    }
}
