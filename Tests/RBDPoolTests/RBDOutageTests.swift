#if RBD
    import BlockStorage
    import IORuntime
    import Testing

    @testable import RBDPool

    /// On a cluster of its own, because it is stopped.
    @Suite("A cluster that does not answer", .serialized)
    struct RBDOutageTests {
        private static let size = 4096

        private func bytes(_ value: UInt8) -> [UInt8] { [UInt8](repeating: value, count: Self.size) }

        /// Not by going on where it was paused: the only OSD of a cluster may then wait for ever for a lease to read.
        private func revive(_ cluster: TestCluster) async throws {
            try await cluster.change("kill", "osd.0")
            try await cluster.change("restart", "osd.0")
        }

        /// Tries until the cluster has answered what was late.
        private func eventually(_ body: () async throws(StorageError) -> Void) async throws(StorageError) {
            while true {
                do throws(StorageError) {
                    return try await body()
                } catch {
                    guard error.code == .timedOut else { throw error }
                    await IOExecutor.sleep(for: .milliseconds(20))
                }
            }
        }

        @Test(
            "Requests end at the deadline, a late write falls on nothing newer, and no flush succeeds for what is not there",
            .timeLimit(.minutes(4)), arguments: [false, true])
        func outage(isWriteback: Bool) async throws {
            let cluster = TestCluster()
            let description = try await cluster.description
            var options = RBDPool.Options()
            options.deadline = .seconds(4)
            options.cache = RBDCachePolicy(byteCount: 32 << 20, isWriteback: isWriteback)
            let settings = try description.settings(description.user, keyFile: description.keyFile)
            let pool = try await RBDPool.open("p", cluster: settings, options: options)
            _ = try await pool.createVolume("v", CreateRequest(size: 64 << 20, format: .raw))
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)

            // Before the first flush nothing is only in a cache.
            try await volume.write(bytes(1).rawBytes, at: 0)
            try await cluster.change("pause", "osd.0")
            // More than librados has in flight by default: whoever asks must not wait on its thread.
            let expired = await withTaskGroup { group in
                for request in 0..<1200 {
                    group.addTask(executorPreference: IOExecutorGroup.shared.next()) {
                        await failure { _ = try await volume.bytes(at: UInt64(4096 + 2048 * request), count: 1) }?.code
                            == .timedOut
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(expired == 1200)
            let late = await failure { try await volume.write(bytes(2).rawBytes, at: 0) }
            #expect(late?.code == .timedOut)
            #expect(pool.health != .healthy)
            let refused = await failure { _ = try await volume.bytes(at: 8 << 20, count: 1) }
            #expect(refused?.code == .timedOut)
            try await revive(cluster)
            try await eventually { () async throws(StorageError) in
                try await volume.write(bytes(3).rawBytes, at: 0)
            }
            try await volume.flush()
            #expect(try await volume.bytes(at: 0, count: Self.size) == bytes(3))
            #expect(pool.health == .healthy)

            // With a cache the write is acknowledged, and its flush is not.
            if isWriteback { try await volume.write(bytes(4).rawBytes, at: 0) }
            try await cluster.change("pause", "osd.0")
            if !isWriteback { _ = await failure { try await volume.write(bytes(4).rawBytes, at: 0) } }
            let flushed = await failure { try await volume.flush() }
            #expect(flushed?.code == .timedOut)
            try await revive(cluster)
            try await eventually { () async throws(StorageError) in try await volume.flush() }
            try await volume.close()
            #expect(try await pool.firstByte(of: "v") == 4)
        }

        @Test("A volume that is closed meanwhile closes when the cluster answers", .timeLimit(.minutes(4)))
        func close() async throws {
            let cluster = TestCluster()
            let description = try await cluster.description
            var options = RBDPool.Options()
            options.deadline = .seconds(4)
            let settings = try description.settings(description.user, keyFile: description.keyFile)
            let pool = try await RBDPool.open("p", cluster: settings, options: options)
            _ = try await pool.createVolume("v", CreateRequest(size: 64 << 20, format: .raw))
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            try await cluster.change("pause", "osd.0")
            let late = await failure { try await volume.write(bytes(1).rawBytes, at: 0) }
            #expect(late?.code == .timedOut)
            // A call that waits, on an image that is closed meanwhile.
            let reader = try #require(volume as? RBDVolume)
            let mapped = await failure { _ = try await reader.image.watchers() }
            #expect(mapped?.code == .timedOut)
            let closed = await failure { try await volume.close() }
            #expect(closed?.code == .timedOut)
            let opened = await failure { _ = try await pool.openVolume(VolumeReference("v"), mode: .readOnly) }
            #expect(opened?.code == .timedOut)
            try await revive(cluster)
            var again: (any Volume)?
            while again == nil {
                do {
                    again = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
                } catch {
                    try #require(error.isRetryable, "\(error)")
                    await IOExecutor.sleep(for: .milliseconds(20))
                }
            }
            #expect(try await again?.bytes(at: 0, count: Self.size) == bytes(1))
            try await again?.close()
        }
    }
#endif
