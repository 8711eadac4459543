import Glibc
import IORuntime
import SystemPackage
import Testing

@Suite("Reads from the page cache")
struct CachedReadsTests {
    @Test("a read is whole when the page cache holds a part of it, or nothing", arguments: TestEngine.allCases)
    func partlyCached(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let file = try await File.open(directory("f"), [.write, .create])
            var random = SeededGenerator(seed: 3)
            let content = (0..<64 << 10).map { _ in UInt8.random(in: 0...255, using: &random) }
            try await file.write(content.span.bytes, at: 0)
            try await file.synchronize()
            for _ in 0..<200 {
                let start = Int.random(in: 0..<content.count, using: &random)
                let count = Int.random(in: 1...content.count - start, using: &random)
                #expect(
                    posix_fadvise(
                        file.descriptor.rawValue, off_t(start), off_t(count / 2), POSIX_FADV_DONTNEED) == 0)
                var read = [UInt8](repeating: 0, count: count)
                var span = read.mutableSpan
                var bytes = span.mutableBytes
                #expect(try await file.read(into: &bytes, at: UInt64(start)) == count)
                let isSame = read[...] == content[start..<start + count]
                #expect(isSame)
            }
        }
    }

    @Test("a task that reads nothing but cached bytes lets others run")
    func givesWay() async throws {
        let directory = try TemporaryDirectory()
        let group = IOExecutorGroup(count: 1)
        let file = try await File.open(directory("f"), [.write, .create])
        try await file.write([UInt8](repeating: 1, count: 4096).span.bytes, at: 0)
        let isDone = Locked(false)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask(executorPreference: group.executors[0]) {
                var buffer = IOBuffer(byteCount: 4096)
                // Ends only if the second task gets its turn on the one thread.
                while !isDone.withLock({ $0 }) {
                    var bytes = buffer.mutableBytes
                    _ = try await file.read(into: &bytes, at: 0)
                }
            }
            tasks.addTask(executorPreference: group.executors[0]) { isDone.withLock { $0 = true } }
            try await tasks.waitForAll()
        }
        group.shutDown()
    }

    @Test("a file that is read past the page cache never takes the short way")
    func direct() async throws {
        let directory = try TemporaryDirectory()
        let group = IOExecutorGroup(count: 1)
        try await group.run {
            let file = try await File.open(directory("f"), [.write, .create, .direct])
            var source = IOBuffer(byteCount: 8192)
            var bytes = source.mutableBytes
            bytes.storeBytes(of: 42, toByteOffset: 5000, as: UInt8.self)
            try await file.write(source.bytes, at: 0)
            var target = IOBuffer(byteCount: 8192)
            var read = target.mutableBytes
            #expect(try await file.read(into: &read, at: 0) == 8192)
            #expect(target.bytes.unsafeLoad(fromByteOffset: 5000, as: UInt8.self) == 42)
        }
        group.shutDown()
    }
}
