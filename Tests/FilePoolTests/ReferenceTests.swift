import BlockStorage
import FilePool
import Foundation
import IORuntime
import Testing

/// Whatever made them, images that read through another keep it from being changed.
@Suite struct ReferenceTests {
    @Test(
        "a clone made by qemu-img counts, however it names its backing file",
        arguments: ["base", "./base", ".//base", "%/base", "%/../%%/base", "alias", "file:base", "%/alias"])
    func foreignClone(backing: String) async throws {
        try await withPool { pool in
            try await pool.create("base")
            let root = pool.path(of: "x").dropLast(2)
            let name = backing.replacing("%%", with: root.split(separator: "/").last ?? "").replacing("%", with: root)
            try FileManager.default.createSymbolicLink(atPath: "\(root)/alias", withDestinationPath: "base")
            try Tool.succeed(
                "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", "qcow2", "\(root)/their clone", "1M")
            for attempt in [
                { try await pool.deleteVolume("base", policy: .refuse) },
                { try await pool.renameVolume("base", to: "other") },
                { try await pool.resizeVolume("base", to: 2 << 20, allowShrink: false) },
                { _ = try await pool.openVolume(VolumeReference("base"), mode: .exclusive) },
            ] as [() async throws -> Void] {
                do {
                    try await attempt()
                    Issue.record("a volume with a clone was changed")
                } catch let error as StorageError {
                    #expect(error.code == .busy)
                    #expect(error.why.contains("their clone"), "\(error)")
                }
            }
            #expect(try await pool.firstByte(of: "base") == 0x11)
            try FileManager.default.removeItem(atPath: "\(root)/their clone")
            try await pool.deleteVolume("base", policy: .refuse)
            #expect(try await pool.leftovers.isEmpty)
        }
    }

    @Test("options in JSON count when they contain the name")
    func optionsInJSON() async throws {
        try await withPool { pool in
            try await pool.create("base")
            let path = pool.path(of: "base")
            let json = #"json:{"driver":"qcow2","file":{"driver":"file","filename":"\#(path)"}}"#
            try Tool.succeed("qemu-img", "create", "-q", "-f", "qcow2", "-b", json, "-F", "qcow2", "\(path)-clone")
            #expect(await code { try await pool.deleteVolume("base", policy: .refuse) } == .busy)
        }
    }

    @Test("a clone that is rebased elsewhere does not count any more")
    func rebased() async throws {
        try await withPool { pool in
            try await pool.create("base")
            _ = try await pool.cloneVolume(VolumeReference("base"), as: "clone", CloneRequest())
            #expect(await code { try await pool.deleteVolume("base", policy: .refuse) } == .busy)
            try Tool.succeed("qemu-img", "rebase", "-f", "qcow2", "-b", "", pool.path(of: "clone"))
            try await pool.deleteVolume("base", policy: .refuse)
            #expect(try await pool.describeVolume("clone").template == nil)
            #expect(try await pool.firstByte(of: "clone") == 0x11)
        }
    }

    @Test("what a guest writes into a raw volume is no reference")
    func rawVolume() async throws {
        try await withPool { pool in
            try await pool.create("base")
            _ = try await pool.createVolume("guest", CreateRequest(size: 1 << 20, format: .raw))
            let image = pool.path(of: "guest") + ".tmp"
            try Tool.succeed(
                "qemu-img", "create", "-q", "-f", "qcow2", "-b", pool.path(of: "base"), "-F", "qcow2", image)
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: image)))
            try FileManager.default.removeItem(atPath: image)
            let guest = try await pool.openVolume(VolumeReference("guest"), mode: .exclusive)
            try await guest.write(bytes.rawBytes, at: 0)
            try await guest.close()
            #expect(try await pool.firstByte(of: "guest") == UInt8(ascii: "Q"))
            #expect(try await pool.describeVolume("guest").template == nil)
            try await pool.deleteVolume("base", policy: .refuse)
        }
    }

    @Test("an external data file is not deleted from under its image")
    func dataFile() async throws {
        try await withPool { pool in
            let path = pool.path(of: "image")
            try Tool.succeed(
                "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=\(pool.path(of: "data"))", path, "1M")
            try Tool.succeed("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", path)
            #expect(await code { _ = try await pool.adoptVolume("image", format: .qcow2) } == .unsafeImage)
            _ = try await pool.adoptVolume("data", format: .raw)
            _ = try await pool.adoptVolume("image", format: .qcow2)
            #expect(try await pool.firstByte(of: "image") == 7)
            #expect(await code { try await pool.deleteVolume("data", policy: .refuse) } == .busy)
            try await pool.deleteVolume("image", policy: .refuse)
            try await pool.deleteVolume("data", policy: .refuse)
        }
    }
}
