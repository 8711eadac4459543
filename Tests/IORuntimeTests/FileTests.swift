import Glibc
import IORuntime
import SystemPackage
import Testing

@Suite("File")
struct FileTests {
    @Test("reads back what random writes of any size and place wrote", arguments: TestEngine.allCases)
    func readsWhatWasWritten(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let file = try await File.open(directory("f"), [.write, .create])
            var model = [UInt8](repeating: 0, count: 1 << 20)
            var random = SeededGenerator(seed: 1)
            for _ in 0..<200 {
                let offset = Int.random(in: 0..<model.count, using: &random)
                let count = Int.random(in: 0...min(70_000, model.count - offset), using: &random)
                let byte = UInt8.random(in: 0...255, using: &random)
                let bytes = [UInt8](repeating: byte, count: count)
                try await file.write(bytes.span.bytes, at: UInt64(offset))
                model.replaceSubrange(offset..<offset + count, with: bytes)
            }
            try await file.truncate(to: UInt64(model.count))
            var read = [UInt8](repeating: 1, count: model.count)
            var span = read.mutableSpan
            var bytes = span.mutableBytes
            let done = try await file.read(into: &bytes, at: 0)
            #expect(done == model.count)
            #expect(read == model)
            try await file.close()
        }
    }

    @Test("a read past the end returns what there is", arguments: TestEngine.allCases)
    func shortRead(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let file = try await File.open(directory("f"), [.write, .create])
            try await file.write(([1, 2, 3] as [UInt8]).span.bytes, at: 0)
            var buffer = IOBuffer(byteCount: 4096)
            var bytes = buffer.mutableBytes
            #expect(try await file.read(into: &bytes, at: 0) == 3)
            #expect(try await file.read(into: &bytes, at: 3) == 0)
            #expect(try await file.read(into: &bytes, at: 1 << 40) == 0)
        }
    }

    @Test("vectored requests reach every segment, contiguous and scattered", arguments: TestEngine.allCases)
    func vectored(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let file = try await File.open(directory("f"), [.write, .create])
            var random = SeededGenerator(seed: 2)
            for _ in 0..<50 {
                let count = Int.random(in: 1...IOVector.capacity, using: &random)
                let isContiguous = Bool.random(using: &random)
                var source = IOBuffer(byteCount: count * 1000)
                var target = IOBuffer(byteCount: count * 1000)
                target.zero()
                var bytes = source.mutableBytes
                for index in 0..<bytes.byteCount {
                    bytes.storeBytes(of: UInt8.random(in: 0...255, using: &random), toByteOffset: index, as: UInt8.self)
                }
                var writes = IOVector()
                var reads = IOVector()
                for index in 0..<count {
                    let offset = UInt64(index * (isContiguous ? 1000 : 1000 + index))
                    let part = unsafe source.memory[index * 1000..<(index + 1) * 1000]
                    unsafe writes.append(UnsafeMutableRawBufferPointer(rebasing: part), at: offset)
                    let other = unsafe target.memory[index * 1000..<(index + 1) * 1000]
                    unsafe reads.append(UnsafeMutableRawBufferPointer(rebasing: other), at: offset)
                }
                try await file.writev(writes)
                #expect(try await file.readv(reads) == writes.byteCount)
                let isSame = source.bytes.hasSameBytes(as: target.bytes)
                #expect(isSame)
            }
        }
    }

    @Test("many requests are in flight at once, more than any queue holds", arguments: TestEngine.allCases)
    func manyInFlight(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let file = try await File.open(directory("f"), [.write, .create])
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for index in 0..<3000 {
                    tasks.addTask {
                        let value = [UInt64(index)]
                        try await file.write(value.span.bytes, at: UInt64(index * 8))
                        var read: [UInt64] = [0]
                        var span = read.mutableSpan
                        var bytes = span.mutableBytes
                        _ = try await file.read(into: &bytes, at: UInt64(index * 8))
                        #expect(read == value)
                    }
                }
                try await tasks.waitForAll()
            }
        }
    }

    @Test("holes are found, punched ranges read as zeros, sizes follow", arguments: TestEngine.allCases)
    func allocation(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let file = try await File.open(directory("f"), [.write, .create])
            let block = [UInt8](repeating: 7, count: 65536)
            try await file.write(block.span.bytes, at: 0)
            try await file.truncate(to: 1 << 20)
            try await file.write(block.span.bytes, at: 524288)
            #expect(try await file.seekHole(from: 0) == 65536)
            #expect(try await file.seekData(from: 65536) == 524288)
            #expect(try await file.seekData(from: 600_000) == nil)
            #expect(try await file.size() == 1 << 20)
            try await file.allocate(.punchHole, 0..<65536)
            #expect(try await file.seekData(from: 0) == 524288)
            try await file.allocate(.zero, 524288..<528384)
            var read = [UInt8](repeating: 1, count: 8192)
            var span = read.mutableSpan
            var bytes = span.mutableBytes
            _ = try await file.read(into: &bytes, at: 524288)
            #expect(read == [UInt8](repeating: 0, count: 4096) + [UInt8](repeating: 7, count: 4096))
            try await file.allocate(.reserve, 0..<2 << 20)
            #expect(try await file.size() == 2 << 20)
            try await file.synchronize()
            try await file.synchronize(dataOnly: false)
            #expect(try await file.status().allocatedSize >= 2 << 20)
        }
    }

    @Test("locks end with the file, also while a program that is being started has it open too")
    func inheritedLocks() async throws {
        let directory = try TemporaryDirectory()
        let one = try await File.open(directory("f"), [.write, .create])
        let other = try await File.open(directory("f"), .write)
        let inherited = try one.descriptor.duplicate()
        #expect(try await one.lock(.exclusive, 100..<101))
        try await one.close()
        #expect(try await other.lock(.exclusive, 100..<101))
        try inherited.close()
    }

    @Test("locks conflict between open files of one process, and go with the file")
    func locks() async throws {
        let directory = try TemporaryDirectory()
        let one = try await File.open(directory("f"), [.write, .create])
        let other = try await File.open(directory("f"), [.write])
        #expect(try await one.lock(.shared, 100..<101))
        #expect(try await other.lock(.shared, 100..<101))
        #expect(try await other.isLockedByOther(.exclusive, 100..<101))
        #expect(try await !one.lock(.exclusive, 100..<101))
        #expect(try await other.lock(.unlocked, 100..<101))
        #expect(try await one.lock(.exclusive, 100..<101))
        #expect(try await !other.lock(.shared, 100..<101))
        #expect(try await other.lock(.exclusive, 101..<102))
        try await one.close()
        #expect(try await other.lock(.exclusive, 100..<101))
    }

    @Test("failures carry the call and its error", arguments: TestEngine.allCases)
    func errors(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            await #expect(throws: SystemError(.noSuchFileOrDirectory, "open")) {
                _ = try await File.open(directory("missing"))
            }
            _ = try await File.open(directory("f"), [.write, .create])
            let readOnly = try await File.open(directory("f"))
            await #expect(throws: SystemError(.badFileDescriptor, "write")) {
                try await readOnly.write([1].span.bytes, at: 0)
            }
            await #expect(throws: SystemError(.fileExists, "open")) {
                _ = try await File.open(directory("f"), [.write, .create, .exclusive])
            }
            unsafe symlink("f", directory("link").string)
            await #expect(throws: SystemError(.tooManySymbolicLinkLevels, "open")) {
                _ = try await File.open(directory("link"), [.noFollow])
            }
            try await readOnly.close()
            try await readOnly.close()
        }
    }

    @Test("a read of a file that never answers ends when its task is cancelled", arguments: TestEngine.allCases)
    func cancelledTransfer(engine: TestEngine) async throws {
        // Reading an empty pipe never returns. A worker thread in a system call cannot be called back.
        guard engine != .threadPool else { return }
        try await engine.run {
            let (end, _) = try FileDescriptor.pipe()
            let file = File(owning: end, path: "pipe")
            let reading = Task {
                var buffer = IOBuffer(byteCount: 8)
                var bytes = buffer.mutableBytes
                return try await file.read(into: &bytes, at: 0)
            }
            reading.cancel()
            await #expect(throws: SystemError(.canceled, "read")) { _ = try await reading.value }
        }
    }
}
