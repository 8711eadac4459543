import BlockStorage
import FilePool
import Foundation
import Testing

/// A backing file is a plain file of the pool in a declared format, or the image is not opened.
@Suite struct GateTests {
    @Test(
        "names that lead anywhere else are refused",
        arguments: [
            "/etc/passwd", "../outside", "%/../outside", "sub/base", "nbd:localhost:10809", "file:base",
            #"json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}"#, "http://example/disk",
            ".sluice/identity", "link", ".", "..", "%", "fat:/etc",
        ])
    func outside(backing: String) async throws {
        try await withPool { pool in
            let root = String(pool.path(of: "x").dropLast(2))
            try Data(count: 1 << 20).write(to: URL(fileURLWithPath: "\(root)/base"))
            try FileManager.default.createDirectory(atPath: "\(root)/sub", withIntermediateDirectories: false)
            try FileManager.default.createSymbolicLink(atPath: "\(root)/link", withDestinationPath: "/etc/passwd")
            try Tool.succeed(
                "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing.replacing("%", with: root),
                "\(root)/image", "1M")
            let error = await #expect(throws: StorageError.self) {
                try await pool.adoptVolume("image", format: .qcow2)
            }
            #expect(error?.code == .unsafeImage, "\(String(describing: error))")
            #expect(try await pool.describeVolume("image").isManaged == false)
        }
    }

    @Test("a backing file needs a format, from the image or the pool, and they may not differ")
    func formats() async throws {
        try await withPool { pool in
            try await pool.create("base")
            let root = String(pool.path(of: "x").dropLast(2))
            try createWithoutBackingFormat("base", "\(root)/a")
            _ = try await pool.adoptVolume("a", format: .qcow2)
            #expect(try await pool.firstByte(of: "a") == 0x11)
            try Tool.succeed(
                "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "base", "\(root)/b", "1M")
            #expect(await code { _ = try await pool.adoptVolume("b", format: .qcow2) } == .unsafeImage)
            try Tool.succeed(
                "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "vmdk", "-b", "base", "\(root)/c", "1M")
            #expect(await code { _ = try await pool.adoptVolume("c", format: .qcow2) } == .unsafeImage)
            try Tool.succeed("qemu-img", "create", "-q", "-u", "-f", "qcow2", "\(root)/undeclared", "1M")
            try createWithoutBackingFormat("undeclared", "\(root)/d")
            #expect(await code { _ = try await pool.adoptVolume("d", format: .qcow2) } == .unsafeImage)
        }
    }

    @Test("a loop and an endless chain are refused")
    func chains() async throws {
        try await withPool { pool in
            let root = String(pool.path(of: "x").dropLast(2))
            for (name, backing) in [("self", "self"), ("a", "b"), ("b", "c"), ("c", "a")] {
                try Tool.succeed(
                    "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing, "\(root)/\(name)",
                    "1M")
            }
            for name in ["self", "a"] {
                let error = await #expect(throws: StorageError.self) {
                    try await pool.adoptVolume(name, format: .qcow2)
                }
                #expect(error?.why.contains("leads back") == true, "\(String(describing: error))")
            }
            for index in 0..<40 {
                try Tool.succeed(
                    "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "chain\(index + 1)",
                    "\(root)/chain\(index)", "1M")
            }
            let error = await #expect(throws: StorageError.self) {
                try await pool.adoptVolume("chain0", format: .qcow2)
            }
            #expect(error?.why.contains("longer than") == true, "\(String(describing: error))")
            #expect(await code { _ = try await pool.adoptVolume("chain38", format: .qcow2) } == .notFound)
        }
    }

    @Test("a missing backing file is named")
    func missing() async throws {
        try await withPool { pool in
            let root = String(pool.path(of: "x").dropLast(2))
            try Tool.succeed(
                "qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "gone", "\(root)/image", "1M")
            let error = await #expect(throws: StorageError.self) {
                try await pool.adoptVolume("image", format: .qcow2)
            }
            #expect(error?.code == .notFound && error?.place.hasSuffix("/gone") == true)
        }
    }

    /// An image as older versions of qemu-img make it: without the header extension that says the backing format.
    private func createWithoutBackingFormat(_ backing: String, _ path: String) throws {
        try Tool.succeed("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing, path, "1M")
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        let place = try #require(bytes.firstRange(of: Data([0xe2, 0x79, 0x2a, 0xca])))
        // Extension 0 ends the list.
        bytes.replaceSubrange(place, with: Data(count: 4))
        try bytes.write(to: URL(fileURLWithPath: path))
    }
}
