import BlockStorage
import FilePool
import Testing

@Suite struct LockTests {
    @Test("QEMU opens no image that Sluice writes", arguments: VolumeFormat.allCases)
    func sluiceWrites(format: VolumeFormat) async throws {
        try await withPool { pool in
            try await pool.create("v", format: format)
            let path = pool.path(of: "v")
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            // QEMU lets itself read a raw image that another QEMU writes.
            for arguments in format == .raw ? [[]] : [["-r"], []] {
                let tool = try Tool.run(["qemu-io"] + arguments + ["-f", format.rawValue, "-c", "read 0 512", path])
                #expect(tool.status != 0)
                #expect(tool.output.contains("lock"), "\(tool.output)")
            }
            try await volume.close()
            try Tool.succeed("qemu-io", "-f", format.rawValue, "-c", "write -P 9 0 512", path)
            #expect(try await pool.firstByte(of: "v") == 9)
        }
    }

    @Test("Sluice opens no image that QEMU writes, and says who has it", arguments: VolumeFormat.allCases)
    func qemuWrites(format: VolumeFormat) async throws {
        try await withPool { pool in
            try await pool.create("v", format: format)
            // As a disk of a guest: qemu-io alone lets others write a raw image beside it.
            let holder = try QEMUHolder(["-f", format.rawValue, pool.path(of: "v")])
            if format == .raw {
                let code = await code { _ = try await pool.openVolume(VolumeReference("v"), mode: .exclusive) }
                #expect(code == .busy)
            } else {
                for mode in [OpenMode.readOnly, .exclusive] {
                    let error = await #expect(throws: StorageError.self) {
                        try await pool.openVolume(VolumeReference("v"), mode: mode)
                    }
                    #expect(error?.code == .busy)
                    #expect(error?.why.contains("qemu-io (") == true, "\(String(describing: error))")
                }
                #expect(await code { try await pool.deleteVolume("v", policy: .refuse) } == .busy)
                #expect(await code { try await pool.renameVolume("v", to: "w") } == .busy)
                #expect(await code { try await pool.resizeVolume("v", to: 2 << 20, allowShrink: false) } == .busy)
                #expect(await code { _ = try await pool.checkVolume("v", repair: .all) } == .busy)
                #expect(
                    await code { _ = try await pool.cloneVolume(VolumeReference("v"), as: "c", CloneRequest()) }
                        == .busy)
            }
            holder.end()
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            try await volume.close()
        }
    }

    @Test("QEMU and Sluice read one image together, and clones of one template are written side by side")
    func shared() async throws {
        try await withPool { pool in
            try await pool.create("base")
            for name in ["a", "b"] {
                _ = try await pool.cloneVolume(VolumeReference("base"), as: name, CloneRequest())
            }
            let qemuReads = try QEMUHolder(["-r", "-f", "qcow2", pool.path(of: "base")])
            let qemuWrites = try QEMUHolder(["-f", "qcow2", pool.path(of: "a")])
            #expect(try await pool.firstByte(of: "base") == 0x11)
            let b = try await pool.openVolume(VolumeReference("b"), mode: .exclusive)
            try await b.fill(0x22, 0..<512)
            try await b.close()
            qemuReads.end()
            // Still the backing file of an image that QEMU writes.
            #expect(await code { _ = try await pool.openVolume(VolumeReference("base"), mode: .exclusive) } == .busy)
            qemuWrites.end()
            #expect(try await pool.firstByte(of: "b") == 0x22)
        }
    }

    @Test("the locks are exactly those of QEMU", arguments: [OpenMode.readOnly, .exclusive])
    func lockedBytes(mode: OpenMode) async throws {
        try await withPool { pool in
            try await pool.create("base")
            _ = try await pool.cloneVolume(VolumeReference("base"), as: "clone", CloneRequest())
            let paths = [pool.path(of: "base"), pool.path(of: "clone")]
            let volume = try await pool.openVolume(VolumeReference("clone"), mode: mode)
            let ours = try paths.map { try KernelLocks.bytes(of: $0, process: "self") }
            try await volume.close()
            #expect(try paths.map { try KernelLocks.bytes(of: $0, process: "self") } == [[], []])
            let holder = try QEMUHolder((mode == .readOnly ? ["-r"] : []) + ["-f", "qcow2", paths[1]])
            let theirs = try paths.map { try KernelLocks.bytes(of: $0, process: holder.processIdentifier) }
            holder.end()
            #expect(ours == theirs)
        }
    }
}
