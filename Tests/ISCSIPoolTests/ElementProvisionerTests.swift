#if ISCSI
    import BlockStorage
    import ElementAPI
    import ElementSimulator
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite struct ElementProvisionerTests {
        private static let size: UInt64 = 1_000_341_504

        private func request(
            _ name: String = "disk", _ ticket: String = "A1", size: UInt64 = size, qos: QoSPolicy? = nil
        ) throws -> LUNRequest {
            var mark = LUNMark(name: name)
            mark.ticket = ticket
            return LUNRequest(
                size: size, qos: try qos ?? QoSPolicy(minIOPS: 100, maxIOPS: 15_000, burstIOPS: 22_500), mark: mark)
        }

        private func code(_ body: () async throws -> Void) async -> StorageError.Code? { await failure(body)?.code }

        @Test("the profile is what the array allows; the URL may say otherwise")
        func profile() async throws {
            let array = try await ElementTestArray.start()
            let profile = try await array.provisioner().profile
            #expect(profile.minIOPS == 50...15_000 && profile.maxIOPS == 100...200_000)
            #expect(try profile.defaults == QoSPolicy(minIOPS: 100, maxIOPS: 15_000, burstIOPS: 22_500))
            #expect(profile.enforcesPolicies && profile.largestSnapshotCount == 32)
            #expect(try profile.rounded(1, "test", at: "") == Self.size)
            #expect(try profile.rounded(Self.size + 1, "test", at: "") == Self.size + (1 << 20))
            let conservative = try await ElementTestArray.start { $0.limits = .conservative }
            let other = try await conservative.provisioner {
                $0.lowestIOPS = 200
                $0.highestIOPS = 30_000
                $0.minIOPS = 100
                $0.maxIOPS = 20_000
                $0.burstFactor = 2
            }.profile
            #expect(other.minIOPS == 200...15_000 && other.maxIOPS == 100...30_000)
            #expect(try other.defaults == QoSPolicy(minIOPS: 200, maxIOPS: 20_000, burstIOPS: 30_000))
        }

        @Test("limits that contradict each other, or are absurd, make no trap")
        func absurdLimits() {
            var limits = ElementAPI.ElementLimits()
            limits.volumeMinIOPSMin = .max
            limits.volumeMinIOPSMax = 0
            limits.volumeMaxIOPSMin = 0
            limits.volumeMaxIOPSMax = 0
            limits.volumeSizeMin = .max
            limits.volumeSizeMax = .max
            limits.snapshotsPerVolumeMax = .max
            let profile = LUNProfile(limits, .init(account: "a"))
            #expect(profile.largestSize == 1 << 60 && profile.largestSnapshotCount == .max)
            #expect((try? profile.rounded(.max, "test", at: "")) == nil)
            #expect((try? profile.rounded(1, "test", at: "")) == 1 << 60)
        }

        @Test("hosts that open a pool at the same time share its account, whose secret is read from the array")
        func account() async throws {
            let array = try await ElementTestArray.start()
            let provisioners = try await withThrowingTaskGroup(of: ElementProvisioner.self) { group in
                for _ in 0..<6 { group.addTask { try await array.provisioner() } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(provisioners.map(\.accountID)).count == 1)
            var identities: Set<String> = []
            for provisioner in provisioners { identities.insert(try await provisioner.identity()) }
            #expect(identities.count == 1)
            #expect(try await array.provisioner(account: "other").identity() != identities.first)
            let unit = try await provisioners[0].create(try request())
            #expect(unit.path?.lun == 0 && unit.path?.target.hasPrefix("iqn.2010-01.com.solidfire:") == true)
            let access = try await provisioners[1].access(to: unit, for: "iqn.2026-01.org.sluice:a")
            #expect(access.portals == ["127.0.0.1"] && access.credentials?.user == "sluice")
            let accounts = await array.call("GetAccountByName", ["username": "sluice"])
            guard case .string(let secret)? = accounts["account"]?["initiatorSecret"] else {
                Issue.record("no secret")
                return
            }
            #expect(access.credentials?.secret == Secret(secret) && secret.utf8.count == 16)
            // One that is changed at the array is read again.
            _ = await array.call(
                "ModifyAccount",
                ["accountID": .integer(Int(provisioners[0].accountID)), "initiatorSecret": "another-secret"])
            let later = try await provisioners[1].access(to: unit, for: "iqn.2026-01.org.sluice:a")
            #expect(later.credentials?.secret == Secret("another-secret"))
        }

        @Test("a wrong password fails as such, and nobody at all as a lost connection")
        func refuses() async throws {
            let array = try await ElementTestArray.start()
            var endpoint = array.endpoint
            endpoint.password = Secret("wrong")
            let wrong = endpoint
            #expect(
                await code { _ = try await ElementProvisioner.open(wrong, .init(account: "a")) }
                    == .authenticationFailed)
            endpoint.port = 1
            let nobody = endpoint
            #expect(
                await code {
                    _ = try await ElementProvisioner.open(nobody, .init(account: "a"), clock: ImpatientClock())
                }
                    == .connectionLost)
        }

        @Test("a unit is made, found, changed and removed, with its mark and what others keep beside it")
        func lifeCycle() async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner()
            let made = try await provisioner.create(try request("web_1.disk"))
            #expect(made.name == "web-1-disk" && made.mark?.name == "web_1.disk" && made.mark?.ticket == "A1")
            #expect(made.size == Self.size && made.isReady)
            #expect(try made.qos == QoSPolicy(minIOPS: 100, maxIOPS: 15_000, burstIOPS: 22_500))
            #expect(try await provisioner.unit(made.id) == made)
            #expect(try await provisioner.units() == [made])
            // Another tool writes something of its own there.
            let id = Int(made.id)
            let volumes = await array.call("ListVolumes", ["volumeIDs": [.integer(id)]])
            guard case .array(let list)? = volumes["volumes"], case .object(var attributes)? = list.first?["attributes"]
            else {
                Issue.record("no attributes")
                return
            }
            attributes["backup"] = ["at": 7]
            _ = await array.call("ModifyVolume", ["volumeID": .integer(id), "attributes": .object(attributes)])
            var mark = try #require(made.mark)
            mark.phase = .deleting
            let policy = try QoSPolicy(minIOPS: 50, maxIOPS: 200, burstIOPS: 300)
            let changed = try await provisioner.change(
                made.id,
                LUNChange(size: 2 * Self.size, qos: .policy(policy), mark: mark, expected: .some(made.mark)))
            #expect(changed.size == 2 * Self.size && changed.qos == policy && changed.mark == mark)
            let after = await array.call("ListVolumes", ["volumeIDs": [.integer(id)]])
            guard case .array(let now)? = after["volumes"] else {
                Issue.record("no volume")
                return
            }
            #expect(now.first?["attributes"]?["backup"] == ["at": 7])
            #expect(
                await code {
                    _ = try await provisioner.change(made.id, LUNChange(mark: mark, expected: .some(made.mark)))
                } == .conflict)
            #expect(
                await code { _ = try await provisioner.change(made.id, LUNChange(size: Self.size)) } == .invalidArgument
            )
            #expect(await code { _ = try await provisioner.change(9999, LUNChange(size: Self.size)) } == .notFound)
            try await provisioner.delete(made.id)
            try await provisioner.delete(made.id)
            #expect(try await provisioner.units().isEmpty)
            #expect(try await provisioner.unit(made.id) == nil)
            // It is purged, too.
            #expect(await array.call("ListDeletedVolumes")["volumes"] == [])
        }

        @Test("a mark that somebody writes who has not seen ours is told from one that was made of it")
        func lostMarks() {
            let old = LUNMark(name: "v")
            var deleting = old
            (deleting.phase, deleting.ticket) = (.deleting, "A")
            var held = old
            held.ticket = "B"
            // Written over it by one that had read what was there before.
            #expect(!old.keeps(deleting, insteadOf: old) && !held.keeps(deleting, insteadOf: old))
            #expect(deleting.keeps(deleting, insteadOf: old))
            var added = deleting
            added.virtualSize = 1
            #expect(added.keeps(deleting, insteadOf: old))
            // Given up, and taken by another since; or still there, by one that had not seen that.
            #expect(held.keeps(old, insteadOf: deleting) && !added.keeps(old, insteadOf: deleting))
            var reverting = old
            reverting.isReverting = true
            #expect(!old.keeps(reverting, insteadOf: old) && !reverting.keeps(old, insteadOf: reverting))
        }

        @Test("what a dead process deleted and did not purge is purged, and nothing else that is deleted")
        func leftovers() async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner()
            var ids: [Int] = []
            for (index, phase) in [LUNMark.Phase.building, .ready, .deleting].enumerated() {
                var request = try request("disk", "A\(index)")
                request.mark.phase = phase
                ids.append(Int(try await provisioner.create(request).id))
            }
            let account = JSONValue.integer(Int(provisioner.accountID))
            let foreign = await array.call(
                "CreateVolume",
                ["name": "other", "accountID": account, "totalSize": .integer(Int(Self.size)), "enable512e": true])
            if case .integer(let id)? = foreign["volumeID"] { ids.append(id) }
            for id in ids { _ = await array.call("DeleteVolume", ["volumeID": .integer(id)]) }
            _ = try await array.provisioner()
            guard case .array(let left)? = await array.call("ListDeletedVolumes")["volumes"] else {
                Issue.record("no list")
                return
            }
            #expect(left.compactMap { $0["volumeID"] } == [.integer(ids[1]), .integer(ids[3])])
        }

        @Test("volumes of other accounts are neither seen nor touched")
        func others() async throws {
            let array = try await ElementTestArray.start()
            let (mine, other) = (try await array.provisioner(), try await array.provisioner(account: "other"))
            let unit = try await other.create(try request())
            #expect(try await mine.units().isEmpty)
            #expect(try await mine.unit(unit.id) == nil)
            try await mine.delete(unit.id)
            #expect(await code { _ = try await mine.change(unit.id, LUNChange(size: 2 * Self.size)) } == .notFound)
            #expect(
                await code { _ = try await mine.clone(unit.id, snapshot: nil, isQuiet: true, try request("b", "B")) }
                    == .notFound)
            #expect(
                await code {
                    _ = try await mine.createSnapshot("s", of: unit.id, ticket: "S", isQuiet: true)
                } == .notFound)
            #expect(try await other.units() == [unit])
        }

        @Test("what a unit takes is what the array's statistics say, asked for once for all units")
        func allocatedSizes() async throws {
            let volumes = StatedVolumes()
            let array = try await ElementTestArray.start(backend: volumes)
            let methods = Locked<[String]>([])
            let provisioner = try await array.provisioner {
                $0.observer = { method in methods.withLock { $0.append(method) } }
            }
            let first = try await provisioner.create(try request("a", "A1"))
            let second = try await provisioner.create(try request("b", "B1"))
            volumes.used.withLock { $0 = [Int(first.id): 3_145_728] }
            methods.withLock { $0 = [] }
            let ids = [first.id, second.id]
            #expect(try await provisioner.allocatedSizes(of: ids) == [first.id: 3_145_728, second.id: 0])
            #expect(methods.withLock { $0 } == ["ListVolumeStats"])
            // An array that does not tell, in either way.
            let effects: [([String: JSONValue], Int)] = [(["fail": "xUnknownAPIMethod"], 1), (["drop": true], 5)]
            for (effect, count) in effects {
                await array.fail("ListVolumeStats", effect, count: count)
                #expect(try await provisioner.allocatedSizes(of: ids) == [:])
                #expect(provisioner.health == .healthy)
            }
        }

        @Test("names of initiators that are logged in are told in lower case, in which they are compared")
        func capitals() async throws {
            let volumes = StatedVolumes()
            let array = try await ElementTestArray.start(backend: volumes)
            let provisioner = try await array.provisioner()
            let unit = try await provisioner.create(try request())
            volumes.logins.withLock {
                $0 = [
                    VolumeSession(
                        volumeID: Int(unit.id), initiator: "IQN.2026-01.org.Sluice:Host-A", address: "10.0.0.1",
                        number: 1)
                ]
            }
            #expect(
                try await provisioner.sessions(of: unit.id)
                    == [LUNSession(initiator: "iqn.2026-01.org.sluice:host-a", address: "10.0.0.1")])
        }

        @Test("a clone has the size, the policy and the mark that were asked for")
        func clones() async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner()
            let source = try await provisioner.create(try request())
            let policy = try QoSPolicy(minIOPS: 60, maxIOPS: 100, burstIOPS: 200)
            let clone = try await provisioner.clone(
                source.id, snapshot: nil, isQuiet: false,
                try request("copy", "B1", size: 3 * Self.size, qos: policy))
            #expect(clone.size == 3 * Self.size && clone.qos == policy && clone.mark?.ticket == "B1" && clone.isReady)
            let snapshot = try await provisioner.createSnapshot("s_1", of: source.id, ticket: "S", isQuiet: false)
            let second = try await provisioner.clone(
                source.id, snapshot: snapshot.id, isQuiet: false, try request("copy2", "B2"))
            #expect(second.size == Self.size && second.id > clone.id)
            #expect(
                await code {
                    _ = try await provisioner.clone(
                        source.id, snapshot: 99_999, isQuiet: false, try request("copy3", "B3"))
                } == .notFound)
            await array.fail("CloneVolume", ["job": "xSliceNotRegistered"])
            #expect(
                await code {
                    _ = try await provisioner.clone(source.id, snapshot: nil, isQuiet: true, try request("copy4", "B4"))
                } == .busy)
        }

        @Test("a clone whose status becomes an error fails at once, as what the array says")
        func errorStatus() async throws {
            let array = try await ElementTestArray.start { $0.cloneSeconds = 0 }
            let methods = Locked<[String]>([])
            let provisioner = try await array.provisioner {
                $0.observer = { method in methods.withLock { $0.append(method) } }
            }
            let source = try await provisioner.create(try request())
            await array.fail("CloneVolume", ["error": "xExceededLimit"])
            methods.withLock { $0 = [] }
            let error = await failure {
                _ = try await provisioner.clone(source.id, snapshot: nil, isQuiet: true, try request("copy", "B1"))
            }
            #expect(error?.code == .quotaExceeded && error?.why.contains("xExceededLimit") == true)
            #expect(methods.withLock { $0 } == ["ListVolumes", "CloneVolume", "GetAsyncResult"])
            #expect(try await provisioner.units().map(\.id) == [source.id])
        }

        @Test(
            "whatever answer is lost, each thing is made once",
            arguments: [
                "CreateVolume", "CloneVolume", "CreateSnapshot", "ModifyVolume", "GetAsyncResult", "ListVolumes",
            ])
        func lostAnswers(method: String) async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner()
            await array.fail(method, ["drop": true], count: 2)
            let source = try await provisioner.create(try request())
            let clone = try await provisioner.clone(
                source.id, snapshot: nil, isQuiet: true, try request("copy", "B1", size: 2 * Self.size))
            let snapshot = try await provisioner.createSnapshot("s", of: clone.id, ticket: "S", isQuiet: true)
            #expect(try await provisioner.units().map(\.id) == [source.id, clone.id])
            #expect(try await provisioner.snapshots(of: nil) == [snapshot])
            #expect(clone.size == 2 * Self.size && snapshot.size == 2 * Self.size)
            try await provisioner.delete(clone.id)
            try await provisioner.delete(source.id)
            #expect(await array.call("ListDeletedVolumes")["volumes"] == [])
        }

        @Test("snapshots are kept with their names and tickets; a rollback changes bytes and nothing else")
        func snapshots() async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner()
            let unit = try await provisioner.create(try request())
            let first = try await provisioner.createSnapshot("before_update", of: unit.id, ticket: "S1", isQuiet: false)
            let again = try await provisioner.createSnapshot("b", of: unit.id, ticket: "S2", isQuiet: false)
            #expect(first.name == "before_update" && first.ticket == "S1" && first.size == Self.size)
            #expect(first.createdAt > 1_600_000_000)
            #expect(try await provisioner.snapshots(of: unit.id) == [first, again])
            let policy = try QoSPolicy(minIOPS: 60, maxIOPS: 100, burstIOPS: 200)
            let changed = try await provisioner.change(unit.id, LUNChange(size: 2 * Self.size, qos: .policy(policy)))
            try await provisioner.rollBack(unit.id, to: first.id)
            #expect(try await provisioner.unit(unit.id) == changed)
            #expect(try await provisioner.snapshots(of: unit.id) == [first, again])
            let other = try await provisioner.create(try request("other", "B1"))
            #expect(await code { try await provisioner.rollBack(other.id, to: first.id) } == .notFound)
            // Of another unit: not there.
            try await provisioner.deleteSnapshot(first.id, of: other.id)
            try await provisioner.deleteSnapshot(again.id, of: unit.id)
            try await provisioner.deleteSnapshot(again.id, of: unit.id)
            #expect(try await provisioner.snapshots(of: nil) == [first])
        }

        @Test("others' snapshots, however many, do not hide the pool's own")
        func othersSnapshots() async throws {
            // A few large ones stand for many: together they are more than one answer may have.
            let array = try await ElementTestArray.start { $0.limits.attributesSize = 2 << 20 }
            let (mine, other) = (try await array.provisioner(), try await array.provisioner(account: "other"))
            let unit = try await mine.create(try request())
            let snapshot = try await mine.createSnapshot("s", of: unit.id, ticket: "S", isQuiet: true)
            let theirs = try await other.create(try request())
            let text = JSONValue.string(String(repeating: "x", count: 1 << 20))
            for _ in 0..<9 {
                _ = await array.call(
                    "CreateSnapshot", ["volumeID": .integer(Int(theirs.id)), "attributes": ["text": text]])
            }
            #expect(try await mine.snapshots(of: nil) == [snapshot])
        }

        @Test("an access group lets 64 initiators in, and gives up a volume that is deleted")
        func accessGroup() async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner { $0.access = .group("hosts") }
            let group = try #require(provisioner.groupID)
            #expect(try await array.provisioner { $0.access = .group("hosts") }.groupID == group)
            let unit = try await provisioner.create(try request())
            for host in 0..<64 {
                let access = try await provisioner.access(to: unit, for: "iqn.2026-01.org.sluice:host\(host)")
                #expect(access.credentials == nil && access.portals == ["127.0.0.1"])
            }
            _ = try await provisioner.access(to: unit, for: "iqn.2026-01.org.sluice:host7")
            #expect(
                await code { _ = try await provisioner.access(to: unit, for: "iqn.2026-01.org.sluice:more") }
                    == .quotaExceeded)
            let groups = await array.call("ListVolumeAccessGroups")
            guard case .array(let list)? = groups["volumeAccessGroups"],
                case .array(let initiators)? = list.first?["initiators"]
            else {
                Issue.record("no group")
                return
            }
            #expect(list.count == 1 && initiators.count == 64 && list.first?["volumes"] == [.integer(Int(unit.id))])
            try await provisioner.delete(unit.id)
            let after = await array.call("ListVolumeAccessGroups")
            guard case .array(let rest)? = after["volumeAccessGroups"] else {
                Issue.record("no group")
                return
            }
            #expect(rest.first?["volumes"] == [] && rest.first?["deletedVolumes"] == [])
        }

        @Test("an array that stops answering is said not to, and to do so again when it does")
        func health() async throws {
            let array = try await ElementTestArray.start()
            let provisioner = try await array.provisioner()
            #expect(provisioner.health == .healthy)
            await array.fail("GetClusterCapacity", ["drop": true], count: 5)
            #expect(await code { _ = try await provisioner.capacity() } == .connectionLost)
            #expect(provisioner.health != .healthy)
            let capacity = try await provisioner.capacity()
            #expect(capacity.bytes == 20_000_000_000_000 && capacity.iops == 200_000)
            #expect(provisioner.health == .healthy)
        }
    }
#endif
