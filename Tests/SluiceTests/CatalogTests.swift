import BlockStorage
import Foundation
import GRDB
import IORuntime
import SystemPackage
import Testing

@testable import Sluice

@Suite struct CatalogTests {
    @Test("The home is of mode 0700 and the catalog and its side files of 0600")
    func modes() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("a/home")
        let catalog = try await Catalog(StorageHome(path))
        _ = try await catalog.insert(PoolRecord(name: "p", url: "dir:///p", tags: []))
        #expect(try mode(of: path) == 0o700)
        for name in try FileManager.default.contentsOfDirectory(atPath: path) {
            #expect(try mode(of: "\(path)/\(name)") == 0o600, "\(name)")
        }
    }

    @Test("A second host of a process leaves the locks of the first")
    func locks() async throws {
        let directory = try TemporaryDirectory()
        let home = try StorageHome(directory.path)
        let first = try await Catalog(home)
        // Stays open: to close it would release the locks.
        let file = try await File.open(home.catalog, [.write])
        let whole = 0..<UInt64(Int64.max)
        #expect(try await file.isLockedByOther(.exclusive, whole))
        let second = try await Catalog(home)
        #expect(try await file.isLockedByOther(.exclusive, whole))
        withExtendedLifetime((first, second, file)) {}
    }

    @Test("A home that others may write is refused, and a directory with other uses keeps its mode")
    func foreignHome() async throws {
        let directory = try TemporaryDirectory()
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: directory.path)
        await expect(.permissionDenied) { try StorageHome(directory.path) }
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: directory.path)
        try Data().write(to: URL(filePath: directory.appending("other")))
        _ = try StorageHome(directory.path)
        #expect(try mode(of: directory.path) == 0o755)
        await expect(.invalidArgument) { try StorageHome(directory.appending("other")) }
    }

    @Test("What is recorded is there for the next process")
    func persistence() async throws {
        let directory = try TemporaryDirectory()
        let home = try StorageHome(directory.appending("home"))
        let pool = PoolRecord(
            name: "p", url: "dir:///p", tags: ["a", "b"], capacityBytes: 5, capacityIOPS: 7, secret: "s")
        var volume = VolumeRecord(pool: "p", name: "v", provisioning: .fat)
        try volume.setQoS(QoSPolicy(minIOPS: 1, maxIOPS: 2))
        do {
            let catalog = try await Catalog(home)
            #expect(try await catalog.insert(pool) == nil)
            try await catalog.save(volume)
        }
        let catalog = try await Catalog(home)
        #expect(try await catalog.pool("p") == pool)
        #expect(try await catalog.insert(PoolRecord(name: "p", url: "dir:///q", tags: [])) == pool)
        #expect(try await catalog.volume("v", in: "p") == volume)
        try await catalog.write("move") { database in
            try Catalog.move(VolumeAddress(pool: "p", name: "v"), to: VolumeAddress(pool: "p", name: "w"), database)
        }
        #expect(try await catalog.volumes(in: "p").map(\.name) == ["w"])
        #expect(try await catalog.volume("w", in: "p")?.qos == QoSPolicy(minIOPS: 1, maxIOPS: 2))
        #expect(try await catalog.deletePool("p"))
        #expect(try await catalog.volumes(in: "p").isEmpty)
        #expect(try await !catalog.deletePool("p"))
    }

    @Test("A value that SQLite cannot hold is refused")
    func largeValues() async throws {
        var volume = VolumeRecord(pool: "p", name: "v", provisioning: .thin)
        await expect(.outOfRange) { try volume.setQoS(QoSPolicy(maxIOPS: .max)) }
    }

    @Test("A catalog of a newer version is refused, and so is a file that is no database")
    func foreignCatalogs() async throws {
        let directory = try TemporaryDirectory()
        let home = try StorageHome(directory.appending("home"))
        do {
            let catalog = try await Catalog(home)
            try await catalog.write("pretend") { database in
                try database.execute(sql: "PRAGMA user_version = 999")
            }
        }
        await expect(.conflict) { try await Catalog(home) }
        let other = try StorageHome(directory.appending("other"))
        try Data(repeating: 0x41, count: 8192).write(to: URL(filePath: other.catalog.string))
        await expect(.corrupt) { try await Catalog(other) }
    }

    @Test("Processes that open one new home at once all succeed")
    func concurrentOpening() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("home")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<12 {
                group.addTask {
                    let catalog = try await Catalog(StorageHome(path))
                    _ = try await catalog.insert(PoolRecord(name: "p\(index)", url: "dir:///p", tags: []))
                }
            }
            try await group.waitForAll()
        }
        #expect(try await Catalog(StorageHome(path)).pools().count == 12)
    }

    @Test("A catalog that another process is making is waited for")
    func newHome() async throws {
        let directory = try TemporaryDirectory()
        let home = try StorageHome(directory.path)
        try Data().write(to: URL(filePath: home.catalog.string))
        let lock = try FileDescriptor.open(
            "\(directory.path)/catalog.lock", .readWrite, options: .create, permissions: .ownerReadWrite)
        #expect(flock(lock.rawValue, LOCK_EX) == 0)
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        let other = try DatabaseQueue(path: home.catalog.string, configuration: configuration)
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }

        let hasEnded = Locked(false)
        let opening = Task {
            defer { hasEnded.withLock { $0 = true } }
            return try await Catalog(home).pools().count
        }
        var status = stat()
        #expect(fstat(lock.rawValue, &status) == 0)
        let inode = ":\(status.st_ino) "
        while !hasEnded.withLock({ $0 }) {
            let locks = try String(contentsOfFile: "/proc/locks", encoding: .utf8)
            if locks.split(separator: "\n").contains(where: { $0.contains("->") && $0.contains(inode) }) { break }
            await Task.yield()
        }
        try await other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
        try lock.close()
        #expect(try await opening.value == 0)
    }
}
