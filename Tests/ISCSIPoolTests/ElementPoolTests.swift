#if ISCSI
    import BlockStorage
    import ElementSimulator
    import StorageConformance
    import Testing

    @testable import ISCSIPool

    @Suite struct ElementPoolTests {
        @Test("A pool of units on an Element array keeps every promise of a pool", .timeLimit(.minutes(10)))
        func conformance() async throws {
            let array = try await ElementTestArray.start(isServed: true) { configuration in
                // The tests' volumes are small.
                configuration.limits.volumeSize = 1 << 20...8_000_000_491_520
                configuration.cloneSeconds = 0
            }
            let pool = try await array.pool()
            var options = PoolConformance.Options()
            options.limited = { (limits) async throws(StorageError) in
                try await array.pool(host: "host-b") { $0.limits = limits }
            }
            let suite = PoolConformance(pool, options: options)
            // Images on units are the same wherever the units are.
            let cases = suite.list.map(\.name).filter { !$0.hasSuffix("[qcow2]") }
            let results = try await suite.run(only: cases)
            for result in results where result.outcome == .failed {
                Issue.record("\(result.name): \(result.reason ?? "")")
            }
            #expect(results.count { $0.outcome == .passed } > 40)
            // Nothing of it is left, deleted neither.
            #expect(try await pool.provisioner.units().isEmpty)
            #expect(await array.call("ListDeletedVolumes")["volumes"] == [])
        }

        @Test("a volume that is deleted cannot be read by whoever was logged in, and a new one reads zeros")
        func reuse() async throws {
            let array = try await ElementTestArray.start(isServed: true) {
                $0.limits.volumeSize = 1 << 20...8_000_000_491_520
            }
            let pool = try await array.pool()
            let request = CreateRequest(size: 4 << 20, format: .raw)
            _ = try await pool.createVolume("a", request)
            let old = try await pool.openVolume(VolumeReference("a"), mode: .exclusive)
            try await old.fill(0x5a, 0..<(4 << 20))
            try await old.close()
            let impatient = try await array.pool(host: "host-b") { $0.deadline = .seconds(20) }
            let stale = try await impatient.openVolume(VolumeReference("a"), mode: .readOnly)
            #expect(try await stale.bytes(at: 0, count: 512) == [UInt8](repeating: 0x5a, count: 512))
            let units = try await pool.provisioner.units()
            // The array ends its sessions, whatever this host thinks.
            try await pool.provisioner.delete(try #require(units.first).id)
            _ = try await pool.createVolume("b", request)
            #expect(await failure { _ = try await stale.bytes(at: 0, count: 512) } != nil)
            try? await stale.close()
            let new = try await pool.openVolume(VolumeReference("b"), mode: .readOnly)
            #expect(try await new.bytes(at: 0, count: 4 << 20) == [UInt8](repeating: 0, count: 4 << 20))
            try await new.close()
        }
    }
#endif
