import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Testing

@testable import Templates

@Suite struct TemplateImportTests {
    private let directory: TemporaryDirectory
    private let scratch: TemporaryDirectory
    private let pool = TestPool()

    init() throws {
        directory = try TemporaryDirectory()
        scratch = try TemporaryDirectory()
    }

    private func template(
        _ file: String, _ format: VolumeFormat, checksum: String? = nil
    ) throws -> TemplateImport {
        TemplateImport(
            name: "debian", source: FileTemplateSource(path: directory(file)), format: format,
            checksum: try checksum.map { try Checksum($0) }, scratchDirectory: scratch.path)
    }

    /// Nothing is left of an import that failed.
    private func expectNothingLeft() {
        #expect(pool.stagedCount == 0)
        let isPublished = pool["debian"] != nil
        #expect(!isPublished)
        #expect(scratch.names.isEmpty)
    }

    private func expectRefusal(
        _ file: String, _ format: VolumeFormat, _ code: StorageError.Code, _ why: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let template = try template(file, format)
        let error = await #expect(throws: StorageError.self, sourceLocation: sourceLocation) {
            try await template.run(into: pool)
        }
        #expect(error?.code == code, sourceLocation: sourceLocation)
        #expect(
            why.isEmpty || error?.why.contains(why) == true, "\(String(describing: error))",
            sourceLocation: sourceLocation)
        expectNothingLeft()
    }

    /// Two disks of the same size.
    private static let disks: [[UInt8]] = ([0, 1] as [UInt64]).map { seed in
        var randomness = SeededGenerator(seed: seed)
        return randomness.disk(1000 * 512)
    }

    private func digest(_ file: String) throws -> String {
        "sha256:" + String(try directory.run("sha256sum", file).prefix(64))
    }

    @Test(
        "a raw or QCOW2 source, packed in any way, becomes a template with the bytes of the disk",
        arguments: [
            ("raw", "cp disk source"), ("raw", "gzip -c disk > source.gz"), ("raw", "xz -1c disk > source.xz"),
            ("raw", "zip -q source.zip disk"), ("qcow2", "qemu-img convert -O qcow2 disk source"),
            ("qcow2", "qemu-img convert -c -O qcow2 disk source"),
            ("qcow2", "qemu-img convert -O qcow2 -o compat=0.10,cluster_size=4k disk source"),
            ("qcow2", "qemu-img convert -c -O qcow2 -o compression_type=zstd disk i; bzip2 -c i > source.bz2; rm i"),
            ("qcow2", "qemu-img convert -O qcow2 disk i; qemu-img snapshot -c s i; zstd -q i -o source.zst; rm i"),
        ])
    func imports(format: String, command: String) async throws {
        let disk = Self.disks[0]
        try directory.write(disk, to: "disk")
        try directory.run("sh", "-ec", command)
        let file = try #require(directory.names.first { $0.hasPrefix("source") })
        let format = try #require(VolumeFormat(rawValue: format))
        let reports = Locked<[ImportProgress]>([])
        var template = try template(file, format, checksum: digest(file))
        template.verifies = true
        template.progress = { report in reports.withLock { $0.append(report) } }
        let result = try await template.run(into: pool)
        let isSame = pool["debian"] == disk
        #expect(isSame)
        #expect(!result.wasThere)
        #expect(result.template.isTemplate)
        #expect(result.record.virtualSize == UInt64(disk.count))
        #expect(result.record.sourceSize == UInt64(try directory.read(file).count))
        #expect(pool.stagedCount == 0)
        #expect(scratch.names.isEmpty)
        #expect(reports.withLock { $0.map(\.phase) }.contains(.copying))
        #expect(reports.withLock { $0.last?.bytesDone } == UInt64(disk.count))
    }

    @Test("a wrong checksum is refused, packed or not", arguments: ["disk", "disk.gz"])
    func refusesWrongChecksum(file: String) async throws {
        try directory.write(Self.disks[0], to: "disk")
        try directory.run("gzip", "-k", "disk")
        let template = try template(file, .raw, checksum: "md5:00000000000000000000000000000000")
        let error = await #expect(throws: StorageError.self) { try await template.run(into: pool) }
        #expect(error?.code == .checksumMismatch)
        expectNothingLeft()
    }

    @Test(
        "a raw disk that looks like an image is refused, whatever it looks like",
        arguments: ["qcow", "qcow2", "qed", "vmdk", "vdi", "vpc", "vhdx", "parallels"])
    func refusesRawThatIsNot(format: String) async throws {
        try directory.run("qemu-img", "create", "-q", "-f", format, "disk", "1M")
        try await expectRefusal("disk", .raw, .unsafeImage, "looks like")
        try directory.run("gzip", "disk")
        try await expectRefusal("disk.gz", .raw, .unsafeImage, "looks like")
    }

    @Test("what is declared QCOW2 and is something else is refused", arguments: ["raw", "qcow", "qed", "vmdk", "vdi"])
    func refusesQCOW2ThatIsNot(format: String) async throws {
        try directory.run("qemu-img", "create", "-q", "-f", format, "disk", "1M")
        try await expectRefusal("disk", .qcow2, .unsafeImage, "declared qcow2")
    }

    @Test(
        "a QCOW2 image that points elsewhere, is encrypted or damaged is refused",
        arguments: [
            ("qemu-img create -q -f raw base 1M; qemu-img create -q -f qcow2 -b base -F raw disk", "back"),
            ("qemu-img create -q -f qcow2 -b /etc/passwd -F raw -u disk 1M", "back"),
            ("qemu-img create -q -f qcow2 -o data_file=outside disk 1M", "data"),
            (
                "qemu-img create -q -f qcow2 disk 1M; printf '\\001' | dd of=disk bs=1 seek=35 conv=notrunc status=none",
                "encrypt"
            ),
            (
                "qemu-img create -q -f qcow2 disk 1M; printf '\\002' | dd of=disk bs=1 seek=35 conv=notrunc status=none",
                "encrypt"
            ),
            (
                "qemu-img create -q -f qcow2 disk 1M; printf '\\377' | dd of=disk bs=1 seek=72 conv=notrunc status=none",
                ""
            ),
            ("qemu-img create -q -f qcow2 disk 1M; truncate -s 100 disk", ""),
            (
                "qemu-img create -q -f qcow2 disk 1M; printf '\\077' | dd of=disk bs=1 seek=23 conv=notrunc status=none",
                ""
            ),
        ])
    func refusesUnsafeImages(command: String, why: String) async throws {
        try directory.run("sh", "-ec", command)
        try await expectRefusal("disk", .qcow2, .unsafeImage, why)
    }

    @Test("a source that is missing, a directory, a FIFO or empty is refused without waiting")
    func refusesOddSources() async throws {
        try await expectRefusal("missing", .raw, .notFound)
        try directory.run("mkdir", "folder")
        try await expectRefusal("folder", .raw, .invalidArgument)
        try directory.run("mkfifo", "fifo")
        try await expectRefusal("fifo", .raw, .invalidArgument)
        try directory.write([], to: "empty")
        try await expectRefusal("empty", .raw, .unsafeImage)
        try directory.write([UInt8](repeating: 1, count: 513), to: "odd")
        try await expectRefusal("odd", .raw, .unsafeImage, "512")
    }

    @Test("a disk larger than the limit is refused")
    func refusesLargeDisks() async throws {
        try directory.run("qemu-img", "create", "-q", "-f", "qcow2", "disk", "1T")
        var template = try template("disk", .qcow2)
        template.limits.largestSize = (1 << 40) - 1
        let tooSmall = template
        let error = await #expect(throws: StorageError.self) { try await tooSmall.run(into: pool) }
        #expect(error?.code == .unsafeImage)
        expectNothingLeft()
    }

    @Test("importing again changes nothing: at once with the recorded checksum, else after a comparison")
    func isIdempotent() async throws {
        try directory.write(Self.disks[0], to: "disk")
        let first = try await template("disk", .raw, checksum: digest("disk")).run(into: pool)
        let plain = try await template("disk", .raw).run(into: pool)
        #expect(plain.wasThere)
        #expect(plain.template == first.template)
        #expect(pool.state.withLock { $0.opens } == 1)
        var again = try template("missing", .raw, checksum: digest("disk"))
        again.recorded = first.record
        let second = try await again.run(into: pool)
        #expect(second.wasThere && second.record == first.record)
        #expect(pool.state.withLock { $0.opens } == 1)
        #expect(pool.state.withLock { $0.stagings } == 1)
    }

    @Test("another template, or a volume, of that name is not replaced")
    func refusesOtherContents() async throws {
        var disk = Self.disks[0]
        try directory.write(disk, to: "disk")
        _ = try await template("disk", .raw).run(into: pool)
        let original = pool["debian"]
        disk[disk.count - 1] ^= 1
        try directory.write(disk, to: "changed")
        try directory.write(disk + [UInt8](repeating: 0, count: 512), to: "longer")
        for file in ["changed", "longer"] {
            let template = try template(file, .raw)
            let error = await #expect(throws: StorageError.self) { try await template.run(into: pool) }
            #expect(error?.code == .alreadyExists)
        }
        let isSame = pool["debian"] == original
        #expect(isSame)
        #expect(pool.stagedCount == 0)
        pool.state.withLock {
            $0.templates = [:]; $0.volumes = ["debian"]
        }
        try await expectRefusal("disk", .raw, .alreadyExists, "volume")
    }

    @Test("when another import publishes first, the same contents succeed and others do not", arguments: [true, false])
    func losesRace(isSame: Bool) async throws {
        let disk = Self.disks[0]
        try directory.write(disk, to: "disk")
        let other = MemoryVolume(isSame ? disk : Self.disks[1])
        pool.state.withLock { state in
            state.beforePublish = { [pool] in pool.state.withLock { $0.templates["debian"] = other } }
        }
        let template = try template("disk", .raw)
        do {
            let result = try await template.run(into: pool)
            #expect(isSame && result.wasThere)
        } catch {
            #expect(!isSame && error.code == .alreadyExists)
        }
        #expect(pool.stagedCount == 0)
    }

    @Test("a failed write in the pool leaves nothing", arguments: ["disk", "disk.xz"])
    func cleansUpAfterFailure(file: String) async throws {
        try directory.write(Self.disks[0], to: "disk")
        try directory.run("xz", "-k1", "disk")
        pool.state.withLock { $0.writeFailure = StorageError(.noSpace, "write") }
        try await expectRefusal(file, .raw, .noSpace)
    }

    @Test("a source that changes while it is imported is refused")
    func noticesChanges() async throws {
        try directory.write(Self.disks[0], to: "disk")
        var template = try template("disk", .raw)
        let path = directory("disk").string
        template.progress = { progress in
            guard progress.phase == .copying, let file = FileHandle(forWritingAtPath: path) else { return }
            try? file.seek(toOffset: 5)
            try? file.write(contentsOf: Data([1, 2, 3]))
            try? file.close()
        }
        let changed = template
        let error = await #expect(throws: StorageError.self) { try await changed.run(into: pool) }
        #expect(error?.code == .conflict)
        #expect(error?.isRetryable == true)
        expectNothingLeft()
    }

    @Test("a cancelled import leaves nothing", arguments: [ImportProgress.Phase.reading, .unpacking, .copying])
    func cancels(phase: ImportProgress.Phase) async throws {
        try directory.write(Self.disks[0], to: "disk")
        try directory.run("truncate", "-s", "300M", "disk")
        try directory.run("gzip", "-k1", "disk")
        let file = phase == .unpacking ? "disk.gz" : "disk"
        var template = try template(file, .raw, checksum: phase == .copying ? nil : digest(file))
        // Both are called in the task that imports.
        let cancel: @Sendable () -> Void = { unsafe withUnsafeCurrentTask { unsafe $0?.cancel() } }
        template.progress = { if $0.phase == phase { cancel() } }
        if phase == .copying { pool.state.withLock { $0.onStage = cancel } }
        let running = template
        let task = Task { [pool] in try await running.run(into: pool) }
        let error = await #expect(throws: StorageError.self) { _ = try await task.value }
        #expect(error?.code == .cancelled)
        expectNothingLeft()
    }

    @Test("names that cannot be are refused before anything is opened")
    func refusesNames() async throws {
        for name in ["", "../x", "a/b", ".hidden"] {
            var template = try template("missing", .raw)
            template.name = name
            let bad = template
            let error = await #expect(throws: StorageError.self) { try await bad.run(into: pool) }
            #expect(error?.code == .invalidArgument)
        }
    }
}

