import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import QCOW2

@Suite("Images go both ways between QEMU and Sluice")
struct QCOW2QEMUMatrixTests {
    /// One cell of the matrix.
    struct Format: CustomTestStringConvertible, Sendable {
        var version: UInt32
        var clusterSize: UInt64
        var refcountBits = 16
        var hasExtendedL2 = false
        var compression = QCOW2CompressionType.zlib
        var hasBacking = false

        var hasSnapshots: Bool { refcountBits > 1 }
        /// In bytes; not a multiple of a cluster.
        var size: UInt64 { max(1 << 20, clusterSize * 5) + 37 * 512 }

        var testDescription: String {
            "v\(version), cluster \(clusterSize), refcount \(refcountBits), \(compression)"
                + (hasExtendedL2 ? ", extended L2" : "") + (hasBacking ? ", backing" : "")
        }

        /// For `qemu-img create -o`.
        var options: String {
            var options = "compat=\(version == 2 ? "0.10" : "1.1"),cluster_size=\(clusterSize)"
            if version == 3 { options += ",refcount_bits=\(refcountBits)" }
            if hasExtendedL2 { options += ",extended_l2=on" }
            if compression == .zstd { options += ",compression_type=zstd" }
            return options
        }

        var createOptions: QCOW2CreateOptions {
            var options = QCOW2CreateOptions(size: size)
            options.version = version
            options.clusterSize = clusterSize
            options.refcountBits = refcountBits
            options.hasExtendedL2 = hasExtendedL2
            options.compressionType = compression
            if hasBacking { (options.backingFile, options.backingFormat) = ("backing.raw", "raw") }
            return options
        }
    }

    static let formats: [Format] = {
        var formats: [Format] = []
        for clusterBits in 9...21 { formats.append(Format(version: 2, clusterSize: 1 << clusterBits)) }
        for clusterBits in 9...21 {
            formats.append(Format(version: 3, clusterSize: 1 << clusterBits, compression: .zstd))
        }
        for refcountBits in [1, 2, 4, 8, 32, 64] {
            for clusterSize: UInt64 in [512, 4096, 65536] {
                formats.append(Format(version: 3, clusterSize: clusterSize, refcountBits: refcountBits))
            }
        }
        for clusterBits in 14...21 {
            formats.append(
                Format(version: 3, clusterSize: 1 << clusterBits, refcountBits: 8, hasExtendedL2: true))
        }
        return formats.enumerated().map { index, format in
            var format = format
            format.hasBacking = index % 2 == 1
            return format
        }
    }()

    /// The files of one test.
    private struct Files {
        let directory: ScratchDirectory
        let backing: [UInt8]?
        var image: String { directory.file("image.qcow2") }

        init(_ format: Format, _ generator: inout SeededGenerator) throws {
            directory = try ScratchDirectory()
            // Shorter than the disk.
            backing = format.hasBacking ? Self.text(Int(format.size) * 3 / 4 / 512 * 512, &generator) : nil
            if let backing { try directory.write(backing, to: "backing.raw") }
        }

        /// Bytes that compress, with a seed of their own.
        static func text(_ count: Int, _ generator: inout SeededGenerator) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            var word = generator.next()
            for index in 0..<count {
                if index % 64 == 0 { word = generator.next() }
                bytes[index] = UInt8(truncatingIfNeeded: word >> UInt64(index % 3 * 8)) | 1
            }
            return bytes
        }

        /// What QEMU reads, of the disk or of a snapshot.
        func readByQEMU(snapshot: String? = nil) async throws -> [UInt8] {
            let selection = snapshot.map { ["-l", "snapshot.name=\($0)"] } ?? []
            try await QEMU.run(
                "qemu-img", ["convert", "-f", "qcow2", "-O", "raw"] + selection + [image, directory.file("out.raw")])
            return try directory.contents("out.raw")
        }

        /// The image in memory, opened by Sluice.
        func open(snapshot: String? = nil) async throws -> (base: MemoryVolume, volume: QCOW2Volume) {
            let base = MemoryVolume(try directory.contents("image.qcow2"))
            var options = QCOW2OpenOptions()
            options.backing = backing.map { MemoryVolume($0, isReadOnly: true) }
            options.snapshot = snapshot
            return (base, try await QCOW2Volume.open(base, options))
        }

