#if ISCSI
    import BlockStorage
    import Foundation
    import Testing

    @testable import ElementAPI

    @Suite struct ElementClientTests {
        @Test("asks once which versions there are, and speaks the newest that both know")
        func negotiates() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "GetAPI":
                    .result(
                        #"{"currentVersion": "13.1", "supportedVersions": [7.0, "8.0", 9.0, "11.7", "12.3", 13.1]}"#)
                default: .result(Example.volumes())
                }
            }
            let client = try array.client()
            _ = try await client.volumes()
            _ = try await client.volumes()
            #expect(array.allCalls.map(\.method) == ["GetAPI", "ListVolumes", "ListVolumes"])
            #expect(array.allCalls.map(\.path) == ["/json-rpc/7.0/", "/json-rpc/12.3/", "/json-rpc/12.3/"])
            #expect(array.allCalls.map(\.id) == [1, 2, 3])
            let credentials = Data("admin:s3cr3t-of-the-array".utf8).base64EncodedString()
            #expect(array.allCalls.allSatisfy { $0.authorization == "Basic \(credentials)" })
            try await array.close()
        }

        @Test(
            "an array without a version that this client knows is not supported",
            arguments: ["[]", "[\"7.0\", \"8.4\"]", "[13.0, \"14.2\"]"])
        func refusesVersions(versions: String) async throws {
            let array = try await ScriptedArray { _ in .result("{\"supportedVersions\": \(versions)}") }
            let client = try array.client()
            let error = await #expect(throws: StorageError.self) { _ = try await client.volumes() }
            #expect(error?.code == .notSupported)
            #expect(array.allCalls.map(\.method) == ["GetAPI"])
            try await array.close()
        }

        @Test("after an upgrade or a downgrade of the array the version is asked for again")
        func negotiatesAgain() async throws {
            let array = try await ScriptedArray { call in
                call.path == "/json-rpc/12.3/" && call.id > 2 && call.id < 4
                    ? .refusal("xUnknownAPIVersion") : call.method == "GetAPI" ? nil : .result(Example.volumes())
            }
            let client = try array.client()
            _ = try await client.volumes()
            _ = try await client.volumes()
            #expect(array.allCalls.map(\.method) == ["GetAPI", "ListVolumes", "ListVolumes", "GetAPI", "ListVolumes"])
            try await array.close()
        }

        @Test("reads a volume with all that the array tells")
        func readsVolume() async throws {
            let text = Example.volume(
                5, attributes: #"{"sluice": {"n": "disk", "k": 1, "x": [true, null, 1.5]}, "other": "text"}"#)
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .result(Example.volumes(text)) }
            let volume = try #require(try await array.client().volume(5))
            #expect(volume.id == 5 && volume.name == "disk" && volume.accountID == 3 && volume.status == .active)
            #expect(volume.iqn == "iqn.2010-01.com.solidfire:pzsr.disk.5" && volume.emulates512)
            #expect(volume.size == 1_000_341_504 && volume.accessGroups == [7] && volume.access == .readWrite)
            #expect(volume.qos?.minIOPS == 100 && volume.qos?.curve[8192] == 160 && volume.qos?.burstTime == 60)
            #expect(volume.attributes["other"] == "text" && volume.attributes["sluice"] == nil)
            #expect(
                volume.attributes.values["sluice"]
                    == .object(["n": .text("disk"), "k": .integer(1), "x": .list([.flag(true), .null, .number(1.5)])]))
            #expect(array.calls[0].parameters["volumeIDs"] == .list([.integer(5)]))
            try await array.close()
        }

        @Test("a volume that was not asked for is not taken for the one that was")
        func checksIdentity() async throws {
            let array = try await ScriptedArray {
                $0.method == "GetAPI" ? nil : .result(Example.volumes(Example.volume(6)))
            }
            let error = await #expect(throws: StorageError.self) { _ = try await array.client().volume(5) }
            #expect(error?.code == .inputOutput && error?.why.contains("6") == true)
            let change = await #expect(throws: StorageError.self) {
                _ = try await array.client().modifyVolume(5, ElementVolumeChange(size: 2_000_000_000))
            }
            // It has no `volume`, so the volume is read, and is another one.
            #expect(change?.code == .inputOutput)
            try await array.close()
        }

        @Test("a volume that is not there is none, however the array says it")
        func findsNone() async throws {
            for reply in [ScriptedArray.Reply.refusal("xVolumeIDDoesNotExist"), .result(Example.volumes())] {
                let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : reply }
                #expect(try await array.client().volume(5) == nil)
                try await array.close()
            }
        }

        @Test("a long list is asked for in parts")
        func pages() async throws {
            let array = try await ScriptedArray { call in
                guard call.method == "ListVolumes", let start = call.integer("startVolumeID") else { return nil }
                let ids = (max(1, start)...25).prefix(Int(call.integer("limit") ?? 0))
                return .result("{\"volumes\": [\(ids.map { Example.volume($0) }.joined(separator: ","))]}")
            }
            let client = try array.client { $0.pageSize = 10 }
            #expect(try await client.volumes(of: 3).map(\.id) == Array(1...25))
            #expect(array.calls.map { $0.integer("startVolumeID") } == [0, 11, 21])
            try await array.close()
        }

        @Test("more snapshots than one answer may have are asked for volume by volume")
        func manySnapshots() async throws {
            let array = try await ScriptedArray { call in
                guard call.method == "ListSnapshots" else { return nil }
                let volumes = call.integer("volumeID").map { [$0] } ?? (1...20).map { Int64($0) }
                let list = volumes.map { Example.snapshot(100 - $0, of: $0, name: "s") }
                return .result("{\"snapshots\": [\(list.joined(separator: ","))]}")
            }
            let client = try array.client { $0.largestAnswer = 4096 }
            #expect(try await client.snapshots(ofVolumes: [3, 2]).map(\.id) == [97, 98])
            #expect(array.calls.map { $0.integer("volumeID") } == [nil, 2, 3])
            let whole = await #expect(throws: StorageError.self) { _ = try await client.snapshots(of: nil) }
            #expect(whole?.code == .inputOutput && whole?.why.contains("4096 bytes") == true)
            let counting = try array.client { $0.largestList = 10 }
            #expect(try await counting.snapshots(ofVolumes: [2]).map(\.id) == [98])
            // No more than that is kept of all volumes together.
            let few = try array.client {
                $0.largestAnswer = 4096
                $0.largestList = 1
            }
            let error = await #expect(throws: StorageError.self) { _ = try await few.snapshots(ofVolumes: [2, 3]) }
            #expect(error?.code == .inputOutput)
            try await array.close()
        }

        @Test("as many snapshots as one answer may have are asked for at once, and others' are left out")
        func fewSnapshots() async throws {
            let array = try await ScriptedArray { call in
                guard call.method == "ListSnapshots" else { return nil }
                let list = (1...20).map { Example.snapshot(100 - $0, of: $0, name: "s") }
                return .result("{\"snapshots\": [\(list.joined(separator: ","))]}")
            }
            let client = try array.client()
            #expect(try await client.snapshots(ofVolumes: [3, 2]).map(\.id) == [97, 98])
            #expect(try await client.snapshots(ofVolumes: []).isEmpty)
            #expect(array.calls.map { $0.integer("volumeID") } == [nil])
            try await array.close()
        }

        @Test("a list that repeats itself, or never ends, is refused")
        func refusesEndlessLists() async throws {
            let repeating = try await ScriptedArray { call in
                call.method == "GetAPI" ? nil : .result(Example.volumes(Example.volume(1), Example.volume(2)))
            }
            let repeated = await #expect(throws: StorageError.self) {
                _ = try await repeating.client { $0.pageSize = 2 }.volumes()
            }
            #expect(repeated?.code == .inputOutput)
            let growing = try await ScriptedArray { call in
                guard let start = call.integer("startVolumeID") else { return nil }
                return .result(Example.volumes(Example.volume(start + 1), Example.volume(start + 2)))
            }
            let endless = await #expect(throws: StorageError.self) {
                _ = try await growing.client {
                    $0.pageSize = 2
                    $0.largestList = 21
                }.volumes()
            }
            #expect(endless?.code == .inputOutput && growing.count("ListVolumes") == 11)
            try await repeating.close()
            try await growing.close()
        }

        @Test("filters that an array does not know are applied to what it gives")
        func filters() async throws {
            let array = try await ScriptedArray { call in
                call.method == "GetAPI"
                    ? nil
                    : .result(
                        Example.volumes(
                            Example.volume(1), Example.volume(2, name: "other"), Example.volume(3, account: 4),
                            Example.volume(4, status: "deleted")))
            }
            let client = try array.client()
            #expect(try await client.volumes(named: "disk", of: 3).map(\.id) == [1, 4])
            #expect(try await client.volumes(of: 3, status: .deleted).map(\.id) == [4])
            #expect(array.calls.first?.text("volumeName") == "disk")
            try await array.close()
        }

        @Test("deleting and purging what is not there is done")
        func deletesAgain() async throws {
            let array = try await ScriptedArray {
                $0.method == "GetAPI" ? nil : .refusal("xVolumeIDDoesNotExist", "VolumeID 5 does not exist.")
            }
            let client = try array.client()
            try await client.deleteVolume(5)
            try await client.purgeVolume(5)
            try await client.deleteSnapshot(5)
            #expect(array.methods == ["DeleteVolume", "PurgeDeletedVolume", "DeleteSnapshot"])
            try await array.close()
        }

        @Test(
            "what the array refuses has the code that its error's name stands for",
            arguments: [
                ("xVolumeIDDoesNotExist", StorageError.Code.notFound), ("xUnknownAccount", .notFound),
                ("xVolumeAccessGroupIdDoesNotExist", .notFound), ("xExceededLimit", .quotaExceeded),
                ("xVolumeShrinkProhibited", .invalidArgument), ("xInvalidParameter", .invalidArgument),
                ("xMissingParameter", .invalidArgument), ("xUnknownAPIMethod", .notSupported),
                ("xFeatureNotEnabled", .notSupported), ("xAlreadyInVolumeAccessGroup", .alreadyExists),
                ("xDuplicateUsername", .alreadyExists), ("xSomethingNew", .inputOutput),
            ])
        func mapsErrors(name: String, code: StorageError.Code) async throws {
            let array = try await ScriptedArray { $0.method == "GetAPI" ? nil : .refusal(name, "the reason") }
            let error = await #expect(throws: StorageError.self) {
                _ = try await array.client().modifyVolume(5, ElementVolumeChange(size: 5))
            }
            #expect(error?.code == code)
            #expect(error?.why == "the array says \(name): the reason" && error?.place.hasSuffix("/volume 5") == true)
            #expect(array.count("ModifyVolume") == 1)
            try await array.close()
        }

        @Test("capacity, limits, the cluster, statistics and sessions are read as the array writes them")
        func readsCluster() async throws {
            let array = try await ScriptedArray { call in
                switch call.method {
                case "GetClusterCapacity":
                    .result(
                        """
                        {"clusterCapacity": {"activeBlockSpace": 1, "activeSessions": 7, "averageIOPS": 0,
                        "clusterRecentIOSize": 0, "currentIOPS": 11, "maxIOPS": 200000,
                        "maxOverProvisionableSpace": 276546135777280, "maxProvisionedSpace": 55309227155456,
                        "maxUsedMetadataSpace": 432103337164, "maxUsedSpace": 12002762096640, "peakIOPS": 0,
                        "provisionedSpace": 97907437568, "timestamp": "2016-11-23T23:45:35Z", "usedSpace": 1234,
                        "uniqueBlocks": 5, "zeroBlocks": 6}}
                        """)
                case "GetLimits": .result(#"{"volumeMinIOPSMin": 50, "volumeSizeMin": 1000000000, "unknownMax": 7}"#)
                case "GetClusterInfo":
                    .result(
                        """
                        {"clusterInfo": {"attributes": {}, "ensemble": ["10.0.0.1"], "mvip": "10.0.0.9", "name": "sf",
                        "svip": "10.1.0.9", "uniqueID": "pzsr", "uuid": "9a1a7a1c-3a0a-4d2e-8c8e-2f3b2f5e6a7b"}}
                        """)
                case "GetVolumeStats":
                    .result(
                        #"{"volumeStats": {"volumeID": 5, "actualIOPS": 9, "burstIOPSCredit": 30000, "throttle": 0.5}}"#
                    )
                case "ListVolumeStats": .result(#"{"volumeStats": [{"volumeID": 5}, {"volumeID": 6, "readOps": 1}]}"#)
                case "ListISCSISessions":
                    .result(
                        #"{"sessions": [{"volumeID": 5, "initiatorName": "iqn.a:b", "initiatorIP": "10.1.0.1:4"}]}"#)
                default: nil
                }
            }
            let client = try array.client()
            let capacity = try await client.capacity()
            #expect(capacity.maxUsedSpace == 12_002_762_096_640 && capacity.usedSpace == 1234)
            #expect(capacity.maxIOPS == 200_000 && capacity.maxOverProvisionableSpace == 276_546_135_777_280)
            let limits = try await client.limits()
            #expect(limits.volumeMinIOPSMin == 50 && limits.volumeSizeMin == 1_000_000_000)
            #expect(limits.volumeMaxIOPSMax == nil)
            let info = try await client.clusterInfo()
            #expect(info.name == "sf" && info.storageAddress == "10.1.0.9" && info.uniqueID == "pzsr")
            let statistics = try await client.statistics(of: 5)
            #expect(statistics.burstIOPSCredit == 30_000 && statistics.throttle == 0.5)
            #expect(try await client.statistics().map(\.volumeID) == [5, 6])
            let sessions = try await client.sessions()
            #expect(sessions.map(\.volumeID) == [5] && sessions.map(\.initiatorName) == ["iqn.a:b"])
            try await array.close()
        }

        @Test("attributes that the array would not keep are refused before it is asked")
        func boundsAttributes() async throws {
            let array = try await ScriptedArray { _ in nil }
            let client = try array.client()
            var request = ElementVolumeRequest(name: "disk", accountID: 3, size: 1_000_000_000)
            request.attributes["text"] = String(repeating: "a", count: 989)
            let tooLong = request
            let error = await #expect(throws: StorageError.self) { _ = try await client.createVolume(tooLong) }
            #expect(error?.code == .invalidArgument && array.allCalls.isEmpty)
            request.attributes["text"] = String(repeating: "/", count: 988)
            try request.attributes.check("test", at: "disk")
            try await array.close()
        }

        @Test("policies are made, changed, listed and deleted; volumes get one")
        func policies() async throws {
            let policy =
                #"{"name": "gold", "qosPolicyID": 4, "volumeIDs": [1], "qos": {"minIOPS": 100, "maxIOPS": 500, "#
                + #""burstIOPS": 900, "burstTime": 60, "curve": {"4096": 100}}}"#
            let array = try await ScriptedArray { call in
                switch call.method {
                case "CreateQoSPolicy", "ModifyQoSPolicy": .result("{\"qosPolicy\": \(policy)}")
                case "ListQoSPolicies": .result("{\"qosPolicies\": [\(policy)]}")
                case "DeleteQoSPolicy": .result("{}")
                case "CreateVolume": .result("{\"volumeID\": 9, \"volume\": \(Example.volume(9))}")
                default: nil
                }
            }
            let client = try array.client()
            let qos = ElementQoS(minIOPS: 100, maxIOPS: 500, burstIOPS: 900)
            #expect(try await client.createQoSPolicy(named: "gold", qos).id == 4)
            #expect(try await client.modifyQoSPolicy(4, qos).qos.maxIOPS == 500)
            #expect(try await client.qosPolicies().map(\.name) == ["gold"])
            var request = ElementVolumeRequest(name: "disk", accountID: 3, size: 1_000_000_000)
            request.qosPolicyID = 4
            _ = try await client.createVolume(request)
            try await client.deleteQoSPolicy(4)
            let sent = try #require(array.calls.first { $0.method == "CreateQoSPolicy" }).parameters["qos"]
            #expect(
                sent
                    == .object(["minIOPS": .integer(100), "maxIOPS": .integer(500), "burstIOPS": .integer(900)]))
            #expect(array.calls.first { $0.method == "CreateVolume" }?.integer("qosPolicyID") == 4)
            try await array.close()
        }
    }
#endif
