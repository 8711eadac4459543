import BlockStorage
import Foundation
import Testing

@testable import FilePool

@Suite struct VolumeTests {
    @Test("QEMU finds every volume clean and with the size and the allocation that were asked for")
    func provisioning() async throws {
        try await withPool { pool in
            let size: UInt64 = 32 << 20
            for format in VolumeFormat.allCases {
                for provisioning in ProvisioningType.allCases {
                    let name = "\(format)-\(provisioning)"
                    let made = try await pool.createVolume(
                        name, CreateRequest(size: size, format: format, provisioning: provisioning))
                    #expect(made.provisioning == provisioning)
                    if provisioning == .fat {
                        #expect(made.allocatedSize >= size)
                    } else {
                        #expect(made.allocatedSize < 2 << 20)
                    }
                    if format == .qcow2 { try Tool.succeed("qemu-img", "check", "-q", "-f", "qcow2", made.path) }
                    let info = try Tool.run("qemu-img", "info", "--output=json", "-f", format.rawValue, made.path)
                    #expect(info.output.contains("\"virtual-size\": \(size)"), "\(info.output)")
                }
            }
        }
    }

    @Test("a volume larger than the space for it is refused when it is to be allocated, and leaves nothing")
    func noSpace() async throws {
        try await withPool { pool in
            for format in VolumeFormat.allCases {
                let request = CreateRequest(size: 1 << 43, format: format, provisioning: .fat)
                #expect(await code { _ = try await pool.createVolume("v", request) } == .noSpace)
                #expect(try await pool.listVolumes().isEmpty)
                #expect(try await pool.leftovers.isEmpty)
            }
            let statistics = try await pool.statistics()
            #expect(statistics.capacity > statistics.available && statistics.allocated > 0)
        }
    }

    @Test("a linked clone names its source relative to itself, so that the pool can be moved")
    func relativeBacking() async throws {
        try await withTemporaryDirectory { path in
            try FileManager.default.createDirectory(atPath: "\(path)/here", withIntermediateDirectories: false)
            let pool = try await FilePool.open("p", .directory, path: "\(path)/here")
            try await pool.create("base")
            try await pool.create("rawbase", format: .raw, filledWith: 0x33)
            for (source, clone) in [("base", "c1"), ("rawbase", "c2")] {
                _ = try await pool.cloneVolume(VolumeReference(source), as: clone, CloneRequest(size: 8 << 20))
                let info = try Tool.run("qemu-img", "info", "--output=json", pool.path(of: clone))
                #expect(info.output.contains("\"backing-filename\": \"\(source)\""), "\(info.output)")
                #expect(info.output.contains("\"backing-filename-format\": \"\(source == "base" ? "qcow2" : "raw")\""))
                try Tool.succeed("qemu-img", "check", "-q", pool.path(of: clone))
            }
            try FileManager.default.moveItem(atPath: "\(path)/here", toPath: "\(path)/there")
            let moved = try await FilePool.open("p", .directory, path: "\(path)/there")
            #expect(try await moved.firstByte(of: "c1") == 0x11)
            #expect(try await moved.firstByte(of: "c2") == 0x33)
            #expect(try await moved.describeVolume("c2").template == VolumeReference("rawbase"))
        }
    }

    @Test("a clone of a 10 GiB template has its bytes, none of its own, and keeps it from being deleted")
    func cloneOfTemplate() async throws {
        try await withPool { pool in
            let staged = try await pool.stageTemplate("template", size: 10 << 30)
            try await staged.volume.fill(7, 0..<1 << 20)
            _ = try await staged.publish()
            let clone = try await pool.cloneVolume(VolumeReference("template"), as: "clone", CloneRequest())
            #expect(clone.virtualSize == 10 << 30)
            #expect(clone.allocatedSize <= 1 << 20)
            #expect(try await pool.firstByte(of: "clone") == 7)
            #expect(await code { try await pool.deleteTemplate("template") } == .busy)
        }
    }

    @Test("a template is readable for all and writable for none")
    func templatePermissions() async throws {
        try await withPool { pool in
            let staged = try await pool.stageTemplate("template", size: 1 << 20)
            #expect(try await pool.leftovers.count == 2)
            let made = try await staged.publish()
            #expect(made.isTemplate && made.format == .qcow2)
            let attributes = try FileManager.default.attributesOfItem(atPath: made.path)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o444)
            #expect(try await pool.leftovers.isEmpty)
            #expect(await code { _ = try await staged.publish() } == .invalidArgument)
            for attempt in [
                { try await pool.deleteVolume("template", policy: .refuse) },
                { try await pool.renameVolume("template", to: "other") },
                { try await pool.resizeVolume("template", to: 2 << 20, allowShrink: false) },
            ] as [() async throws -> Void] {
                let refused = await code(attempt)
                #expect(refused == .invalidArgument || refused == .readOnly)
            }
            try await pool.deleteTemplate("template")
        }
    }

    @Test("check finds what is wrong with an image, and repair mends it")
    func check() async throws {
        try await withPool { pool in
            try await pool.create("v")
            let path = pool.path(of: "v")
            try Tool.succeed("qemu-img", "check", "-q", path)
            // One cluster more with a refcount and no reference: a leak. The first refcount block is cluster 2.
            try Tool.succeed("qemu-io", "-f", "raw", "-c", "write -P 0 \(2 * 65536 + 2 * 40) 1", path)
            try Tool.succeed("qemu-io", "-f", "raw", "-c", "write -P 1 \(2 * 65536 + 2 * 40 + 1) 1", path)
            let found = try await pool.checkVolume("v", repair: .none)
            #expect(found.outcome == .leaks && found.leaks == 1, "\(found)")
            let repaired = try await pool.checkVolume("v", repair: .leaks)
            #expect(repaired.outcome == .clean && repaired.leaksFixed == 1, "\(repaired)")
            try Tool.succeed("qemu-img", "check", "-q", path)
            #expect(try await pool.firstByte(of: "v") == 0x11)
        }
    }
}
