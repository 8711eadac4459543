#if Downloads
    import BlockStorage
    import Foundation
    import IORuntime
    import SystemPackage
    import Testing

    @testable import Templates

    @Suite struct DownloadImportTests {
        private let directory: TemporaryDirectory
        private let pool = TestPool()

        init() throws { directory = try TemporaryDirectory() }

        private func template(
            _ server: TestServer, _ file: String, _ format: VolumeFormat, checksum: String? = nil,
            limits: DownloadLimits = DownloadLimits()
        ) throws -> TemplateImport {
            var options = DownloadOptions()
            options.limits = limits
            // A directory that is not there: nothing may be written but the template.
            return TemplateImport(
                name: "debian", source: try DownloadSource(url: server.url(file), options), format: format,
                checksum: try checksum.map { try Checksum($0) }, scratchDirectory: "/nonexistent")
        }

        private func disk(_ byteCount: Int, seed: UInt64) -> [UInt8] {
            var randomness = SeededGenerator(seed: seed)
            return randomness.disk(byteCount)
        }

        @Test(
            "a raw disk, packed or not, and an image go straight into the pool", arguments: ["raw", "raw.xz", "qcow2"])
        func imports(kind: String) async throws {
            let disk = disk(11 << 20, seed: 1)
            try directory.write(disk, to: "disk.raw")
            try directory.run("xz", "-1k", "disk.raw")
            try directory.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2")
            let server = try await TestServer(try directory.read("disk.\(kind)"))
            let sum = "sha256:" + String(try directory.run("sha256sum", "disk.\(kind)").prefix(64))
            var template = try template(server, "disk.\(kind)", kind == "qcow2" ? .qcow2 : .raw, checksum: sum)
            template.verifies = true
            let result = try await template.run(into: pool)
            let isSame = pool["debian"] == disk
            #expect(isSame)
            #expect(result.record.checksum?.description == sum && result.record.version?.entityTag == "\"1\"")
            #expect(pool.stagedCount == 0)
            // Each byte was sent once, but for the one that was asked for to learn the size.
            let size = server.state.withLock { $0.bytes.count }
            #expect(server.state.withLock { $0.sent } <= size + 1)
            try await server.close()
        }

        @Test("again with the same version takes one request; a changed source is compared, and the change said")
        func importsAgain() async throws {
            var disk = disk(3 << 20, seed: 2)
            let server = try await TestServer(disk)
            let first = try await template(server, "disk", .raw).run(into: pool)
            var again = try template(server, "disk", .raw)
            again.recorded = first.record
            let count = server.state.withLock { $0.requests.count }
            #expect(try await again.run(into: pool).wasThere)
            #expect(server.state.withLock { $0.requests.count } == count + 1)
            server.state.withLock { $0.entityTag = "\"2\"" }
            var touched = try template(server, "disk", .raw)
            touched.recorded = first.record
            let compared = try await touched.run(into: pool)
            #expect(compared.wasThere && compared.report?.changes == ["its ETag was \"1\", and is \"2\""])
            disk[5] ^= 1
            server.state.withLock { [disk] in $0.bytes = disk }
            var changed = try template(server, "disk", .raw)
            changed.recorded = first.record
            let other = changed
            let error = await #expect(throws: StorageError.self) { try await other.run(into: pool) }
            #expect(error?.code == .alreadyExists && error?.why.contains("ETag was") == true)
            try await server.close()
        }

        @Test("when another import publishes first, the source is read again and compared", arguments: [true, false])
        func losesRace(isSame: Bool) async throws {
            let disk = disk(3 << 20, seed: 3)
            let server = try await TestServer(disk)
            let other = MemoryVolume(isSame ? disk : self.disk(3 << 20, seed: 4))
            pool.state.withLock { state in
                state.beforePublish = { [pool] in pool.state.withLock { $0.templates["debian"] = other } }
            }
            let template = try template(server, "disk", .raw)
            do {
                let result = try await template.run(into: pool)
                #expect(isSame && result.wasThere)
            } catch {
                #expect(!isSame && error.code == .alreadyExists)
            }
            #expect(pool.stagedCount == 0)
            try await server.close()
        }

        @Test(
            "a cancelled import ends at once, whatever the server does, and leaves nothing",
            arguments: [VolumeFormat.raw, .qcow2])
        func cancels(format: VolumeFormat) async throws {
            let server = try await TestServer(disk(9 << 20, seed: 5), .stuck)
            let template = try template(server, "disk", format, checksum: "md5:00000000000000000000000000000000")
            let task = Task { [pool] in try await template.run(into: pool) }
            while server.state.withLock({ $0.requests.count }) < 2 { await Task.yield() }
            let start = ContinuousClock.now
            task.cancel()
            let error = await #expect(throws: StorageError.self) { _ = try await task.value }
            #expect(error?.code == .cancelled)
            // Far below the thirty seconds after which a silent server is left.
            #expect(ContinuousClock.now - start < .seconds(20))
            #expect(pool.stagedCount == 0)
            try await server.close()
        }

        @Test("a server that is faster than the pool waits: what is taken from it does not grow meanwhile")
        func pushesBack() async throws {
            let server = try await TestServer(disk(1 << 20, seed: 6), .endless)
            let gate = DispatchSemaphore(value: 0)
            // Holds up the thread that stages the template, and nothing else.
            pool.state.withLock { $0.onStage = { gate.wait() } }
            let template = try template(server, "disk", .raw, checksum: "md5:00000000000000000000000000000000")
            let task = Task { [pool] in try await template.run(into: pool) }
            // The answer is read until the queues are full, and no further.
            var last = 0
            var unchanged = 0
            while unchanged < 20 {
                try await Task.sleep(for: .milliseconds(20))
                let sent = server.state.withLock { $0.sent }
                unchanged = sent == last && sent > 0 ? unchanged + 1 : 0
                last = sent
            }
            #expect(last < 64 << 20)
            task.cancel()
            gate.signal()
            let error = await #expect(throws: StorageError.self) { _ = try await task.value }
            #expect(error?.code == .cancelled)
            #expect(pool.stagedCount == 0)
            try await server.close()
        }

        @Test("an image whose checksum is right and that must not become a template is refused, and not for its bytes")
        func refusesUnsafeImages() async throws {
            try directory.run(
                "qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", "disk", "1M")
            let server = try await TestServer(try directory.read("disk"))
            let sum = "sha256:" + String(try directory.run("sha256sum", "disk").prefix(64))
            let template = try template(server, "disk", .qcow2, checksum: sum)
            let error = await #expect(throws: StorageError.self) { try await template.run(into: pool) }
            #expect(error?.code == .unsafeImage)
            #expect(pool.state.withLock { $0.stagings } == 0)
            try await server.close()
        }
    }
#endif
