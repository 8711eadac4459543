#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import SystemPackage
    import TGTControl
    import Testing

    @testable import ISCSIPool

    /// What keeps a directory to one tgtd, and a unit that tgtd has forgotten to those who were logged in to it.
    @Suite struct TGTExclusionTests {
        private static let size: UInt64 = 4 << 20

        @Test("A directory is one tgtd's and one host's; others are refused, and both are named")
        func oneOwner() async throws {
            let (test, other) = (try await TestPool.start(), try await TestPool.start())
            _ = try await test.provisioner()
            _ = try await test.provisioner()
            let elsewhere = await failure {
                _ = try await TGTProvisioner.open(
                    portal: other.daemon.description.portals[0], control: other.control, directory: test.directory)
            }
            #expect(elsewhere?.code == .conflict)
            for socket in [test.control.path, other.control.path] {
                #expect(elsewhere?.why.contains(socket) == true, "\(elsewhere?.why ?? "")")
            }
            #expect(try await other.control.targets().map(\.number) == [1])
            let file = FilePath("\(other.directory)/machine")
            try "another-machine\n".write(toFile: file.string, atomically: false, encoding: .utf8)
            let moved = await failure { _ = try await test.provisioner(machineFile: file) }
            #expect(moved?.code == .conflict && moved?.why.contains("this is machine another-machine,") == true)
        }

        @Test("Whoever was logged in when tgtd was restarted has time to come back before a volume is free")
        func grace() async throws {
            let test = try await TestPool.start()
            let (first, second) = (try await test.open(), try await test.open(host: "host-b"))
            for name in ["u", "v", "w"] {
                _ = try await first.createVolume(name, CreateRequest(size: Self.size, format: .raw))
            }
            _ = try await first.access(to: "v")
            let held = try await first.openVolume(VolumeReference("w"), mode: .exclusive)
            try await test.daemon.change("kill")
            try await test.daemon.change("restart")
            for pool in [first, second] {
                let error = await failure { try await pool.deleteVolume("v", policy: .refuse) }
                #expect(error?.code == .busy)
                #expect(error?.why.contains("40 s left") == true, "\(error?.why ?? "")")
                #expect(try await pool.describeVolume("v").details.contains { $0.label == "session" })
            }
            // What no hypervisor was told of may be attached, and is not free for that.
            try await second.openVolume(VolumeReference("u"), mode: .exclusive).close()
            #expect(await failure { try await first.deleteVolume("u", policy: .refuse) }?.code == .busy)
            // Of what one was, nobody else gets it to write meanwhile, and whoever tries leaves nothing.
            let overtaking = await failure {
                _ = try await second.openVolume(VolumeReference("v"), mode: .exclusive)
            }
            #expect(overtaking?.code == .busy)
            #expect(overtaking?.why.contains("40 s left") == true, "\(overtaking?.why ?? "")")
            #expect(try await first.findManaged("v", "test").mark?.holder == nil)
            try await second.openVolume(VolumeReference("v"), mode: .readOnly).close()
            // What one had alone nobody else comes back to.
            try await held.fill(1, 0..<4096)
            try await held.close()
            try await first.deleteVolume("w", policy: .refuse)
            // What is made since is free.
            _ = try await first.createVolume("x", CreateRequest(size: Self.size, format: .raw))
            try await second.deleteVolume("x", policy: .refuse)
            test.now.withLock { $0 += 40_000_000_000 }
            try await second.openVolume(VolumeReference("v"), mode: .exclusive).close()
            try await second.deleteVolume("v", policy: .refuse)
        }

        @Test("Two nodes of one device are one, and two devices of one node's number are not")
        func devices() throws {
            let any = try FileStatus(at: "/dev/null")
            var (first, second) = (any, any)
            (first.mode, first.deviceNumber) = (0o060600, 7)
            (second.mode, second.deviceNumber) = (0o060600, 7)
            second.inode += 1
            #expect(first.isSame(as: second))
            second = first
            second.deviceNumber = 8
            #expect(!first.isSame(as: second))
            var file = try FileStatus(at: "/etc/passwd")
            #expect(file.isSame(as: file))
            file.inode += 1
            #expect(!file.isSame(as: try FileStatus(at: "/etc/passwd")))
        }

        private func store(
            _ directory: TemporaryFolder, _ patience: Duration, _ limit: IODeadline = IODeadline(.seconds(60))
        ) async throws -> TGTStore {
            try await TGTStore(directory.path, deadline: patience, BlockingPool(threads: 2, deadline: limit))
        }

        @Test("The lock is waited for no longer than the deadline, also within a process")
        func queue() async throws {
            let directory = try TemporaryFolder()
            let store = try await store(directory, .milliseconds(20))
            try await store.withLock("test") { () async throws(StorageError) in
                let late = Task { await failure { try await store.withLock("test") {} } }
                #expect(await late.value?.code == .busy)
                let cancelled = Task { await failure { try await store.withLock("test") {} } }
                cancelled.cancel()
                #expect([.busy, .cancelled].contains(await cancelled.value?.code))
            }
            try await store.withLock("test") {}
        }

        @Test("A call that the kernel still has keeps the lock until it has returned")
        func lateCall() async throws {
            let directory = try TemporaryFolder()
            let limit = IODeadline(.seconds(60))
            let store = try await store(directory, .milliseconds(20), limit)
            let other = try await self.store(directory, .milliseconds(20))
            let failed = await failure {
                try await store.withLock("test") { () async throws(StorageError) in
                    limit.expired("renameat2", directory.path)
                    throw StorageError(.timedOut, "test", at: "")
                }
            }
            #expect(failed?.code == .timedOut)
            for store in [store, other] {
                #expect(await failure { try await store.withLock("test") {} }?.code == .busy)
            }
            limit.returned()
            while await failure({ try await other.withLock("test") {} }) != nil {}
            try await self.store(directory, .seconds(60)).withLock("test") {}
        }
    }

    /// A directory that goes with the test.
    private final class TemporaryFolder: Sendable {
        let path = NSTemporaryDirectory() + "sluice-tgt-\(UUID().uuidString)"

        init() throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }
    }
#endif
