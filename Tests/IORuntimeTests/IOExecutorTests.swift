import Dispatch
import Glibc
import IORuntime
import SystemPackage
import Testing

@Suite("IOExecutor")
struct IOExecutorTests {
    @Test("a task and its requests stay on one thread", arguments: [IOExecutor.Engine.ring, .threadPool])
    func noHop(engine: IOExecutor.Engine) async throws {
        let group = IOExecutorGroup(count: 2, engine: engine)
        let directory = try TemporaryDirectory()
        let file = try await File.open(directory("f"), [.write, .create])
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for executor in group.executors {
                tasks.addTask(executorPreference: executor) {
                    for index in 0..<100 {
                        #expect(IOExecutor.current === executor)
                        try await file.write([UInt8(index)].span.bytes, at: UInt64(index))
                        #expect(IOExecutor.current === executor)
                    }
                }
            }
            try await tasks.waitForAll()
        }
        group.shutDown()
    }

    @Test("the end of a turn comes once all that is runnable has run, and before anything waits")
    func endOfTurn() async {
        final class End: IOTurnHandler {
            let events: Locked<[String]>
            init(_ events: Locked<[String]>) { self.events = events }
            func endTurn() { events.withLock { $0.append("end") } }
        }
        let group = IOExecutorGroup(count: 1)
        let events = Locked<[String]>([])
        await group.executors[0].run {
            await withTaskGroup(of: Void.self) { tasks in
                for index in 0..<3 {
                    tasks.addTask {
                        events.withLock { $0.append("task \(index)") }
                        if index == 0 {
                            let isTaken = IOExecutor.atEndOfTurn(End(events))
                            #expect(isTaken)
                        }
                        await IOExecutor.sleep(for: .zero)
                        events.withLock { $0.append("later") }
                    }
                }
            }
        }
        #expect(events.withLock { $0.prefix(4) }.sorted() == ["end", "task 0", "task 1", "task 2"])
        #expect(events.withLock { $0.firstIndex(of: "end") } == 3)
        #expect(!IOExecutor.atEndOfTurn(End(events)))
        group.shutDown()
    }

    @Test("what work held may need its pool when it goes", .timeLimit(.minutes(1)))
    func endOfWork() async {
        final class Last: Sendable {
            let end: @Sendable () -> Void
            init(_ end: @escaping @Sendable () -> Void) { self.end = end }
            deinit { end() }
        }
        func work(holding last: Last) -> @Sendable () -> Void { { withExtendedLifetime(last) {} } }
        let pool = BlockingPool(threads: 1, idleSeconds: 1)
        await withCheckedContinuation { continuation in
            let gate = DispatchSemaphore(value: 0)
            pool.enqueue { gate.wait() }
            pool.enqueue(work(holding: Last { pool.enqueue { continuation.resume() } }))
            pool.enqueue {}
            gate.signal()
        }
    }

    @Test("a crash on a thread of a pool reaches whoever handles crashes")
    func crash() async {
        await #expect(processExitsWith: .exitCode(7)) {
            signal(SIGSEGV) { _ in _exit(7) }
            await BlockingPool(threads: 1).run { _ = raise(SIGSEGV) }
        }
    }

    @Test("outside an executor there is no current one")
    func noCurrent() { #expect(IOExecutor.current == nil) }

    @Test("sleep never ends early, and ends at once when cancelled", arguments: TestEngine.allCases)
    func sleep(engine: TestEngine) async throws {
        try await engine.run {
            let clock = ContinuousClock()
            let start = clock.now
            await IOExecutor.sleep(for: .milliseconds(3))
            #expect(clock.now - start >= .milliseconds(3))
            let long = Task { await IOExecutor.sleep(for: .seconds(3600)) }
            long.cancel()
            await long.value
            await IOExecutor.sleep(for: .seconds(-1))
        }
    }

    @Test("readiness of a descriptor is seen, and its wait can be cancelled", arguments: TestEngine.allCases)
    func readiness(engine: TestEngine) async throws {
        try await engine.run {
            let (output, input) = try FileDescriptor.pipe()
            defer { try? output.close() }
            defer { try? input.close() }
            let waiting = Task { try await IOExecutor.ready(output.rawValue, for: Int32(POLLIN)) }
            _ = try input.writeAll([1])
            #expect(try await waiting.value & Int32(POLLIN) != 0)
            var byte: UInt8 = 0
            _ = try withUnsafeMutableBytes(of: &byte) { try output.read(into: $0) }
            let cancelled = Task { try await IOExecutor.ready(output.rawValue, for: Int32(POLLIN)) }
            cancelled.cancel()
            await #expect(throws: SystemError(.canceled, "poll")) { _ = try await cancelled.value }
        }
    }

    @Test("tasks that yield for ever do not starve completions", arguments: [IOExecutor.Engine.ring, .threadPool])
    func fairness(engine: IOExecutor.Engine) async throws {
        let group = IOExecutorGroup(count: 1, engine: engine)
        let spinner = Task(executorPreference: group.executors[0]) {
            while !Task.isCancelled { await Task.yield() }
        }
        await group.run { await IOExecutor.sleep(for: .milliseconds(1)) }
        spinner.cancel()
        await spinner.value
        group.shutDown()
    }

    @Test("blocking calls run side by side, in order of arrival when threads are few")
    func blockingPool() async throws {
        let pool = BlockingPool(threads: 4)
        let results = await withTaskGroup(of: Int.self) { tasks in
            for index in 0..<1000 { tasks.addTask { await pool.run { index } } }
            return await tasks.reduce(into: Set<Int>()) { $0.insert($1) }
        }
        #expect(results.count == 1000)
        await #expect(throws: SystemError(.ioError, "test")) {
            try await pool.run { () throws(SystemError) in throw SystemError(.ioError, "test") }
        }
    }

    @Test("buffers are aligned, reused, and of the size that was asked for")
    func buffers() {
        for size in [0, 1, 4095, 4096, 4097, 1 << 20, 5 << 20] {
            var buffer = IOBuffer(byteCount: size)
            #expect(buffer.byteCount == size)
            #expect(unsafe UInt(bitPattern: buffer.memory.baseAddress) % 4096 == 0)
            buffer.zero()
            #expect(buffer.bytes.byteCount == size)
        }
    }
}
