import FilePool
import StorageConformance
import Testing

@Suite struct FilePoolConformanceTests {
    @Test("a file pool keeps every promise of a pool", .timeLimit(.minutes(30)))
    func conformance() async throws {
        try await withPool { pool in
            let failures = try await PoolConformance(pool).run().filter { $0.outcome == .failed }
            #expect(failures.isEmpty, "\(failures.map { "\($0.name): \($0.reason ?? "")" })")
            #expect(try await pool.leftovers.isEmpty)
        }
    }
}
