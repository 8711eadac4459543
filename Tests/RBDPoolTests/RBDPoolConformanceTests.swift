#if RBD
    import BlockStorage
    import StorageConformance
    import Testing

    @testable import RBDPool

    @Suite struct RBDPoolConformanceTests {
        @Test("an RBD pool keeps every promise of a pool", .timeLimit(.minutes(30)))
        func conformance() async throws {
            let pool = try await RBDPool.test()
            let cluster = try await RBDCluster.test
            var options = PoolConformance.Options()
            options.limited = { (limits) async throws(StorageError) in
                var options = RBDPool.Options()
                options.limits = limits
                return try await RBDPool.open("p", cluster: cluster, options: options)
            }
            let results = try await PoolConformance(pool, options: options).run()
            for result in results where result.outcome == .failed {
                Issue.record("\(result.name): \(result.reason ?? "")")
            }
            #expect(results.filter { $0.name.hasPrefix("admission/") }.allSatisfy { $0.outcome == .passed })
        }
    }
#endif
