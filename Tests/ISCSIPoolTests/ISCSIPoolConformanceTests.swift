#if ISCSI
    import BlockStorage
    import StorageConformance
    import TGTControl
    import Testing

    @testable import ISCSIPool

    @Suite struct ISCSIPoolConformanceTests {
        @Test("A pool of units on tgt keeps every promise of a pool", .timeLimit(.minutes(10)))
        func conformance() async throws {
            let test = try await TestPool.start()
            let pool = try await test.open()
            var options = PoolConformance.Options()
            options.limited = { (limits) async throws(StorageError) in
                try await test.open(host: "host-b") { $0.limits = limits }
            }
            let results = try await PoolConformance(pool, options: options).run()
            for result in results where result.outcome == .failed {
                Issue.record("\(result.name): \(result.reason ?? "")")
            }
            #expect(results.count { $0.outcome == .passed } > 80)
            // Nothing of it is left, at tgtd neither.
            #expect(try await pool.provisioner.units().isEmpty)
            #expect(try await test.control.targets().map(\.number) == [1])
        }
    }
#endif
