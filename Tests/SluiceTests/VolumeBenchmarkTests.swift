import BlockStorage
import Histogram
import IORuntime
import Testing

@testable import Sluice

@Suite struct VolumeBenchmarkTests {
    @Test("A count is kept exactly, by each job, whatever the depth", arguments: BenchmarkPlan.Pattern.allCases)
    func count(pattern: BenchmarkPlan.Pattern) async throws {
        var plan = BenchmarkPlan(pattern: pattern, blockSize: 4096, depth: 7)
        plan.jobs = 3
        plan.count = 100
        let results = try await VolumeBenchmark.run(plan, on: MemoryVolume(size: 1 << 20))
        #expect(results.count == 3)
        for result in results {
            #expect(result.reads.requests + result.writes.requests == 100)
            #expect(result.reads.bytes + result.writes.bytes == 409_600)
            #expect(result.reads.completion.totalCount == result.reads.requests)
            #expect(result.writes.total.totalCount == result.writes.requests)
            #expect(pattern.writes || result.writes.requests == 0)
        }
    }

    @Test("A runtime ends the load")
    func runtime() async throws {
        var plan = BenchmarkPlan(pattern: .randread, blockSize: 512, depth: 2)
        plan.runtime = .milliseconds(30)
        let results = try await VolumeBenchmark.run(plan, on: MemoryVolume(size: 1 << 20))
        #expect(results[0].elapsed >= .milliseconds(30))
        #expect(results[0].reads.completion.totalCount == results[0].reads.requests)
    }

    @Test("A rate spreads the requests over time")
    func rate() async throws {
        var plan = BenchmarkPlan(pattern: .read, blockSize: 512, depth: 4)
        plan.count = 50
        plan.requestsPerSecond = 1000
        let results = try await VolumeBenchmark.run(plan, on: MemoryVolume(size: 1 << 20))
        #expect(results[0].elapsed >= .milliseconds(49))
    }

    @Test("With a rate, a request that had to wait for a slow one before it counts from when it was due")
    func intendedStart() async throws {
        var plan = BenchmarkPlan(pattern: .read, blockSize: 512, depth: 1)
        plan.count = 20
        plan.requestsPerSecond = 1000
        let result = try await VolumeBenchmark.run(plan, on: SlowStart())[0]
        // Request k was due after k ms, and went after 30 ms at the earliest.
        #expect(result.reads.total.totalCount == 20)
        #expect(result.reads.total.min >= 10_000_000)
    }

    @Test("Sequential offsets follow one another, and steps wrap at the size")
    func offsets() {
        var plan = BenchmarkPlan(pattern: .read, blockSize: 4096, depth: 1)
        var sequential = OffsetGenerator(plan, size: 10_000, job: 0)
        #expect((0..<4).map { _ in sequential.nextOffset() } == [0, 4096, 0, 4096])
        plan.step = 3 * 4096
        var stepped = OffsetGenerator(plan, size: 5 * 4096, job: 0)
        #expect((0..<6).map { _ in stepped.nextOffset() / 4096 } == [0, 3, 1, 4, 2, 0])
    }

    @Test("Random offsets are whole blocks inside the volume, and all blocks come up")
    func randomOffsets() {
        let plan = BenchmarkPlan(pattern: .randread, blockSize: 4096, depth: 1)
        var random = OffsetGenerator(plan, size: 16 * 4096 + 100, job: 0)
        var seen: Set<UInt64> = []
        for _ in 0..<1000 {
            let offset = random.nextOffset()
            #expect(offset % 4096 == 0 && offset < 16 * 4096)
            seen.insert(offset)
        }
        #expect(seen.count == 16)
    }

    @Test("A load that cannot be is refused before anything is sent")
    func refusals() async throws {
        let volume = MemoryVolume(size: 1 << 20)
        let changes: [(inout BenchmarkPlan) -> Void] = [
            { $0.blockSize = 0 }, { $0.blockSize = 2 << 20 }, { $0.blockSize = .max }, { $0.depth = 0 },
            { $0.depth = .max }, { $0.jobs = 0 }, { $0.jobs = .max }, { $0.count = 0 }, { $0.count = nil },
            { $0.step = 0 }, { $0.step = .max }, { $0.requestsPerSecond = 0 }, { $0.requestsPerSecond = .max },
            { $0.runtime = .zero },
        ]
        for change in changes {
            var plan = BenchmarkPlan(pattern: .read, blockSize: 4096, depth: 1)
            plan.count = 1
            change(&plan)
            await expect(.invalidArgument) { try await VolumeBenchmark.run(plan, on: volume) }
        }
        var plan = BenchmarkPlan(pattern: .write, blockSize: 4096, depth: 1)
        plan.count = 1
        await expect(.readOnly) {
            try await VolumeBenchmark.run(plan, on: MemoryVolume(size: 1 << 20, isReadOnly: true))
        }
    }

    @Test("The error of a request ends the load")
    func failure() async throws {
        let volume = MemoryVolume(size: 1 << 20)
        try await volume.close()
        var plan = BenchmarkPlan(pattern: .read, blockSize: 4096, depth: 8)
        plan.jobs = 2
        plan.runtime = .seconds(60)
        await expect(.notAttached) { try await VolumeBenchmark.run(plan, on: volume) }
    }
}

/// Its first read takes 30 ms.
private final class SlowStart: Volume {
    private let base = MemoryVolume(size: 1 << 20)
    private let isFirst = Locked(true)

    var geometry: VolumeGeometry { base.geometry }
    var stack: String { "slow" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let isFirst = isFirst.withLock { isFirst in
            defer { isFirst = false }
            return isFirst
        }
        if isFirst { await IOExecutor.sleep(for: .milliseconds(30)) }
        try await base.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {}
    func flush() async throws(StorageError) {}
    func discard(_ range: Range<UInt64>) async throws(StorageError) {}
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {}
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] { [] }
    func close() async throws(StorageError) {}
}
