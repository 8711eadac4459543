#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite struct TGTPoolOutageTests {
        private static let size: UInt64 = 4 << 20
        private static let block = 4096

        @Test("A tgtd that is killed and started again under load loses no acknowledged write, and no session is left")
        func restart() async throws {
            let test = try await TestPool.start()
            let pool = try await test.open()
            _ = try await pool.createVolume("v", CreateRequest(size: Self.size, format: .raw))
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            let isOver = Locked(false)
            let workers = (0..<4).map { worker in
                Task { () async throws -> [UInt64: UInt8] in
                    var generator = SeededGenerator(seed: UInt64(worker))
                    var written: [UInt64: UInt8] = [:]
                    // However slow the machine is, there is something to look at in the end.
                    while !isOver.withLock({ $0 }) || written.count < 30 {
                        // Each has blocks of its own.
                        let index = UInt64.random(in: 0..<256, using: &generator) * 4 + UInt64(worker)
                        let value = UInt8.random(in: 1...255, using: &generator)
                        try await volume.fill(
                            value, index * UInt64(Self.block)..<(index + 1) * UInt64(Self.block))
                        written[index] = value
                    }
                    return written
                }
            }
            for _ in 0..<3 {
                let before = try await volume.bytes(at: 0, count: Self.block)
                try await test.daemon.change("kill")
                try await test.daemon.change("restart")
                // Answered by the new one.
                _ = before
                _ = try await volume.bytes(at: 0, count: Self.block)
            }
            isOver.withLock { $0 = true }
            var count = 0
            for worker in workers {
                for (index, value) in try await worker.value {
                    let found = try await volume.bytes(at: index * UInt64(Self.block), count: Self.block)
                    #expect(found == [UInt8](repeating: value, count: Self.block))
                    count += 1
                }
            }
            #expect(count >= 120)
            try await volume.close()
            let unit = try await pool.findManaged("v", "test")
            #expect(try await pool.provisioner.sessions(of: unit.id).isEmpty)
            #expect(unit.mark?.holder == nil)
            // Nobody's reservation is left either.
            try await test.open(host: "host-b").openVolume(VolumeReference("v"), mode: .exclusive).close()
        }

        @Test("A tgtd that is killed for good is an error at the deadline, and another pool goes on")
        func end() async throws {
            let (test, other) = (try await TestPool.start(), try await TestPool.start())
            let pool = try await test.open { $0.deadline = .seconds(2) }
            let healthy = try await other.open()
            var volumes: [any Volume] = []
            for pool in [pool, healthy] {
                _ = try await pool.createVolume("v", CreateRequest(size: Self.size, format: .raw))
                volumes.append(try await pool.openVolume(VolumeReference("v"), mode: .exclusive))
            }
            try await test.daemon.change("kill")
            let (lost, alive) = (volumes[0], volumes[1])
            async let late = failure { try await lost.fill(1, 0..<4096) }
            for index in 0..<50 as Range<UInt64> { try await alive.fill(2, index * 4096..<(index + 1) * 4096) }
            let error = await late
            #expect(
                error.map { [.timedOut, .connectionLost].contains($0.code) } == true, "\(String(describing: error))")
            #expect(
                await failure { _ = try await pool.createVolume("w", CreateRequest(size: Self.size, format: .raw)) }
                    != nil)
            if case .healthy = pool.health { Issue.record("the pool says that it is healthy") }
            try? await lost.close()
            try await alive.close()
        }

        @Test("A volume that another host uses is copied by a snapshot where blocks are shared, or not at all")
        func snapshotElsewhere() async throws {
            let test = try await TestPool.start()
            let (first, second) = (try await test.open(), try await test.open(host: "host-b"))
            _ = try await first.createVolume("v", CreateRequest(size: Self.size, format: .raw))
            let volume = try await first.openVolume(VolumeReference("v"), mode: .exclusive)
            try await volume.fill(1, 0..<Self.size)
            let refusal = await failure { _ = try await second.createSnapshot("s", of: "v") }
            if let refusal {
                #expect(refusal.code == .busy)
                #expect(refusal.why.contains(first.options.initiatorName))
            }
            // What was refused leaves nothing, and the unit lets its users in.
            let state = try await test.provisioner().current()
            #expect(state.units.allSatisfy { $0.copier == nil && ($0.snapshots.isEmpty || refusal == nil) })
            // The one who writes can always.
            _ = try await first.createSnapshot("t", of: "v")
            try await volume.fill(2, 0..<Self.size)
            _ = try await first.cloneVolume(VolumeReference("v"), as: "c", CloneRequest())
            try await volume.fill(3, 0..<Self.size)
            try await volume.close()
            for (reference, value) in [(VolumeReference("v", snapshot: "t"), 1), (VolumeReference("c"), 2)]
                as [(VolumeReference, UInt8)]
            {
                let copy = try await second.openVolume(reference, mode: .readOnly)
                #expect(try await copy.bytes(at: 0, count: Int(Self.size)).allSatisfy { $0 == value })
                try await copy.close()
            }
            #expect(try await second.listVolumes().map(\.name) == ["c", "v"])
        }
    }
#endif