        func isReadIdentically(snapshot: String? = nil) async throws -> Bool {
            let (_, volume) = try await open(snapshot: snapshot)
            return try await volume.readAll() == readByQEMU(snapshot: snapshot)
        }
    }

    @Test("what qemu-img and qemu-io write, Sluice reads identically", arguments: formats)
    func written(byQEMU format: Format) async throws {
        var generator = SeededGenerator(seed: format.clusterSize + UInt64(format.refcountBits))
        let files = try Files(format, &generator)
        try await writeByQEMU(format, files, &generator)
        #expect(try await files.isReadIdentically())
        if format.hasSnapshots { #expect(try await files.isReadIdentically(snapshot: "first")) }
    }

    /// Compressed clusters below, then plain ones, zeros and discarded ones, a snapshot, and more of the same.
    private func writeByQEMU(_ format: Format, _ files: Files, _ generator: inout SeededGenerator) async throws {
        let backing = files.backing == nil ? [] : ["-b", files.directory.file("backing.raw"), "-F", "raw"]
        try await QEMU.run(
            "qemu-img",
            ["create", "-f", "qcow2", "-o", format.options] + backing + [files.image, "\(format.size)"])
        func commands(_ count: Int) -> [String] {
            (0..<count).map { index in
                let offset = generator.next() % (format.size / 512) * 512
                let length = min(format.size - offset, (1 + generator.next() % 300) * 512)
                return switch index % 5 {
                case 0: "write -z \(offset) \(length)"
                case 1: "write -z -u \(offset) \(length)"
                case 2 where format.version == 3: "discard \(offset) \(length)"
                default: "write -P \(1 + generator.next() % 255) \(offset) \(length)"
                }
            }
        }
        // QEMU does not compress over an allocated cluster, nor take a snapshot where a refcount has no room left for
        // the host clusters that compressed ones share.
        let clusters = (0..<format.size / format.clusterSize).shuffled(using: &generator)
        let compressed = clusters.prefix(format.hasSnapshots && format.refcountBits < 8 ? 0 : 6).map { cluster in
            "write -c -P \(1 + generator.next() % 255) \(cluster * format.clusterSize) \(format.clusterSize)"
        }
        try await QEMU.io(files.image, compressed + commands(10))
        if format.hasSnapshots {
            try await QEMU.img("snapshot", "-c", "first", files.image)
            try await QEMU.io(files.image, commands(10))
        }
    }

    @Test("what Sluice writes passes qemu-img check without a leak, and QEMU reads the same", arguments: formats)
    func written(bySluice format: Format) async throws {
        var generator = SeededGenerator(seed: format.clusterSize + UInt64(format.refcountBits) + 1)
        let files = try Files(format, &generator)
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, format.createOptions)
        try files.directory.write(base.contents, to: "image.qcow2")
        try await changeBySluice(format, files, &generator)
    }

    @Test("what Sluice changes in QEMU's images is clean, and QEMU reads the same", arguments: formats)
    func changed(bySluice format: Format) async throws {
        var generator = SeededGenerator(seed: format.clusterSize + UInt64(format.refcountBits) + 2)
        let files = try Files(format, &generator)
        try await writeByQEMU(format, files, &generator)
        try await changeBySluice(format, files, &generator)
        if format.hasSnapshots { #expect(try await files.isReadIdentically(snapshot: "first")) }
    }

    private func changeBySluice(_ format: Format, _ files: Files, _ generator: inout SeededGenerator) async throws {
        let (base, volume) = try await files.open()
        var snapshot: [UInt8] = []
        for step in 0..<24 {
            let offset = generator.next() % format.size
            let length = min(format.size - offset, 1 + generator.next() % 150_000)
            switch step % 6 {
            case 3: try await volume.discard(offset..<offset + length)
            case 4: try await volume.writeZeroes(offset..<offset + length)
            default: try await volume.write(Files.text(Int(length), &generator).rawBytes, at: offset)
            }
            if step == 12, format.hasSnapshots {
                snapshot = try await volume.readAll()
                _ = try await volume.createSnapshot("second")
            }
        }
        let expected = try await volume.readAll()
        // Closing closes the base too: its contents stay.
        try await volume.close()
        try files.directory.write(base.contents, to: "image.qcow2")
        try files.directory.write(expected, to: "expected.raw")

        #expect(try await QEMU.check(files.image) == QEMU.Check(status: 0))
        try await QEMU.img(
            "compare", "-f", "qcow2", "-F", "raw", files.image, files.directory.file("expected.raw"))
        if format.hasSnapshots {
            let isSame = try await files.readByQEMU(snapshot: "second") == snapshot
            #expect(isSame)
        }
    }

    @Test("compressed images of Sluice are clean, small, and the same for QEMU", arguments: formats)
    func compressed(_ format: Format) async throws {
        var format = format
        format.hasBacking = false
        var generator = SeededGenerator(seed: format.clusterSize + 3)
        let files = try Files(format, &generator)
        var disk = [UInt8](repeating: 0, count: Int(format.size))
        let start = disk.count / 3
        disk.replaceSubrange(start..<disk.count - 1000, with: Files.text(disk.count - 1000 - start, &generator))
        // Some that does not compress.
        for index in disk.count / 2..<disk.count / 2 + disk.count / 10 {
            disk[index] = UInt8(truncatingIfNeeded: generator.next())
        }
        let base = MemoryVolume(size: 0)
        try await QCOW2CompressedWriter.write(MemoryVolume(disk), on: base, format.createOptions)
        let image = base.contents
        try files.directory.write(image, to: "image.qcow2")
        try files.directory.write(disk, to: "expected.raw")
        #expect(try await QEMU.check(files.image) == QEMU.Check(status: 0))
        try await QEMU.img(
            "compare", "-f", "qcow2", "-F", "raw", files.image, files.directory.file("expected.raw"))
        let (_, volume) = try await files.open()
        let isSame = try await volume.readAll() == disk
        #expect(isSame)
        let findings = try await QCOW2Inspector.inspect(MemoryVolume(image))
        #expect(findings.compressedClusterCount > 0)
        if format.clusterSize >= 4096 { #expect(image.count < disk.count * 2 / 3 + 12 * Int(format.clusterSize)) }
    }
}

extension Volume {
    /// Everything on a small volume.
    fileprivate func readAll() async throws(StorageError) -> [UInt8] {
        try await readBytes(at: 0, count: Int(geometry.size))
    }
}
