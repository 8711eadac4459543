import BlockStorage
import StorageConformance
import Testing

@Suite struct PoolConformanceTests {
    private func options(limiting pool: MemoryPool) -> PoolConformance.Options {
        var options = PoolConformance.Options()
        options.limited = { limits in
            pool.limits = limits
            return pool
        }
        return options
    }

    @Test("a pool that keeps its promises fails nothing")
    func soundPool() async throws {
        let pool = MemoryPool()
        let results = try await PoolConformance(pool, options: options(limiting: pool)).run()
        let failures = results.filter { $0.outcome == .failed }
        #expect(failures.isEmpty, "\(failures)")
        #expect(results.count == PoolConformance(pool).list.count)
        #expect(results.filter { $0.outcome == .passed }.count > 30)
        #expect(pool.listVolumes().isEmpty && pool.listTemplates().isEmpty)
    }

    @Test("each broken promise is noticed", arguments: MemoryPool.Defect.allCases)
    func brokenPool(defect: MemoryPool.Defect) async throws {
        let pool = MemoryPool(defect: defect)
        var options = options(limiting: pool)
        options.volumeSize = 512 << 10
        let conformance = PoolConformance(pool, options: options)
        for selected in conformance.list {
            guard let failure = try await conformance.run(only: [selected.name]).first(where: { $0.outcome == .failed })
            else { continue }
            #expect(failure.reason?.isEmpty == false)
            return
        }
        Issue.record("nothing notices \(defect)")
    }

    @Test("what a pool does not declare is not capable, and must be refused")
    func undeclared() async throws {
        let results = try await PoolConformance(MemoryPool(features: [])).run()
        #expect(results.filter { $0.outcome == .failed }.isEmpty, "\(results)")
        let snapshot = try #require(results.first { $0.name == "data/snapshot[raw]" })
        #expect(snapshot.outcome == .notCapable)
        #expect(snapshot.reason == "the pool does not declare snapshot")
    }

    @Test("tests are chosen by name, by test or by group, and a wrong choice is an error")
    func selection() async throws {
        let conformance = PoolConformance(MemoryPool())
        let names = conformance.list.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.contains("data/grow[raw]") && names.contains("errors/names"))
        #expect(try await conformance.run(only: ["data/grow[raw]"]).map(\.name) == ["data/grow[raw]"])
        #expect(try await conformance.run(only: ["data/grow", "errors/names"]).count == 2)
        let group = try await conformance.run(only: ["attachment"])
        #expect(group.count == names.filter { $0.hasPrefix("attachment/") }.count)
        let error = await #expect(throws: StorageError.self) { try await conformance.run(only: ["data/gro"]) }
        #expect(error?.code == .invalidArgument)
    }

    @Test("a large volume is covered in parts, and the transport carries every request")
    func options() async throws {
        var options = PoolConformance.Options()
        options.volumeSize = 64 << 20
        options.namePrefix = "other-"
        options.transport = { (volume) async throws(StorageError) in volume }
        let results = try await PoolConformance(MemoryPool(), options: options).run(only: ["data/read-what-was-written"]
        )
        #expect(results.map(\.outcome) == [.passed])
    }
}
