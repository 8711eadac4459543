#if RBD
    import BlockStorage
    import IORuntime
    import Testing

    @testable import RBDPool

    @Suite("An open image")
    struct RBDVolumeTests {
        private func open(
            _ pool: RBDPool, size: UInt64 = 64 << 20
        ) async throws -> (name: String, volume: RBDVolume) {
            let name = newName()
            _ = try await pool.createVolume(name, CreateRequest(size: size, format: .raw))
            let volume = try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            return (name, try #require(volume as? RBDVolume))
        }

        @Test("Each of many requests at once, from several threads, gets its own answer")
        func concurrency() async throws {
            let pool = try await RBDPool.test()
            let (_, volume) = try await open(pool)
            // Every block of 4 KiB says which it is.
            let blocks: UInt64 = 2048
            for start in stride(from: 0, to: blocks, by: 256) {
                let bytes = (start..<start + 256).flatMap { block in
                    [UInt8](repeating: UInt8(truncatingIfNeeded: block &* 0x9d &+ block >> 8), count: 4096)
                }
                try await volume.write(bytes.rawBytes, at: start * 4096)
            }
            let executors = IOExecutorGroup(count: 3)
            let wrong = await withTaskGroup(of: Int.self) { group in
                for task in 0..<48 {
                    group.addTask(executorPreference: executors.executors[task % 3]) {
                        var random = SeededGenerator(seed: UInt64(task))
                        var wrong = 0
                        for _ in 0..<150 {
                            let block = UInt64.random(in: 0..<blocks, using: &random)
                            let bytes = try? await volume.bytes(at: block * 4096, count: 4096)
                            let expected = UInt8(truncatingIfNeeded: block &* 0x9d &+ block >> 8)
                            if bytes?.allSatisfy({ $0 == expected }) != true { wrong += 1 }
                        }
                        return wrong
                    }
                }
                return await group.reduce(0, +)
            }
            #expect(wrong == 0)
            try await volume.close()
            executors.shutDown()
        }

        @Test("Extents show what was written, by whole objects")
        func extents() async throws {
            let pool = try await RBDPool.test()
            let (_, volume) = try await open(pool)
            try await volume.fill(1, (9 << 20)..<(10 << 20))
            let extents = try await volume.extents(in: 0..<(64 << 20))
            #expect(
                extents == [
                    Extent(0..<(8 << 20), .hole), Extent((8 << 20)..<(12 << 20), .data),
                    Extent((12 << 20)..<(64 << 20), .hole),
                ])
            #expect(
                try await volume.extents(in: (9 << 20)..<(9 << 20) + 5) == [Extent((9 << 20)..<(9 << 20) + 5, .data)])
            try await volume.close()
        }

        @Test("Only one may write, and the other learns who does")
        func exclusive() async throws {
            let (first, second) = (try await RBDPool.test(), try await RBDPool.test())
            let (name, volume) = try await open(first)
            let error = await failure { _ = try await second.openVolume(VolumeReference(name), mode: .exclusive) }
            #expect(error?.code == .busy)
            #expect(error?.why.contains("pid") == true, "\(error?.why ?? "")")
            try await volume.close()
            try await second.openVolume(VolumeReference(name), mode: .exclusive).close()
        }

        @Test("The lock of a dead process is broken at once, and what it still sends is refused")
        func fencing() async throws {
            let (first, second) = (try await RBDPool.test(), try await RBDPool.test())
            let (name, volume) = try await open(first)
            try await volume.fill(1, 0..<4096)
            // As if another process had it, one that is gone.
            var holder = try #require(try await volume.image.holder())
            #expect(!holder.isDead)
            holder.processStart += 1
            #expect(holder.isDead)
            try await volume.image.setMetadata(RBDHolder.metadataKey, try #require(holder.metadata))

            let successor = try await second.openVolume(VolumeReference(name), mode: .exclusive)
            try await successor.fill(2, 0..<4096)
            let refused = await failure { try await volume.fill(3, 0..<4096) }
            #expect(refused?.code == .fenced)
            _ = await failure { try await volume.close() }
            try await successor.close()
            #expect(try await second.firstByte(of: name) == 2)
            // The pool whose client was shut out gets a new one.
            #expect(try await first.firstByte(of: name) == 2)
        }

        @Test("A process of another host, or one that cannot be seen, is not taken for dead")
        func foreignHolder() throws {
            var holder = try #require(RBDHolder(address: "192.0.2.1:0/1"))
            holder.processStart += 1
            holder.boot = "another"
            #expect(!holder.isDead)
            #expect(RBDHolder(metadata: "what nobody wrote") == nil)
        }

        @Test("An image without the exclusive lock, as old versions of CloudStack made it, gets it")
        func oldFeatures() async throws {
            let pool = try await RBDPool.test()
            let name = newName()
            try await ceph("rbd", "create", "cloudstack/\(name)", "--size", "8M", "--image-feature", "layering")
            _ = try await pool.adoptVolume(name, format: .raw)
            try await pool.fill(name, 7)
            #expect(try await pool.firstByte(of: name) == 7)
            let features = try await ceph("rbd", "info", "cloudstack/\(name)")
            #expect(features.contains("exclusive-lock"))
        }
    }
#endif
