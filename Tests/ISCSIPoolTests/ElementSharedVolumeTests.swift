#if ISCSI
    import BlockStorage
    import ElementAPI
    import ElementSimulator
    import Testing

    @testable import ISCSIPool

    @Suite struct ElementSharedVolumeTests {
        private func prepare(
            _ array: ElementTestArray, host: String, size: UInt64 = 2_000_000_000, minIOPS: UInt64 = 500,
            maxIOPS: UInt64 = 1000, name: String = "shared_1"
        ) async throws(StorageError) -> ElementSharedVolume {
            try await ElementSharedVolume.prepare(
                array.endpoint, .init(account: "cloud"), name: name, size: size,
                policy: try QoSPolicy(minIOPS: minIOPS, maxIOPS: maxIOPS, burstIOPS: 2 * maxIOPS),
                initiators: ["iqn.2026-01.org.sluice:\(host)"], clock: ImpatientClock())
        }

        private func policy(
            _ array: ElementTestArray, of name: String = "shared_1"
        ) async throws(StorageError) -> QoSPolicy? {
            try await ElementSharedVolume.policy(
                of: name, array.endpoint, .init(account: "cloud"), within: .seconds(120), clock: ImpatientClock())
        }

        private func volumes(_ array: ElementTestArray) async -> [JSONValue] {
            if case .array(let volumes)? = await array.call("ListVolumes")["volumes"] { volumes } else { [] }
        }

        @Test("hosts that prepare it at the same time get one volume, and all of them may log in")
        func together() async throws {
            let array = try await ElementTestArray.start()
            let prepared = try await withThrowingTaskGroup(of: ElementSharedVolume.self) { group in
                for host in 0..<5 { group.addTask { try await self.prepare(array, host: "host\(host)") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(prepared.allSatisfy { $0 == prepared.first })
            let volumes = await volumes(array)
            #expect(volumes.count == 1 && volumes.first?["name"] == "shared-1")
            #expect(volumes.first?["qos"]?["minIOPS"] == 500 && volumes.first?["qos"]?["burstIOPS"] == 2000)
            guard case .array(let groups)? = await array.call("ListVolumeAccessGroups")["volumeAccessGroups"],
                case .array(let initiators)? = groups.first?["initiators"]
            else {
                Issue.record("no group")
                return
            }
            #expect(groups.count == 1 && groups.first?["name"] == "cloud" && initiators.count == 5)
            #expect(await array.call("ListDeletedVolumes")["volumes"] == [])
        }

        @Test("again it grows, and has another policy at once")
        func again() async throws {
            let array = try await ElementTestArray.start()
            let first = try await prepare(array, host: "a")
            #expect(first.size == 2_000_683_008 && first.group == "cloud" && first.portals == ["127.0.0.1"])
            let larger = try await prepare(array, host: "a", size: 3_000_000_000, maxIOPS: 4000)
            #expect(larger.path == first.path && larger.size > 3_000_000_000 && larger.policy.maxIOPS == 4000)
            let smaller = try await prepare(array, host: "a", size: 1_000_000_000, maxIOPS: 4000)
            #expect(smaller == larger)
            #expect(try await prepare(array, host: "a", name: "other").path != first.path)
            let volumes = await volumes(array)
            #expect(volumes.count == 2)
        }

        @Test("what the array does not take is refused before anything is made")
        func refused() async throws {
            let array = try await ElementTestArray.start()
            let low = await failure { _ = try await prepare(array, host: "a", minIOPS: 10) }
            let large = await failure { _ = try await prepare(array, host: "a", size: 1 << 50) }
            #expect(low?.code == .invalidArgument && large?.code == .invalidArgument)
            #expect(await volumes(array).isEmpty)
        }

        @Test(
            "whatever answer is lost, there is one volume", arguments: ["CreateVolume", "ModifyVolume", "AddAccount"])
        func lost(method: String) async throws {
            let array = try await ElementTestArray.start()
            await array.fail(method, ["drop": true])
            _ = try await prepare(array, host: "a")
            _ = try await prepare(array, host: "a", size: 3_000_000_000)
            #expect(await volumes(array).count == 1)
        }

        @Test("the policy that is told is the one that an administrator has set since, and asking leaves it")
        func current() async throws {
            let array = try await ElementTestArray.start()
            _ = try await prepare(array, host: "a")
            #expect(try await policy(array) == QoSPolicy(minIOPS: 500, maxIOPS: 1000, burstIOPS: 2000))
            let made = await volumes(array)
            let id = try #require(made.first?["volumeID"])
            let changed: JSONValue = ["minIOPS": 600, "maxIOPS": 3000, "burstIOPS": 5000]
            _ = await array.call("ModifyVolume", ["volumeID": id, "qos": changed])
            #expect(try await policy(array) == QoSPolicy(minIOPS: 600, maxIOPS: 3000, burstIOPS: 5000))
            let after = await volumes(array)
            #expect(after.count == 1 && after.first?["qos"]?["maxIOPS"] == 3000)
        }

        @Test("asking for the policy of a volume that is not there makes nothing")
        func absent() async throws {
            let array = try await ElementTestArray.start()
            let withoutAccount = await failure { _ = try await policy(array) }
            #expect(withoutAccount?.code == .notFound)
            #expect(await array.call("GetAccountByName", ["username": "cloud"]) == .null)
            _ = try await prepare(array, host: "a")
            let other = await failure { _ = try await policy(array, of: "other") }
            #expect(other?.code == .notFound)
            #expect(await volumes(array).count == 1)
        }

        @Test("an array that does not answer is asked for the policy once")
        func silent() async throws {
            let array = try await ElementTestArray.start()
            _ = try await prepare(array, host: "a")
            await array.fail("ListVolumes", ["drop": true])
            let lost = await failure { _ = try await policy(array) }
            #expect(lost?.isRetryable == true)
            #expect(try await policy(array) != nil)
        }

        @Test("what is left to do is said, with the target and without any secret")
        func steps() async throws {
            let array = try await ElementTestArray.start()
            let volume = try await prepare(array, host: "a")
            let text = volume.remainingSteps.joined(separator: "\n")
            #expect(text.contains("iscsiadm -m node -T \(volume.path.target) -p 127.0.0.1:3260 --login"))
            #expect(text.contains("-lun-0") && text.contains("mount=MOUNTPOINT"))
            let account = await array.call("GetAccountByName", ["username": "cloud"])
            guard case .string(let secret)? = account["account"]?["initiatorSecret"] else {
                Issue.record("no secret")
                return
            }
            #expect(!text.contains(secret))
        }
    }
#endif
