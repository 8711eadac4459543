#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("COMPARE AND WRITE")
    struct CompareAndWriteTests {
        private let old = [UInt8](repeating: 0, count: 512)
        private let new = [UInt8](repeating: 7, count: 512)

        /// A target that answers the first COMPARE AND WRITE with `reply`, and then counts them.
        private func target(
            _ reply: FakeTarget.Reply, _ count: Locked<Int>,
            _ change: @escaping @Sendable () -> FakeTarget.Reply? = { nil }
        ) async throws -> FakeTarget {
            try await FakeTarget { request in
                if request.command == 0x28, count.withLock({ $0 }) > 0, let answer = change() { return answer }
                guard request.command == 0x89 else { return .asUsual }
                let isFirst = count.withLock { count in
                    count += 1
                    return count == 1
                }
                return isFirst ? reply : .asUsual
            }
        }

        @Test("writes where what is expected is there, and only there")
        func compares() async throws {
            let count = Locked(0)
            let target = try await target(.asUsual, count)
            let volume = try await target.open()
            #expect(try await volume.compareAndWrite(old.rawBytes, new.rawBytes, at: 512))
            #expect(try await volume.bytes(at: 512, count: 512) == new)
            #expect(try await !volume.compareAndWrite(old.rawBytes, old.rawBytes, at: 512))
            #expect(try await volume.bytes(at: 512, count: 512) == new)
            #expect(try await volume.bytes(at: 0, count: 512) == old)
            try await volume.close()
        }

        @Test("is not sent again where it was done, though the connection was lost before the answer")
        func wasDone() async throws {
            let count = Locked(0)
            let target = try await target(.doneThenEnd, count)
            let volume = try await target.open()
            #expect(try await volume.compareAndWrite(old.rawBytes, new.rawBytes, at: 0))
            #expect(count.withLock { $0 } == 1)
            try await volume.close()
        }

        @Test("is done once the connection is back where it was not done", arguments: [0, 1, 2])
        func wasNotDone(_ kind: Int) async throws {
            let count = Locked(0)
            let reply: FakeTarget.Reply = [
                .end, .status(SCSIStatus.busy), .status(2, sense: FakeTarget.sense(6, 0x2a01)),
            ][kind]
            let target = try await target(reply, count)
            let volume = try await target.open()
            #expect(try await volume.compareAndWrite(old.rawBytes, new.rawBytes, at: 0))
            #expect(count.withLock { $0 } == 2)
            #expect(try await volume.bytes(at: 0, count: 512) == new)
            try await volume.close()
        }

        @Test("is not done again where another has written meanwhile", arguments: [false, true])
        func somebodyElse(_ isAborted: Bool) async throws {
            let count = Locked(0)
            let theirs = [UInt8](repeating: 9, count: 512)
            let target = try await target(isAborted ? .status(SCSIStatus.taskAborted) : .doneThenEnd, count) {
                .data(theirs)
            }
            let volume = try await target.open()
            let error = await failure { _ = try await volume.compareAndWrite(old.rawBytes, new.rawBytes, at: 0) }
            #expect(error?.code == .connectionLost, "\(String(describing: error))")
            #expect(count.withLock { $0 } == 1)
            try await volume.close()
        }

        @Test("says what the unit cannot compare")
        func limits() async throws {
            let target = try await FakeTarget { _ in .asUsual }
            let volume = try await target.open()
            let long = [UInt8](repeating: 0, count: 5 * 512)
            for (expected, bytes, code) in [
                (old, [UInt8](repeating: 0, count: 1024), StorageError.Code.invalidArgument),
                (long, long, .notSupported),
                ([], [], .invalidArgument),
            ] {
                let error = await failure {
                    _ = try await volume.compareAndWrite(expected.rawBytes, bytes.rawBytes, at: 0)
                }
                #expect(error?.code == code, "\(String(describing: error))")
            }
            try await volume.close()
            // A target that does not know it.
            let real = try await TestTarget.start()
            let other = try await real.open()
            let error = await failure { _ = try await other.compareAndWrite(old.rawBytes, new.rawBytes, at: 0) }
            #expect(error?.code == .notSupported, "\(String(describing: error))")
            try await other.close()
        }
    }
#endif
