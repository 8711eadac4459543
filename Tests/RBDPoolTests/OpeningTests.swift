#if RBD
    import BlockStorage
    import Testing

    @testable import RBDPool

    @Suite("Opening a pool")
    struct OpeningTests {
        @Test("It has the identity of the cluster and the pool, and another one is refused")
        func identity() async throws {
            let pool = try await RBDPool.test()
            let cluster = try await TestCluster.shared.description
            #expect(pool.identity.hasPrefix(cluster.fsid + "/"))
            _ = try await RBDPool.test { $0.expectedIdentity = pool.identity }
            let refusal = await failure { _ = try await RBDPool.test { $0.expectedIdentity = "other" } }
            #expect(refusal?.code == .conflict)
        }

        @Test("A wrong key, a missing pool, and a pool that was not made for images are told apart")
        func refusals() async throws {
            var wrongKey = try await RBDCluster.test
            wrongKey.key = Secret("AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==")
            #expect(await code(wrongKey) == .authenticationFailed)
            var missing = try await RBDCluster.test
            missing.pool = newName("missing")
            #expect(await code(missing) == .notFound)
            let name = newName("plain")
            try await ceph("ceph", "osd", "pool", "create", name, "1")
            var plain = try await RBDCluster.test
            plain.pool = name
            #expect(await code(plain) == .invalidArgument)
            // The key is for one pool only.
            var foreign = try await RBDCluster.test
            foreign.pool = try await TestCluster.shared.description.dataPool
            #expect(await code(foreign) == .permissionDenied)
        }

        private func code(_ cluster: RBDCluster) async -> StorageError.Code? {
            var options = RBDPool.Options()
            options.deadline = .seconds(20)
            return await failure { [options] in
                _ = try await RBDPool.open("p", cluster: cluster, options: options)
            }?.code
        }

        @Test("After the cluster has shut the connection out, the next operation has a new one")
        func reconnection() async throws {
            let pool = try await RBDPool.test()
            let name = newName()
            _ = try await pool.createVolume(name, CreateRequest(size: 4 << 20, format: .raw))
            let volume = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            try await RBDPool.test().breakLock(of: name)
            // The volume cannot know before its next request, and the pool not before its own.
            #expect(
                await failure {
                    try await volume.fill(1, 0..<4096); try await volume.flush()
                } != nil)
            try? await volume.close()
            var described: VolumeDescription?
            for _ in 0..<2 where described == nil { described = try? await pool.describeVolume(name) }
            #expect(described?.name == name)
            try await pool.fill(name, 2)
            try await pool.deleteVolume(name, policy: .refuse)
        }
    }
#endif
