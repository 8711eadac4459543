import BlockStorage
import Testing

@testable import FilePool

@Suite struct MountTableTests {
    private static let text = """
        22 27 0:21 / /proc rw,relatime - proc proc rw
        27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
        36 27 0:30 / /mnt/primary\\040one rw,relatime shared:2 master:1 - ocfs2 /dev/sdb rw,heartbeat=local
        37 27 0:31 /export /mnt/nfs rw,relatime shared:3 - nfs4 server:/export rw,vers=4.2
        38 27 0:32 / /mnt/covered rw - gfs2 /dev/sdc rw
        39 38 0:33 / /mnt/covered rw - tmpfs tmpfs rw
        40 27 0:34 / /mnt/gluster rw - fuse.glusterfs host:/volume rw

        not a mount
        41 27 0:35 / /mnt/short rw
        """

    @Test("mounts are read with their escapes, and the last one on a path is seen")
    func parse() {
        let table = MountTable(Self.text)
        #expect(table.mounts.count == 7)
        #expect(table.mount(on: "/")?.fileSystem == "ext4")
        #expect(table.mount(on: "/mnt/primary one")?.fileSystem == "ocfs2")
        #expect(table.mount(on: "/mnt/covered")?.fileSystem == "tmpfs")
        #expect(table.mount(on: "/mnt") == nil)
    }

    @Test("only a mount point of a file system for several hosts is accepted, others on the caller's word")
    func shared() async throws {
        let table = MountTable(Self.text)
        for path in ["/mnt/primary one", "/mnt/nfs", "/mnt/gluster"] { try table.checkShared(path, isForced: false) }
        for path in ["/", "/mnt/covered", "/proc"] {
            #expect(await code { try table.checkShared(path, isForced: false) } == .invalidArgument)
            try table.checkShared(path, isForced: true)
        }
        #expect(await code { try table.checkShared("/mnt/nfs/sub", isForced: true) } == .invalidArgument)
    }

    @Test("this machine's own mounts: a directory is no mount point, and tmpfs is no shared file system")
    func thisMachine() async throws {
        try await withTemporaryDirectory { path in
            let error = await #expect(throws: StorageError.self) {
                try await FilePool.open("p", .sharedMountPoint(isForced: true), path: path)
            }
            #expect(error?.code == .invalidArgument && error?.why.contains("nothing is mounted") == true)
        }
        let error = await #expect(throws: StorageError.self) {
            try await FilePool.open("p", .sharedMountPoint(isForced: false), path: "/dev/shm")
        }
        #expect(error?.code == .invalidArgument && error?.why.contains("tmpfs") == true)
        #expect(await code { _ = try await FilePool.open("p", .directory, path: "/no/such/directory") } == .notFound)
        #expect(await code { _ = try await FilePool.open("p", .directory, path: "relative") } == .invalidArgument)
        #expect(await code { _ = try await FilePool.open("p", .directory, path: "/etc/passwd") } == .invalidArgument)
    }

    @Test("a pool on a shared mount point works, and a symbolic link to it is the same pool")
    func open() async throws {
        try await withTemporaryDirectory { path in
            let table = MountTable("36 27 0:30 / \(path) rw - ocfs2 /dev/sdb rw")
            let pool = try await FilePool.open(
                "p", .sharedMountPoint(isForced: false), path: path, options: .init(), mounts: table)
            #expect(pool.kind == "sharedmountpoint")
            try await pool.create("v")
            try await withTemporaryDirectory { other in
                try Tool.succeed("ln", "-s", path, "\(other)/link")
                let linked = try await FilePool.open(
                    "q", .sharedMountPoint(isForced: false), path: "\(other)/link", options: .init(), mounts: table)
                #expect(linked.identity == pool.identity)
                #expect(try await linked.describeVolume("v").path == "\(path)/v")
            }
        }
    }
}
