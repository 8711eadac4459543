#if RBD
    import BlockStorage
    import Testing

    @testable import RBDPool

    @Suite("Snapshots in a Ceph pool")
    struct SnapshotTests {
        private let size: UInt64 = 16 << 20

        private func create(_ pool: RBDPool) async throws -> String {
            let name = newName()
            _ = try await pool.createVolume(name, CreateRequest(size: size, format: .raw))
            return name
        }

        @Test("A snapshot is taken of a volume that this process has open, and of one that another client has")
        func whileOpen() async throws {
            let (pool, other) = (try await RBDPool.test(), try await RBDPool.test())
            let name = try await create(pool)
            let volume = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            try await volume.fill(1, 0..<65536)
            try await volume.flush()
            _ = try await pool.createSnapshot("own", of: name)
            try await volume.fill(2, 0..<65536)
            try await volume.flush()
            _ = try await other.createSnapshot("other", of: name)
            try await volume.fill(3, 0..<65536)
            #expect(await failure { try await other.revert(name, to: "own") }?.code == .busy)
            #expect(await failure { try await pool.revert(name, to: "own") }?.code == .busy)
            try await volume.close()
            #expect(try await pool.firstByte(of: name, snapshot: "own") == 1)
            #expect(try await pool.firstByte(of: name, snapshot: "other") == 2)
            #expect(try await pool.firstByte(of: name) == 3)
            try await pool.revert(name, to: "own")
            #expect(try await pool.firstByte(of: name) == 1)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("Snapshots are listed with the bytes that they alone have, their size and their time")
        func listing() async throws {
            let pool = try await RBDPool.test()
            let name = try await create(pool)
            try await pool.fill(name, 1)
            _ = try await pool.createSnapshot("a", of: name)
            _ = try await pool.createSnapshot("b", of: name)
            try await pool.fill(name, 2)
            _ = try await pool.createSnapshot("c", of: name)
            let listed = try await pool.listSnapshots(of: name)
            #expect(listed.map(\.name) == ["a", "b", "c"])
            #expect(listed.map(\.usedBytes) == [4 << 20, 0, 4 << 20])
            #expect(listed.allSatisfy { $0.size == size && $0.createdAt > 1_500_000_000 })
            #expect(try await pool.describeVolume(name).snapshots == ["a", "b", "c"])
            #expect(try await pool.listVolumes().first { $0.name == name }?.snapshots == ["a", "b", "c"])
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("Snapshots count as promised bytes until they are deleted")
        func promised() async throws {
            let pool = try await RBDPool.test()
            let name = try await create(pool)
            func bytes() async throws -> UInt64? {
                let connection = try await pool.connection
                return try await pool.find(name, "test", connection).declaration?.bytes
            }
            _ = try await pool.createSnapshot("a", of: name)
            _ = try await pool.createSnapshot("b", of: name)
            #expect(try await bytes() == 3 * size)
            try await pool.deleteSnapshot("a", of: name)
            #expect(try await bytes() == 2 * size)
            try await pool.resizeVolume(name, to: 2 * size, allowShrink: false)
            #expect(try await bytes() == 3 * size)
            try await pool.revert(name, to: "b")
            #expect(try await bytes() == 2 * size)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test(
            "Snapshots of others are neither listed nor removed, and a deletion that they are in the way of names them")
        func foreign() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let (name, group) = (try await create(pool), newName("group"))
            try await ceph("rbd", "group", "create", "\(place)/\(group)")
            try await ceph("rbd", "group", "image", "add", "\(place)/\(group)", "\(place)/\(name)")
            try await ceph("rbd", "group", "snap", "create", "\(place)/\(group)@g")
            #expect(try await pool.listSnapshots(of: name).isEmpty)
            #expect(try await pool.describeVolume(name).snapshots.isEmpty)
            #expect(try await pool.describeVolume(name).details.contains { $0.value.hasSuffix("(group)") })
            let refusal = await failure { try await pool.deleteVolume(name, policy: .refuse) }
            #expect(refusal?.code == .busy)
            #expect(refusal?.why.contains("(group)") == true)
            try await ceph("rbd", "group", "snap", "rm", "\(place)/\(group)@g")
            try await ceph("rbd", "group", "rm", "\(place)/\(group)")
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("What has changed since a snapshot is told by objects, data and holes apart")
        func changes() async throws {
            let pool = try await RBDPool.test()
            let name = try await create(pool)
            let object: UInt64 = 4 << 20
            let volume = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            try await volume.fill(1, 0..<4096)
            try await volume.fill(1, object..<object + 4096)
            try await volume.flush()
            _ = try await pool.createSnapshot("a", of: name)
            try await volume.fill(2, 2 * object..<2 * object + 4096)
            try await volume.discard(object..<2 * object)
            try await volume.close()
            #expect(
                try await pool.changedExtents(of: VolumeReference(name), since: "a")
                    == [Extent(object..<2 * object, .hole), Extent(2 * object..<3 * object, .data)])
            _ = try await pool.createSnapshot("b", of: name)
            #expect(try await pool.changedExtents(of: VolumeReference(name), since: "b").isEmpty)
            #expect(
                try await pool.changedExtents(of: VolumeReference(name, snapshot: "b"), since: "a").count == 2)
            #expect(
                await failure { _ = try await pool.changedExtents(of: VolumeReference(name), since: "none") }?.code
                    == .notFound)
            try await pool.deleteVolume(name, policy: .refuse)
        }
    }
#endif
