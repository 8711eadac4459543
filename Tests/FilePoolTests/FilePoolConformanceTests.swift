import BlockStorage
import StorageConformance
import Testing

@testable import FilePool

@Suite struct FilePoolConformanceTests {
    @Test("a file pool keeps every promise of a pool", .timeLimit(.minutes(30)))
    func conformance() async throws {
        try await withPool { pool in
            var options = PoolConformance.Options()
            options.limited = { (limits) async throws(StorageError) in
                var options = FilePool.Options()
                options.limits = limits
                return try await FilePool.open("p", .directory, path: pool.store.location(of: ""), options: options)
            }
            let results = try await PoolConformance(pool, options: options).run()
            let failures = results.filter { $0.outcome == .failed }
            #expect(results.filter { $0.name.hasPrefix("admission/") }.allSatisfy { $0.outcome == .passed })
            #expect(failures.isEmpty, "\(failures.map { "\($0.name): \($0.reason ?? "")" })")
            #expect(try await pool.leftovers.isEmpty)
        }
    }
}
