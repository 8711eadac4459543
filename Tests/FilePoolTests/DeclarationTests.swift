import BlockStorage
import Foundation
import Testing

@testable import FilePool

@Suite struct DeclarationTests {
    @Test("declarations read back as they were written, and nothing else is one")
    func coding() {
        for kind in [Declaration.Kind.volume, .template] {
            for format in VolumeFormat.allCases {
                for provisioning in ProvisioningType.allCases {
                    let declaration = Declaration(kind, format, provisioning)
                    #expect(Declaration(declaration.text) == declaration)
                }
            }
        }
        for text in ["", "volume", "volume:qcow2", "volume:qcow2:thin:x", "volume:vmdk:thin", ":::", "disk:raw:thin"] {
            #expect(Declaration(text) == nil)
        }
    }

    @Test("a file of another tool is listed without a format and not opened until it is adopted")
    func adopt() async throws {
        try await withPool { pool in
            let path = pool.path(of: "theirs.qcow2")
            try Tool.succeed("qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
            try Tool.succeed("qemu-io", "-f", "qcow2", "-c", "write -P 5 0 64k", path)
            let listed = try #require(try await pool.listVolumes().first)
            #expect(listed.name == "theirs.qcow2" && !listed.isManaged && listed.format == nil)
            let reference = VolumeReference("theirs.qcow2")
            for mode in [OpenMode.readOnly, .exclusive] {
                #expect(await code { _ = try await pool.openVolume(reference, mode: mode) } == .invalidArgument)
            }
            #expect(await code { try await pool.deleteVolume("theirs.qcow2", policy: .refuse) } == .invalidArgument)
            #expect(
                await code { _ = try await pool.createVolume("theirs.qcow2", CreateRequest(size: 64 << 20)) }
                    == .alreadyExists)
            let adopted = try await pool.adoptVolume("theirs.qcow2", format: .qcow2)
            #expect(adopted.isManaged && adopted.format == .qcow2 && adopted.virtualSize == 64 << 20)
            #expect(adopted.path == path)
            #expect(try await pool.firstByte(of: "theirs.qcow2") == 5)
            #expect(await code { _ = try await pool.adoptVolume("theirs.qcow2", format: .raw) } == .alreadyExists)
            try await pool.deleteVolume("theirs.qcow2", policy: .refuse)
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test("bytes never decide: raw stays raw whatever is in it, and what is no image is not adopted as one")
    func neverProbed() async throws {
        try await withPool { pool in
            let path = pool.path(of: "theirs")
            try Tool.succeed("qemu-img", "create", "-q", "-f", "qcow2", path, "64M")
            let adopted = try await pool.adoptVolume("theirs", format: .raw)
            #expect(adopted.format == .raw && adopted.virtualSize < 64 << 20)
            #expect(try await pool.firstByte(of: "theirs") == UInt8(ascii: "Q"))
            try Data(repeating: 1, count: 1 << 20).write(to: URL(fileURLWithPath: pool.path(of: "noise")))
            #expect(await code { _ = try await pool.adoptVolume("noise", format: .qcow2) } == .corrupt)
            #expect(try await pool.describeVolume("noise").isManaged == false)
        }
    }

    @Test("a directory, a link or a device with a volume's name is no volume")
    func otherFiles() async throws {
        try await withPool { pool in
            let manager = FileManager.default
            try manager.createDirectory(atPath: pool.path(of: "directory"), withIntermediateDirectories: false)
            try manager.createSymbolicLink(atPath: pool.path(of: "link"), withDestinationPath: "/etc/passwd")
            try Tool.succeed("mkfifo", pool.path(of: "pipe"))
            #expect(try await pool.listVolumes().isEmpty)
            for name in ["directory", "link", "pipe"] {
                #expect(await code { _ = try await pool.describeVolume(name) } == .notFound)
                #expect(await code { _ = try await pool.adoptVolume(name, format: .raw) } == .notFound)
                #expect(
                    await code { _ = try await pool.createVolume(name, CreateRequest(size: 1 << 20)) } == .alreadyExists
                )
                try await pool.deleteVolume(name, policy: .refuse)
            }
            #expect(try manager.contentsOfDirectory(atPath: pool.path(of: "")).count == 4)
        }
    }
}
