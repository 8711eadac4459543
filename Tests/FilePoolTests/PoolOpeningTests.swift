import BlockStorage
import Foundation
import Testing

@testable import FilePool

@Suite struct PoolOpeningTests {
    @Test("all who open a directory find one identity, also at the same moment")
    func identity() async throws {
        try await withTemporaryDirectory { path in
            let identities = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<16 {
                    group.addTask { try await FilePool.open("p", .directory, path: path).identity }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(identities.count == 1)
            let pool = try await FilePool.open("p", .directory, path: path)
            #expect(identities.contains(pool.identity))
            #expect(try await pool.leftovers.isEmpty)
        }
    }

    @Test("another directory than the expected one is refused")
    func otherIdentity() async throws {
        try await withTemporaryDirectory { first in
            var options = FilePool.Options()
            options.expectedIdentity = try await FilePool.open("p", .directory, path: first).identity
            _ = try await FilePool.open("p", .directory, path: first, options: options)
            try await withTemporaryDirectory { second in
                let error = await #expect(throws: StorageError.self) {
                    try await FilePool.open("p", .directory, path: second, options: options)
                }
                #expect(error?.code == .conflict)
            }
            let identity = "\(first)/.sluice/identity"
            try FileManager.default.removeItem(atPath: identity)
            try Data("short\n".utf8).write(to: URL(fileURLWithPath: identity))
            #expect(await code { _ = try await FilePool.open("p", .directory, path: first) } == .corrupt)
        }
    }

    @Test("what dead processes were building is removed, and what live ones build is not")
    func leftovers() async throws {
        try await withTemporaryDirectory { path in
            let pool = try await FilePool.open("p", .directory, path: path)
            let live = try await pool.stage()
            let dead = try await pool.stage()
            try await dead.guardian.volume.close()
            #expect(try await pool.leftovers.count == 2)
            let next = try await FilePool.open("p", .directory, path: path)
            #expect(try await next.leftovers == [live.name])
            await pool.discard(live)
            #expect(try await next.leftovers.isEmpty)
        }
    }

    @Test("where other hosts may be at work, only what nobody touched for long is removed")
    func foreignLeftovers() async throws {
        try await withTemporaryDirectory { path in
            let mounts = MountTable("36 27 0:30 / \(path) rw - nfs4 server:/x rw")
            func open() async throws -> FilePool {
                try await FilePool.open(
                    "p", .sharedMountPoint(isForced: false), path: path, options: .init(), mounts: mounts)
            }
            _ = try await open()
            let foreign = ".sluice-00000000-abc"
            try Data().write(to: URL(fileURLWithPath: "\(path)/\(foreign)"))
            #expect(try await open().leftovers == [foreign])
            // A directory of this host has no others: whoever made it is dead.
            #expect(try await FilePool.open("p", .directory, path: path).leftovers.isEmpty)
        }
    }

    @Test("a declaration without a file does not last, and its name can be used in another format")
    func staleDeclaration() async throws {
        try await withPool { pool in
            try await pool.store.makeSymbolicLink(".sluice/volumes/v", to: "volume:raw:thin")
            // It may belong to a creation that is under way.
            #expect(await code { _ = try await pool.createVolume("v", CreateRequest(size: 1 << 20)) } == .conflict)
            _ = try await pool.createVolume("v", CreateRequest(size: 1 << 20, format: .raw))
            try await pool.deleteVolume("v", policy: .refuse)
            #expect(try await pool.store.entries(in: ".sluice/volumes").isEmpty)
            try Tool.succeed("ln", "-s", "volume:raw:thin", pool.path(of: ".sluice/volumes/v"))
            try Tool.succeed("touch", "-h", "-d", "2 hours ago", pool.path(of: ".sluice/volumes/v"))
            #expect(try await pool.store.declaration(of: "v")?.format == .raw)
        }
    }
}
