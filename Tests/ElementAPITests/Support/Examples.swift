#if ISCSI
    /// Objects as an array writes them.
    enum Example {
        /// After the sample in the array's own documentation.
        static func volume(
            _ id: Int64, name: String = "disk", account: Int64 = 3, status: String = "active",
            size: UInt64 = 1_000_341_504, attributes: String = "{}"
        ) -> String {
            """
            {"access": "readWrite", "accountID": \(account), "attributes": \(attributes), "blockSize": 4096,
            "createTime": "2015-03-06T18:50:56Z", "deleteTime": "", "enable512e": true,
            "iqn": "iqn.2010-01.com.solidfire:pzsr.\(name).\(id)", "name": "\(name)", "qosPolicyID": null,
            "lastAccessTime": null, "currentProtectionScheme": "doubleHelix",
            "qos": {"burstIOPS": 15000, "burstTime": 60, "curve": {"4096": 100, "8192": 160, "1048576": 15000},
            "maxIOPS": 15000, "minIOPS": 100}, "purgeTime": "", "sliceCount": 1,
            "scsiEUIDeviceID": "707a737200000001f47acc0100000000",
            "scsiNAADeviceID": "6f47acc100000000707a737200000001", "status": "\(status)", "totalSize": \(size),
            "virtualVolumeID": null, "volumeAccessGroups": [7], "volumeID": \(id), "volumePairs": []}
            """
        }

        static func volumes(_ volumes: String...) -> String { "{\"volumes\": [\(volumes.joined(separator: ","))]}" }

        static func snapshot(_ id: Int64, of volume: Int64, name: String, attributes: String = "{}") -> String {
            """
            {"attributes": \(attributes), "checksum": "0x0", "createTime": "2015-05-08T13:15:00Z",
            "enableRemoteReplication": false, "expirationReason": "None", "expirationTime": null, "groupID": 0,
            "groupSnapshotUUID": "00000000-0000-0000-0000-000000000000", "name": "\(name)", "snapshotID": \(id),
            "snapshotUUID": "21bc5ec7-7ab4-4bd5-9a3a-6e6e8e8b4f4a", "status": "done", "totalSize": 1000341504,
            "virtualVolumeID": null, "volumeID": \(volume)}
            """
        }

        static func account(_ id: Int64, name: String, secrets: (String, String) = ("initiator-12", "target-secret"))
            -> String
        {
            """
            {"accountID": \(id), "attributes": {}, "enableChap": true, "initiatorSecret": "\(secrets.0)",
            "status": "active", "storageContainerID": "00000000-0000-0000-0000-000000000000",
            "targetSecret": "\(secrets.1)", "username": "\(name)", "volumes": [1, 2]}
            """
        }

        static func group(_ id: Int64, name: String, initiators: [String] = [], volumes: [Int64] = []) -> String {
            """
            {"attributes": {}, "deletedVolumes": [], "initiatorIDs": [], "initiators": \(initiators), "name": "\(name)",
            "volumeAccessGroupID": \(id), "volumes": \(volumes)}
            """
        }
    }
#endif
