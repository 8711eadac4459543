import Glibc
import IORuntime
import SystemPackage
import Testing

@Suite("Deadlines")
struct DeadlineTests {
    @Test(
        "with a deadline, random reads and writes of any shape do what they do without", arguments: TestEngine.allCases)
    func sameBytes(engine: TestEngine) async throws {
        let directory = try TemporaryDirectory()
        try await engine.run {
            let blocking = BlockingPool(threads: 4, idleSeconds: 1, deadline: IODeadline(.seconds(600)))
            let file = try await File.open(directory("f"), [.write, .create], blocking: blocking)
            var model = [UInt8](repeating: 0, count: 10 << 20)
            var random = SeededGenerator(seed: 11)
            try await file.truncate(to: UInt64(model.count))
            for step in 0..<120 {
                // Now and then longer than what is copied at once.
                let largest = step % 40 == 39 ? 9 << 20 : 200_000
                let count = Int.random(in: 0...largest, using: &random)
                let offset = Int.random(in: 0...model.count - count, using: &random)
                var buffer = IOBuffer(byteCount: count)
                var vector = IOVector()
                var position = 0
                while position < count && !vector.isFull {
                    let part =
                        vector.count == 15 ? count - position : Int.random(in: 1...count - position, using: &random)
                    var span = buffer.mutableBytes
                    var piece = span._mutatingExtracting(position..<position + part)
                    vector.append(IOSegment(pinning: &piece, at: UInt64(offset + position)))
                    position += part
                }
                if Bool.random(using: &random) {
                    let byte = UInt8.random(in: 1...255, using: &random)
                    var span = buffer.mutableBytes
                    for index in span.byteOffsets { span.storeBytes(of: byte, toByteOffset: index, as: UInt8.self) }
                    if Bool.random(using: &random) {
                        try await file.writev(vector)
                    } else {
                        try await file.write(buffer.bytes, at: UInt64(offset))
                    }
                    model.replaceSubrange(offset..<offset + count, with: repeatElement(byte, count: count))
                } else {
                    if Bool.random(using: &random) {
                        #expect(try await file.readv(vector) == count)
                    } else {
                        var span = buffer.mutableBytes
                        #expect(try await file.read(into: &span, at: UInt64(offset)) == count)
                    }
                    let isSame = model[offset..<offset + count].span.bytes.hasSameBytes(as: buffer.bytes)
                    #expect(isSame)
                }
            }
            try await file.synchronize()
            #expect(blocking.deadline?.overdue == nil)
            try await file.close()
        }
    }

    @Test("a call that hangs ends at the deadline, is known to be late, and its result is handed to who cleans up")
    func lateCall() async throws {
        let pool = BlockingPool(threads: 1, idleSeconds: 1, deadline: IODeadline(.milliseconds(20)))
        let gate = Gate()
        let late = Gate()
        await #expect(throws: SystemError(.timedOut, "open")) {
            try await pool.call("open", "/x", ifLate: { (_: Int) in late.open() }) { () throws(SystemError) in
                gate.wait()
                return 7
            }
        }
        #expect(pool.deadline?.overdue?.count == 1)
        #expect(pool.deadline?.overdue?.request == "open /x")
        // The only thread is taken: this one never begins, and is not missing.
        await #expect(throws: SystemError(.timedOut, "stat")) {
            try await pool.call("stat", "/y") { () throws(SystemError) in Issue.record("it began") }
        }
        #expect(pool.deadline?.overdue?.count == 1)
        // This one has to, however late.
        let last = Gate()
        await #expect(throws: SystemError(.timedOut, "close")) {
            try await pool.call("close", "/x", mustRun: true) { () throws(SystemError) in last.open() }
        }
        #expect(pool.deadline?.overdue?.count == 2)
        gate.open()
        late.wait()
        last.wait()
        #expect(try await pool.call("stat", "/z") { () throws(SystemError) in 3 } == 3)
        #expect(pool.deadline?.overdue == nil)
    }

    @Test("a transfer that hangs ends at the deadline, and what the kernel was asked to end is not missing for long")
    func lateTransfer() async throws {
        let group = IOExecutorGroup(count: 1, engine: .ring)
        try await group.run {
            let (output, input) = try FileDescriptor.pipe()
            defer { try? input.close() }
            let blocking = BlockingPool(threads: 1, idleSeconds: 1, deadline: IODeadline(.milliseconds(20)))
            // A pipe that nobody writes to: it hangs, and the kernel can be asked to end that.
            let file = File(owning: output, path: "pipe", blocking: blocking)
            var buffer = IOBuffer(byteCount: 4096)
            var bytes = buffer.mutableBytes
            await #expect(throws: SystemError(.timedOut, "read")) { _ = try await file.read(into: &bytes, at: 0) }
            while blocking.deadline?.overdue != nil { await Task.yield() }
            try await file.close()
        }
        group.shutDown()
    }

    /// Something a thread waits for.
    private final class Gate: @unchecked Sendable {
        private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

        init() { unsafe sem_init(semaphore, 0, 0) }

        func open() { unsafe sem_post(semaphore) }

        func wait() { while unsafe sem_wait(semaphore) != 0 {} }
    }
}
