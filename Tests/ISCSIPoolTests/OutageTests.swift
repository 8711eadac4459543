#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("A volume whose target goes away")
    struct OutageTests {
        /// One writer of a range of its own, which knows what each of its blocks holds.
        private struct Writer: Sendable {
            static let blockByteCount = 8192
            static let blockCount = 64
            let volume: ISCSIVolume
            let number: UInt8
            var versions = [UInt8](repeating: 0, count: blockCount)
            var generator: SeededGenerator

            init(_ volume: ISCSIVolume, _ number: UInt8) {
                (self.volume, self.number) = (volume, number)
                generator = SeededGenerator(seed: UInt64(number))
            }

            func range(_ block: Int) -> Range<UInt64> {
                let start = UInt64((Int(number) * Self.blockCount + block) * Self.blockByteCount)
                return start..<start + UInt64(Self.blockByteCount)
            }

            /// Writes, flushes and reads back until `isDone`, at least a few times.
            mutating func run(until isDone: @Sendable () -> Bool) async throws(StorageError) {
                var rounds = 0
                while !isDone() || rounds < 50 {
                    rounds += 1
                    let block = Int.random(in: 0..<Self.blockCount, using: &generator)
                    versions[block] &+= 1
                    try await volume.fill(versions[block], range(block))
                    if rounds % 7 == 0 { try await volume.flush() }
                    try await verify(Int.random(in: 0..<Self.blockCount, using: &generator), volume)
                }
            }

            func verify(_ block: Int, _ volume: ISCSIVolume) async throws(StorageError) {
                let bytes = try await volume.bytes(at: range(block).lowerBound, count: Self.blockByteCount)
                guard bytes.allSatisfy({ $0 == versions[block] }) else {
                    throw StorageError(
                        .corrupt, "verify", at: "\(number)/\(block)", why: "an acknowledged write is lost")
                }
            }
        }

        @Test("loses no acknowledged write and fails nothing when the target is killed and started again")
        func killedAndRestarted() async throws {
            let target = try await TestTarget.start("--mutual")
            let volume = try await target.open()
            let isDone = Locked(false)
            let writers = try await withThrowingTaskGroup(of: Writer.self) { group in
                for number in UInt8(0)..<8 {
                    group.addTask {
                        var writer = Writer(volume, number)
                        try await IOExecutorGroup.shared.run { () async throws(StorageError) in
                            try await writer.run { isDone.withLock { $0 } }
                        }
                        return writer
                    }
                }
                for _ in 0..<4 {
                    try await target.change("kill")
                    try await target.change("restart")
                    // There is a session again when this is done.
                    try await volume.flush()
                }
                isDone.withLock { $0 = true }
                var writers: [Writer] = []
                for try await writer in group { writers.append(writer) }
                return writers
            }
            try await volume.close()
            let reopened = try await target.open()
            for writer in writers {
                for block in 0..<Writer.blockCount { try await writer.verify(block, reopened) }
            }
            try await reopened.close()
        }

        @Test("fails what is asked of a target that is gone at the deadline, and closes")
        func killedForGood() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open { _, options in options.deadline = .seconds(4) }
            try await volume.fill(1, 0..<4096)
            try await target.change("kill")
            async let write = failure { try await volume.fill(2, 0..<4096) }
            async let read = failure { _ = try await volume.bytes(at: 0, count: 4096) }
            async let flush = failure { try await volume.flush() }
            for error in await [write, read, flush] {
                #expect(error?.code == .connectionLost || error?.code == .timedOut, "\(String(describing: error))")
            }
            let close = await failure { try await volume.close() }
            #expect(close?.isRetryable == true, "\(String(describing: close))")
        }

        @Test("gives memory back at the deadline of a target that hangs, and goes on when it answers again")
        func paused() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open { _, options in options.deadline = .seconds(4) }
            try await volume.fill(1, 0..<65536)
            try await target.change("pause")
            let write = await failure { try await volume.fill(2, 0..<65536) }
            #expect(write?.code == .timedOut || write?.code == .connectionLost, "\(String(describing: write))")
            let read = await failure { _ = try await volume.bytes(at: 0, count: 4096) }
            #expect(read?.isRetryable == true, "\(String(describing: read))")
            try await target.change("resume")
            // Whatever became of the late write, it does not fall on this one.
            while let error = await failure({ try await volume.fill(3, 0..<65536) }) {
                #expect(error.isRetryable, "\(error)")
            }
            #expect(try await volume.bytes(at: 0, count: 65536).allSatisfy { $0 == 3 })
            try await volume.close()
        }

        @Test("goes by the next portal where one does not answer")
        func failsOver() async throws {
            let target = try await TestTarget.start("--portals", "2")
            let volume = try await target.open { settings, _ in
                settings.portals[0] = "127.0.0.1:1"
            }
            try await volume.fill(1, 0..<4096)
            try await target.change("kill")
            try await target.change("restart")
            #expect(try await volume.bytes(at: 0, count: 4096).allSatisfy { $0 == 1 })
            try await volume.close()
        }

        @Test("says so when its LUN is gone, and takes no other target for it")
        func vanished() async throws {
            let target = try await TestTarget.start("--luns", "2")
            let none = await failure { _ = try await target.open(lun: 7) }
            #expect(none?.code == .notFound, "\(String(describing: none))")
            let other = await failure {
                _ = try await target.open { settings, _ in settings.name += "x" }
            }
            #expect(other?.code == .notFound, "\(String(describing: other))")

            // Which of two is not said.
            let either = await failure { _ = try await target.open(lun: 0) }
            #expect(either?.code == .notFound, "\(String(describing: either))")

            let volume = try await target.open { _, options in options.deadline = .seconds(30) }
            try await volume.fill(1, 0..<4096)
            try await target.change("remove", "1")
            let error = await failure { _ = try await volume.bytes(at: 0, count: 4096) }
            #expect(error?.code == .notFound, "\(String(describing: error))")
            try await target.change("add", "1")
            #expect(try await volume.bytes(at: 0, count: 4096).allSatisfy { $0 == 1 })
            try await volume.close()
        }

        @Test("does not write to another unit that has got its number")
        func replaced() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open { _, options in options.deadline = .seconds(30) }
            try await volume.fill(1, 0..<4096)
            try await target.change("replace", "1")
            // This target does not tell.
            volume.link.breakSession()
            let write = await failure { try await volume.fill(2, 0..<4096) }
            #expect(write?.code == .notFound, "\(String(describing: write))")
            let other = try await target.open()
            #expect(try await other.bytes(at: 0, count: 4096).allSatisfy { $0 == 0 })
            try await other.close()
        }

        @Test("learns that its LUN has grown, when it asks and with each new session")
        func grown() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open()
            let size = volume.geometry.size
            try await target.change("grow", "1")
            try await volume.rescan()
            #expect(volume.geometry.size == 2 * size)
            try await volume.fill(9, size..<size + 4096)
            try await target.change("grow", "1")
            try await target.change("kill")
            try await target.change("restart")
            try await volume.flush()
            #expect(volume.geometry.size == 4 * size)
            try await volume.close()
        }

        @Test("ends a cancelled task's request that no target has at once, and one that it has when it is back")
        func cancelled() async throws {
            let target = try await TestTarget.start()
            let volume = try await target.open { _, options in options.deadline = .seconds(60) }
            try await volume.fill(1, 0..<4096)
            try await target.change("pause")
            let held = Task { try await volume.fill(1, 0..<4096) }
            let waiting = Task { try await volume.fill(1, 4096..<8192) }
            waiting.cancel()
            held.cancel()
            try await target.change("resume")
            for task in [held, waiting] {
                let error = await failure { try await task.value }
                #expect(error == nil || error?.code == .cancelled, "\(String(describing: error))")
            }
            try await target.change("kill")
            await volume.link.untilLost()
            let late = Task { try await volume.fill(1, 0..<4096) }
            late.cancel()
            let error = await failure { try await late.value }
            #expect(error?.code == .cancelled, "\(String(describing: error))")
        }
    }

    extension ISCSILink {
        /// Returns when there is no session.
        fileprivate func untilLost() async {
            while trouble == nil { await Task.yield() }
        }
    }
#endif
