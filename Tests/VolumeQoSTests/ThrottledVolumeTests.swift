import BlockStorage
import IORuntime
import Testing

@testable import VolumeQoS

@Suite("A throttled volume")
struct ThrottledVolumeTests {
    private let clock = TestClock()
    private let millisecond: UInt64 = 1_000_000

    private func group(
        capacity: UInt64? = nil, slots: Int? = nil, deadline: Duration = .seconds(600)
    ) -> ThrottleGroup {
        var options = ThrottleGroup.Options()
        (options.capacity, options.slots, options.deadline) = (capacity, slots, deadline)
        return ThrottleGroup(options, clock: clock)
    }

    private func read(_ volume: any Volume, _ byteCount: Int = 4096) async throws(StorageError) {
        var buffer = [UInt8](repeating: 0, count: byteCount)
        var bytes = buffer.mutableRawBytes
        try await volume.read(into: &bytes, at: 0)
    }

    /// Waits until so many requests of the volume wait.
    private func waiting(_ volume: ThrottledVolume, _ count: UInt64) async {
        while volume.statistics.waiting != count { await Task.yield() }
    }

    @Test("Without limits nothing waits; a limit that is set holds for what waits, and one that is lifted frees it")
    func policies() async throws {
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), .unlimited, in: group())
        for _ in 0..<100 { try await read(volume) }
        volume.setPolicy(try QoSPolicy(maxIOPS: 1000))
        try await read(volume)
        async let second: Void = read(volume)
        async let third: Void = read(volume)
        await waiting(volume, 2)
        await clock.waitForSleeper(until: clock.now() + millisecond)
        clock.advance(by: millisecond)
        await waiting(volume, 1)
        // At 10 IOPS the last one would wait for 100 ms.
        volume.setPolicy(try QoSPolicy(maxIOPS: 10))
        clock.advance(by: 5 * millisecond)
        #expect(volume.statistics.waiting == 1)
        volume.setPolicy(nil)
        _ = try await (second, third)
        let statistics = volume.statistics
        #expect(statistics.requests == 103 && statistics.throttledRequests == 2)
        #expect(statistics.normalisedOperations == 103 && statistics.waiting == 0)
        #expect(statistics.limitedNanoseconds == 6 * millisecond)
        #expect(volume.stack == "throttled(memory)")
        try await volume.close()
    }

    @Test("A cancelled request ends and leaves no trace, before it waits and while it does")
    func cancellation() async throws {
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), try QoSPolicy(maxIOPS: 1), in: group())
        try await read(volume)
        let tasks = (0..<20).map { _ in Task { try await self.read(volume) } }
        for (index, task) in tasks.enumerated() where index % 2 == 0 { task.cancel() }
        await waiting(volume, 10)
        for task in tasks { task.cancel() }
        for task in tasks {
            await #expect(throws: StorageError.self) { try await task.value }
        }
        #expect(volume.statistics.waiting == 0)
        // Nothing is owed for what was cancelled.
        clock.advance(by: 1000 * millisecond)
        try await read(volume)
    }

    @Test("A request that waits longer than the deadline fails, and those behind it go on")
    func deadline() async throws {
        let volume = ThrottledVolume(
            MemoryVolume(size: 1 << 20), try QoSPolicy(maxIOPS: 1), in: group(deadline: .milliseconds(1500)))
        try await read(volume)
        let tasks = [1, 2, 3].map { _ in Task { try await self.read(volume) } }
        await waiting(volume, 3)
        await clock.waitForSleeper(until: clock.now() + 1000 * millisecond)
        clock.advance(by: 1000 * millisecond)
        await waiting(volume, 2)
        await clock.waitForSleeper(until: clock.now() + 500 * millisecond)
        clock.advance(by: 500 * millisecond)
        await waiting(volume, 0)
        var codes: [StorageError.Code?] = []
        for task in tasks {
            do {
                try await task.value
                codes.append(nil)
            } catch { codes.append((error as? StorageError)?.code) }
        }
        #expect(codes.filter { $0 == nil }.count == 1 && codes.filter { $0 == .timedOut }.count == 2)
    }

    @Test("Closing lets go what waits, once, and ends after it")
    func closing() async throws {
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), try QoSPolicy(maxIOPS: 1), in: group())
        try await read(volume)
        let tasks = (0..<8).map { _ in Task { try await self.read(volume) } }
        await waiting(volume, 8)
        try await volume.close()
        for task in tasks { try await task.value }
        #expect(volume.statistics.requests == 9)
        await #expect(throws: StorageError.self) { try await self.read(volume) }
        try await volume.close()
    }

    @Test("Released, a volume lets go what waits and holds up nothing any more, and is still open")
    func release() async throws {
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), try QoSPolicy(maxIOPS: 1), in: group())
        try await read(volume)
        let task = Task { try await self.read(volume) }
        await waiting(volume, 1)
        volume.release()
        try await task.value
        for _ in 0..<10 { try await read(volume) }
        volume.setPolicy(try QoSPolicy(maxIOPS: 1))
        for _ in 0..<10 { try await read(volume) }
        try await volume.close()
    }

    @Test("Zeros cost one operation where none has to be written, and their bytes where they have")
    func zeroes() async throws {
        let group = group(slots: 8)
        let fast = ThrottledVolume(MemoryVolume(size: 4 << 20), .unlimited, in: group)
        try await fast.writeZeroes(0..<(1 << 20))
        try await fast.discard(0..<(1 << 20))
        #expect(fast.statistics.normalisedOperations == 2)
        let slow = ThrottledVolume(GatedVolume(), .unlimited, in: group)
        try await slow.writeZeroes(0..<(1 << 20))
        #expect(slow.statistics.normalisedOperations == 151)
        await #expect(throws: StorageError.self) { try await slow.writeZeroes(0..<4096, options: .fastOnly) }
    }

    @Test("A group's bound lets as many to the device as it says, and each that ends lets the next go")
    func slots() async throws {
        let gate = GatedVolume()
        let group = group(slots: 2)
        let volumes = [1, 2].map { _ in ThrottledVolume(gate, .unlimited, in: group) }
        let tasks = (0..<10).map { index in Task { try await self.read(volumes[index % 2]) } }
        for done in 0..<10 {
            await gate.waitForRequests(min(2, 10 - done))
            #expect(gate.requests <= 2)
            gate.releaseOne()
        }
        for task in tasks { try await task.value }
    }

    @Test("A capacity is shared: one volume's minimum holds while another asks for everything")
    func capacity() async throws {
        let group = group(capacity: 1000)
        let greedy = ThrottledVolume(MemoryVolume(size: 1 << 20), .unlimited, in: group)
        let modest = ThrottledVolume(MemoryVolume(size: 1 << 20), try QoSPolicy(minIOPS: 400), in: group)
        let tasks = [(greedy, 64), (modest, 16)].flatMap { volume, depth in
            (0..<depth).map { _ in
                Task { while !Task.isCancelled { try await self.read(volume) } }
            }
        }
        while greedy.statistics.waiting + modest.statistics.waiting < 80 { await Task.yield() }
        let start = (greedy.statistics.requests, modest.statistics.requests)
        for _ in 0..<1000 {
            await clock.waitForSleeper(until: clock.now() + millisecond)
            clock.advance(by: millisecond)
            while greedy.statistics.waiting + modest.statistics.waiting < 80 { await Task.yield() }
        }
        let (others, own) = (greedy.statistics.requests - start.0, modest.statistics.requests - start.1)
        #expect(own >= 398 && abs(Int64(others + own) - 1000) <= 2, "\(own) and \(others)")
        for task in tasks { task.cancel() }
        for task in tasks { _ = await task.result }
    }

    @Test("Volumes that follow a named policy change together, for requests that wait too, until they leave")
    func named() async throws {
        let gold = NamedPolicy("gold", try QoSPolicy(maxIOPS: 1))
        let volumes = [1, 2].map { _ in ThrottledVolume(MemoryVolume(size: 1 << 20), .unlimited, in: group()) }
        for volume in volumes { gold.apply(to: volume) }
        for volume in volumes { try await read(volume) }
        let tasks = volumes.map { volume in Task { try await self.read(volume) } }
        for volume in volumes { await waiting(volume, 1) }
        gold.leave(volumes[1])
        gold.change(to: .unlimited)
        try await tasks[0].value
        #expect(volumes[1].statistics.waiting == 1)
        try await volumes[1].close()
        try await tasks[1].value
    }

    @Test("A device's capacity is what comes back of it, and its errors are thrown")
    func measurement() async throws {
        let found = try await DeviceCapacity.measure(MemoryVolume(size: 1 << 20), duration: .milliseconds(20), depth: 4)
        #expect(found > 0)
        let closed = MemoryVolume(size: 1 << 20)
        try await closed.close()
        await #expect(throws: StorageError.self) { try await DeviceCapacity.measure(closed) }
        await #expect(throws: StorageError.self) { try await DeviceCapacity.measure(MemoryVolume(size: 512)) }
    }

    @Test("A group that follows a coordinator has what that gives it")
    func coordinator() async throws {
        struct Half: CapacityCoordinator {
            func share(of host: String, _ use: CapacityUse) async throws(StorageError) -> UInt64 {
                CapacityShare.split(10, among: [use, use])[0]
            }
        }
        let group = group()
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), .unlimited, in: group)
        try await group.follow(Half(), as: "one", CapacityUse(minimum: 3, demand: 100))
        try await read(volume)
        let second = Task { try await self.read(volume) }
        await waiting(volume, 1)
        await clock.waitForSleeper(until: clock.now() + 200 * millisecond)
        clock.advance(by: 200 * millisecond)
        try await second.value
    }

    @Test("Saved burst outlives the volume that is closed, as far as the policy allows it")
    func credit() async throws {
        let policy = try QoSPolicy(maxIOPS: 100, burstIOPS: 200)
        let volume = ThrottledVolume(MemoryVolume(size: 1 << 20), policy, in: group())
        clock.advance(by: 10_000 * millisecond)
        try await volume.close()
        let saved = volume.statistics.credit
        #expect((80_000...100_000).contains(saved) && volume.statistics.creditSeconds >= 8)
        let again = ThrottledVolume(MemoryVolume(size: 1 << 20), policy, in: group(), credit: saved)
        #expect(again.statistics.credit == saved)
        let lower = ThrottledVolume(
            MemoryVolume(size: 1 << 20), try QoSPolicy(maxIOPS: 100, burstIOPS: 101), in: group(), credit: saved)
        #expect(lower.statistics.credit == 60 * 100)
    }
}

/// Lets reads end one by one, and has no fast way to write zeros.
private final class GatedVolume: Volume {
    private struct State {
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let base = MemoryVolume(size: 1 << 20)
    private let state = Locked(State())

    var requests: Int { state.withLock { $0.waiting.count } }
    func waitForRequests(_ count: Int) async { while requests < count { await Task.yield() } }
    func releaseOne() { state.withLock { $0.waiting.popLast() }?.resume() }

    var geometry: VolumeGeometry { base.geometry }
    var stack: String { "gated" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        await withCheckedContinuation { continuation in state.withLock { $0.waiting.append(continuation) } }
        try await base.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {}
    func flush() async throws(StorageError) {}
    func discard(_ range: Range<UInt64>) async throws(StorageError) {}
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        if options.contains(.fastOnly) { throw StorageError(.notSupported, "write zeros fast") }
    }
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] { [] }
    func close() async throws(StorageError) {}
}
