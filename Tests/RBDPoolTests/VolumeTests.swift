#if RBD
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import RBDPool

    @Suite("Volumes in a Ceph pool")
    struct VolumeTests {
        private let size: UInt64 = 8 << 20

        private func create(_ pool: RBDPool, _ name: String, _ provisioning: ProvisioningType = .thin) async throws {
            _ = try await pool.createVolume(
                name, CreateRequest(size: size, format: .raw, provisioning: provisioning))
        }

        @Test("Where something else enforces policies, librbd goes on with none that was there before")
        func limitsOfOthers() async throws {
            var options = RBDPool.Options()
            options.qosByLibrbd = true
            let librbd = try await RBDPool.open("p", cluster: .test, options: options)
            options.qosByLibrbd = false
            let other = try await RBDPool.open("p", cluster: .test, options: options)
            let (name, clone, copy) = (newName(), newName("clone"), newName("copy"))
            let policy = try QoSPolicy(maxIOPS: 100, burstIOPS: 200, maxBytesPerSecond: 1 << 20)
            _ = try await librbd.createVolume(name, CreateRequest(size: size, format: .raw, qos: policy))
            func settings(_ name: String) async throws -> String {
                try await ceph("rbd", "image-meta", "list", "\(TestCluster.shared.description.pool)/\(name)")
            }
            #expect(try await settings(name).contains("conf_rbd_qos_bps_limit"))
            _ = try await other.cloneVolume(VolumeReference(name), as: clone, CloneRequest(qos: policy))
            #expect(try await !settings(clone).contains("conf_rbd_qos"))
            _ = try await librbd.cloneVolume(VolumeReference(name), as: copy, CloneRequest(qos: policy))
            #expect(try await settings(copy).contains("conf_rbd_qos_iops_limit"))
            try await other.setQoS(policy, of: copy)
            #expect(try await !settings(copy).contains("conf_rbd_qos"))
            let volume = try await other.openVolume(VolumeReference(name), mode: .exclusive)
            #expect(try await !settings(name).contains("conf_rbd_qos"))
            try await volume.close()
        }

        @Test("An image has the format, features, object size and data pool that were asked for, and its clone too")
        func layout() async throws {
            let cluster = try await RBDCluster.testWithDataPool
            let fixture = try await TestCluster.shared.description
            var options = RBDPool.Options()
            options.dataPool = fixture.dataPool
            options.objectSize = 1 << 20
            let pool = try await RBDPool.open("p", cluster: cluster, options: options)
            let (name, clone) = (newName(), newName("clone"))
            try await create(pool, name)
            _ = try await pool.cloneVolume(VolumeReference(name), as: clone, CloneRequest())
            // Also where nothing is said of a data pool.
            let plain = try await RBDPool.open("p", cluster: cluster)
            let second = newName("clone")
            _ = try await plain.cloneVolume(VolumeReference(name), as: second, CloneRequest())
            for image in [name, clone, second] {
                let info = try await ceph("rbd", "info", "\(fixture.pool)/\(image)")
                #expect(info.contains("data_pool: \(fixture.dataPool)"))
                #expect(info.contains("order 20"))
                #expect(info.contains("format: 2"))
                for feature in ["layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"] {
                    #expect(info.contains(feature))
                }
            }
            for image in [second, clone, name] { try await pool.deleteVolume(image, policy: .refuse) }
        }

        @Test("A description has what 'rbd info' shows, and who has the image open")
        func describing() async throws {
            let pool = try await RBDPool.test()
            let name = newName()
            try await create(pool, name)
            let volume = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            try await volume.fill(1, 0..<65536)
            try await volume.flush()
            let description = try await pool.describeVolume(name)
            let rows = Dictionary(description.details.map { ($0.label, $0.value) }) { first, _ in first }
            #expect(rows["objects"] == "2")
            #expect(rows["order"] == "22")
            #expect(rows["image format"] == "2")
            #expect(rows["block name prefix"] == "rbd_data.\(rows["id"] ?? "")")
            #expect(rows["features"]?.contains("fast-diff") == true)
            #expect(rows["flags"] == "")
            #expect(rows["used bytes"] == "\(4 << 20)")
            #expect(rows["lock holder"]?.contains("pid \(ProcessInfo.processInfo.processIdentifier)") == true)
            #expect(rows["watcher"] != nil)
            #expect(description.allocatedSize == 4 << 20)
            try await volume.close()
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("A fat volume is allocated whole")
        func fat() async throws {
            let pool = try await RBDPool.test()
            let name = newName()
            try await create(pool, name, .fat)
            #expect(try await pool.describeVolume(name).allocatedSize == size)
            try await pool.resizeVolume(name, to: size * 2, allowShrink: false)
            #expect(try await pool.describeVolume(name).allocatedSize == size * 2)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("Listing opens no image, and takes the same number of requests to the cluster in turn for many")
        func listing() async throws {
            let calls = Locked<[String]>([])
            let pool = try await RBDPool.test { $0.observer = { call in calls.withLock { $0.append(call) } } }
            let names = (0..<40).map { _ in newName("listed") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for name in names { group.addTask { try await create(pool, name) } }
                try await group.waitForAll()
            }
            calls.withLock { $0 = [] }
            let listed = Set(try await pool.listVolumes().map(\.name))
            #expect(listed.isSuperset(of: names))
            let made = calls.withLock { $0 }
            #expect(!made.contains("rbd_open"))
            #expect(made.count < names.count)
            for name in names { try await pool.deleteVolume(name, policy: .refuse) }
        }

        @Test("What other tools made is listed as not managed, and usable once it is adopted")
        func adopting() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let (name, clone) = (newName("foreign"), newName("clone"))
            try await ceph("rbd", "create", "--size", "8M", "\(place)/\(name)")
            #expect(try await pool.listVolumes().first { $0.name == name }?.isManaged == false)
            #expect(await failure { try await pool.deleteVolume(name, policy: .refuse) }?.code == .invalidArgument)
            let adopted = try await pool.adoptVolume(name, format: .raw)
            #expect(adopted.isManaged && adopted.virtualSize == size)
            try await pool.fill(name, 7)
            _ = try await pool.cloneVolume(VolumeReference(name), as: clone, CloneRequest())
            #expect(try await pool.firstByte(of: clone) == 7)
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("What another tool removed promises nothing any more")
        func orphans() async throws {
            let pool = try await RBDPool.test()
            let name = newName()
            let connection = try await pool.connection
            try await create(pool, name)
            let image = try await pool.find(name, "test", connection)
            try await ceph("rbd", "rm", "--no-progress", "\(connection.settings.pool)/\(name)")
            _ = try await pool.provisioned()
            let declarations = RBDDeclarations(connection: connection)
            #expect(try await declarations.values(of: [image.id], "test").isEmpty)
        }

        @Test("An image of format 1 is refused with the reason")
        func oldFormat() async throws {
            let pool = try await RBDPool.test()
            let connection = try await pool.connection
            let name = newName("old")
            try await RADOSObject(connection: connection, name: "\(name).rbd").create("test")
            let refusal = await failure { _ = try await pool.openVolume(VolumeReference(name), mode: .readOnly) }
            #expect(refusal?.code == .notSupported)
            #expect(refusal?.why.contains("format 1") == true)
            try await RADOSObject(connection: connection, name: "\(name).rbd").remove("test")
        }

        @Test("An image with a feature that nobody here knows is refused, and the feature named")
        func unknownFeatures() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let name = newName()
            try await create(pool, name)
            let id = try await pool.find(name, "test", try await pool.connection).id
            func setFeatures(_ features: UInt64) async throws {
                let file = "/var/tmp/\(newName("features"))"
                try Data(CephDecoder.encode(features)).write(to: URL(fileURLWithPath: file))
                defer { try? FileManager.default.removeItem(atPath: file) }
                try await ceph("rados", "-p", place, "setomapval", "rbd_header.\(id)", "features", "--input-file", file)
            }
            try await setFeatures(61 | 1 << 40)
            let refusals = [
                await failure { _ = try await pool.openVolume(VolumeReference(name), mode: .readOnly) },
                await failure { _ = try await pool.describeVolume(name) },
                await failure {
                    _ = try await pool.cloneVolume(VolumeReference(name), as: newName(), CloneRequest())
                },
            ]
            for refusal in refusals {
                #expect(refusal?.code == .notSupported)
                #expect(refusal?.why.contains("bits 40") == true)
            }
            #expect(try await pool.listVolumes().contains { $0.name == name })
            try await setFeatures(61)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("To the trash and back, a volume keeps its bytes, and belongs to nobody")
        func trash() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let name = newName()
            try await create(pool, name)
            try await pool.fill(name, 9)
            let id = try await pool.find(name, "test", try await pool.connection).id
            try await pool.deleteVolume(name, policy: .trash)
            #expect(await failure { _ = try await pool.describeVolume(name) }?.code == .notFound)
            #expect(try await ceph("rbd", "trash", "ls", place).contains(name))
            try await ceph("rbd", "trash", "restore", "--pool", place, id)
            #expect(try await pool.describeVolume(name).isManaged == false)
            _ = try await pool.adoptVolume(name, format: .raw)
            #expect(try await pool.firstByte(of: name) == 9)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("A policy stands in the image where librbd finds it, and goes from there")
        func qos() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let name = newName()
            _ = try await pool.createVolume(
                name,
                CreateRequest(size: size, format: .raw, qos: try QoSPolicy(maxIOPS: 100, burstIOPS: 200)))
            #expect(
                try await ceph("rbd", "image-meta", "get", "\(place)/\(name)", "conf_rbd_qos_iops_limit") == "100\n")
            #expect(
                try await ceph("rbd", "image-meta", "get", "\(place)/\(name)", "conf_rbd_qos_iops_burst") == "200\n")
            // Also while it is open.
            let volume = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            try await pool.setQoS(QoSPolicy(maxIOPS: 300), of: name)
            let metadata = try await ceph("rbd", "image-meta", "list", "\(place)/\(name)")
            #expect(metadata.contains("300") && !metadata.contains("conf_rbd_qos_iops_burst"))
            try await volume.close()
            try await pool.setQoS(nil, of: name)
            #expect(try await !ceph("rbd", "image-meta", "list", "\(place)/\(name)").contains("conf_rbd_qos"))
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("A check finds an object map that is not valid, and a repair rebuilds it")
        func check() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let name = newName()
            try await create(pool, name)
            try await pool.fill(name, 1)
            // Features that are taken away and given back leave maps that nobody has filled.
            try await ceph("rbd", "feature", "disable", "\(place)/\(name)", "object-map", "fast-diff")
            try await ceph("rbd", "feature", "enable", "\(place)/\(name)", "object-map", "fast-diff")
            #expect(try await pool.checkVolume(name, repair: .none).outcome == .corrupt)
            #expect(try await pool.describeVolume(name).allocatedSize == size)
            let repaired = try await pool.checkVolume(name, repair: .all)
            #expect(repaired.outcome == .clean && repaired.corruptionsFixed == 1)
            #expect(try await pool.checkVolume(name, repair: .none) == CheckReport(allocatedClusters: 1))
            #expect(try await pool.describeVolume(name).allocatedSize == 4 << 20)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("Statistics are the pool's, and count its images")
        func statistics() async throws {
            let pool = try await RBDPool.test()
            let name = newName()
            try await create(pool, name)
            let statistics = try await pool.statistics()
            #expect(statistics.capacity > 1 << 30)
            #expect(statistics.available <= statistics.capacity)
            #expect((statistics.volumeCount ?? 0) >= 1)
            try await pool.deleteVolume(name, policy: .refuse)
        }
    }
#endif