extension TemplateImportTests {
    @Test("an image with random damage is refused, or imported whole; nothing is left either way", arguments: 0..<40)
    func survivesDamage(seed: UInt64) async throws {
        var randomness = SeededGenerator(seed: seed)
        try directory.write(Array(Self.disks[0].prefix(200 * 512)), to: "disk")
        let options = [
            ["-c"], ["-o", "compat=0.10"], ["-o", "cluster_size=512"], ["-o", "extended_l2=on"],
            ["-c", "-o", "compression_type=zstd"],
        ]
        let chosen = options.randomElement(using: &randomness) ?? []
        try directory.run("sh", "-ec", "qemu-img convert -f raw -O qcow2 \(chosen.joined(separator: " ")) disk image")
        var image = try directory.read("image")
        for _ in 0..<Int.random(in: 1...4, using: &randomness) {
            // Mostly where the tables are, and half of the time in the header.
            let end = [128, 4096, min(image.count, 300_000)].randomElement(using: &randomness) ?? image.count
            let index = Int.random(in: 4..<min(end, image.count), using: &randomness)
            image[index] = [0, 0xff, image[index] ^ 1, image[index] ^ 0x80].randomElement(using: &randomness) ?? 0
        }
        if Int.random(in: 0..<5, using: &randomness) == 0 {
            image.removeLast(Int.random(in: 1..<image.count, using: &randomness))
        }
        try directory.write(image, to: "image")
        do {
            var template = try template("image", .qcow2)
            template.limits.largestSize = 1 << 30
            let result = try await template.run(into: pool)
            #expect(UInt64(pool["debian"]?.count ?? 0) == result.template.virtualSize)
        } catch let error as StorageError {
            #expect([.unsafeImage, .corrupt, .notSupported].contains(error.code), "\(error)")
            #expect(pool["debian"] == nil)
        }
        #expect(pool.stagedCount == 0)
        #expect(scratch.names.isEmpty)
    }
}
