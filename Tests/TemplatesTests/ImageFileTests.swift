import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Testing

@testable import Templates

@Suite struct ImageFileTests {
    private let directory: TemporaryDirectory
    private let disk = Self.disk
    private static let disk: [UInt8] = {
        var randomness = SeededGenerator(seed: 11)
        return randomness.bytes(392 * 512) + [UInt8](repeating: 65, count: 3000 * 512)
    }()

    init() throws {
        directory = try TemporaryDirectory()
        try directory.write(disk, to: "disk")
    }

    @Test(
        "every kind of image is read",
        arguments: [
            (ImageFile.Format.raw, "cp disk image"), (.qcow2, "qemu-img convert -c -O qcow2 disk image"),
            (.qcow, "qemu-img convert -O qcow disk image"),
        ])
    func opens(format: ImageFile.Format, command: String) async throws {
        try directory.run("sh", "-ec", command)
        let volume = try await ImageFile.open(directory("image"), format)
        #expect(volume.geometry.isReadOnly)
        let isSame = try await volume.contents == disk
        #expect(isSame)
        try await volume.close()
    }

    @Test("an image that is written by another program is refused, and none writes it while it is read")
    func respectsLocks() async throws {
        let writer = try await File.open(directory("disk"), [.write])
        #expect(try await ImageLock.acquire(.writing, on: writer))
        let refusals = [
            await #expect(throws: StorageError.self) { try await FileTemplateSource(path: directory("disk")).open() },
            await #expect(throws: StorageError.self) { try await ImageFile.open(directory("disk"), .raw) },
        ]
        #expect(refusals.allSatisfy { $0?.code == .busy })
        try await writer.close()

        let volume = try await ImageFile.open(directory("disk"), .raw)
        let write = "qemu-io -f raw -c 'write 0 512' disk"
        try directory.run("sh", "-c", "! \(write)")
        try await volume.close()
        try directory.run("sh", "-c", write)
    }

    @Test("an image that is not what it is declared, or that is not there, is refused")
    func refuses() async throws {
        for (format, code) in [(ImageFile.Format.qcow2, StorageError.Code.unsafeImage), (.qcow, .unsafeImage)] {
            let error = await #expect(throws: StorageError.self) {
                try await ImageFile.open(directory("disk"), format).close()
            }
            #expect(error?.code == code)
        }
        for format in ImageFile.Format.allCases {
            let error = await #expect(throws: StorageError.self) {
                try await ImageFile.open(directory("none"), format).close()
            }
            #expect(error?.code == .notFound)
        }
    }

    @Test(
        "an exported file has the bytes of the disk, and QEMU finds it clean",
        arguments: [
            (VolumeFormat.raw, nil), (.qcow2, nil), (.qcow2, .zlib), (.qcow2, .zstd),
        ] as [(VolumeFormat, ImageFile.Compression?)])
    func exports(format: VolumeFormat, compression: ImageFile.Compression?) async throws {
        let reports = Locked<[CopyProgress]>([])
        try await ImageFile.write(
            MemoryVolume(disk, isReadOnly: true), to: directory("out"), format, compression: compression,
            progress: { report in reports.withLock { $0.append(report) } })
        #expect(directory.names == ["disk", "out"])
        try directory.run("qemu-img", "compare", "-f", "raw", "-F", format.rawValue, "disk", "out")
        if format == .qcow2 { try directory.run("qemu-img", "check", "-f", "qcow2", "out") }
        #expect(reports.withLock { $0.last?.bytesDone } == UInt64(disk.count))
        let mode = try FileManager.default.attributesOfItem(atPath: directory("out").string)[.posixPermissions] as? Int
        #expect(mode == 0o600)
        if compression != nil { #expect(try directory.read("out").count < disk.count * 3 / 4) }
    }

    @Test("a file, a link or a directory of that name is never replaced")
    func refusesExisting() async throws {
        try directory.run("ln", "-s", "nowhere", "link")
        try directory.run("mkdir", "folder")
        for name in ["disk", "link", "folder"] {
            let error = await #expect(throws: StorageError.self) {
                try await ImageFile.write(MemoryVolume(size: 512), to: directory(name), .raw)
            }
            #expect(error?.code == .alreadyExists)
        }
        let isSame = try directory.read("disk") == disk
        #expect(isSame)
        #expect(directory.names == ["disk", "folder", "link"])
    }

    @Test("a failed export leaves nothing")
    func cleansUp() async throws {
        let closed = MemoryVolume(disk)
        try await closed.close()
        for format in VolumeFormat.allCases {
            await #expect(throws: StorageError.self) {
                try await ImageFile.write(closed, to: directory("out"), format)
            }
        }
        await #expect(throws: StorageError.self) {
            try await ImageFile.write(closed, to: directory("out"), .raw, compression: .zlib)
        }
        let error = await #expect(throws: StorageError.self) {
            try await ImageFile.write(closed, to: directory("none").appending("out"), .raw)
        }
        #expect(error?.code == .notFound)
        #expect(directory.names == ["disk"])
    }
}
