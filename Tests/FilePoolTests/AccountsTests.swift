import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import FilePool

@Suite struct AccountsTests {
    private static let size: UInt64 = 1 << 20

    /// The pool in `path` as a host sees it that lets it promise this much.
    private func open(_ path: String, volumes: UInt64? = nil, iops: UInt64? = nil) async throws -> FilePool {
        var options = FilePool.Options()
        options.limits = PoolLimits(
            capacityBytes: volumes.map { $0 * Self.size }, overprovisioning: volumes == nil ? .infinity : 1,
            capacityIOPS: iops)
        return try await FilePool.open("p", .directory, path: path, options: options)
    }

    /// The sum as the declarations have it.
    private func declared(_ pool: FilePool) async throws -> Provisioned {
        let texts = try await pool.store.targetsOfSymbolicLinks(in: HiddenName.declarations).values
        return texts.compactMap { Declaration($0)?.provisioned }.reduce(Provisioned()) { sum, part in
            Provisioned(bytes: sum.bytes + part.bytes, minIOPS: sum.minIOPS + part.minIOPS)
        }
    }

    @Test("of 200 creations at once by two hosts, as many succeed as the pool has room for", arguments: [false, true])
    func concurrentCreations(byIOPS: Bool) async throws {
        try await withTemporaryDirectory { path in
            let hosts = try await [
                open(path, volumes: byIOPS ? nil : 100, iops: byIOPS ? 1000 : nil),
                open(path, volumes: byIOPS ? nil : 100, iops: byIOPS ? 1000 : nil),
            ]
            var request = CreateRequest(size: Self.size)
            if byIOPS { request.qos = try QoSPolicy(minIOPS: 10) }
            let codes = await withTaskGroup(of: StorageError.Code?.self) { [request] group in
                for index in 0..<200 {
                    group.addTask {
                        await code { _ = try await hosts[index % 2].createVolume("v\(index)", request) }
                    }
                }
                return await group.reduce(into: [StorageError.Code?]()) { $0.append($1) }
            }
            #expect(codes.count { $0 == nil } == 100)
            #expect(codes.count { $0 == .quotaExceeded } == 100)
            #expect(try await hosts[0].listVolumes().count == 100)
            let sum = try await hosts[1].provisioned()
            #expect(byIOPS ? sum.minIOPS == 1000 : sum.bytes == 100 * Self.size)
            #expect(try await declared(hosts[0]) == sum)
            #expect(try await hosts[0].leftovers.isEmpty)
        }
    }

    @Test(
        "a volume counts once while it is being renamed, and after whoever renamed it died", arguments: [false, true])
    func renaming(isRenamed: Bool) async throws {
        try await withTemporaryDirectory { path in
            let pool = try await open(path, volumes: 2)
            _ = try await pool.createVolume("old", CreateRequest(size: Self.size, qos: QoSPolicy(minIOPS: 3)))
            let declaration = try #require(try await pool.store.declaration(of: "old"))
            try await pool.redeclare("new", declaration.moved(from: "old"))
            let expected = Provisioned(bytes: Self.size, minIOPS: 3)
            #expect(try await pool.provisioned() == expected)
            if isRenamed { try await pool.store.rename("old", to: "new", replacing: false) }
            for _ in 0..<2 { #expect(try await open(path).provisioned() == expected) }
            let volume = try #require(try await pool.listVolumes().first)
            #expect(volume.isManaged && volume.qos?.minIOPS == 3)
            _ = try await pool.createVolume("other", CreateRequest(size: Self.size))
            try await pool.deleteVolume(volume.name, policy: .refuse)
            #expect(try await open(path).provisioned().bytes == Self.size)
        }
    }

    @Test("what a dead process had begun takes no room, and what a live one builds does")
    func deadProcess() async throws {
        try await withTemporaryDirectory { path in
            let pool = try await open(path, volumes: 1)
            let staged = try await pool.stage()
            try await pool.reserve(
                staged, for: "v", Declaration(.volume, .raw, bytes: Self.size), takingOver: false, "create volume")
            let request = CreateRequest(size: Self.size, format: .raw)
            #expect(await code { _ = try await pool.createVolume("w", request) } == .quotaExceeded)
            try await staged.guardian.volume.close()
            _ = try await pool.createVolume("w", request)
            #expect(try await pool.leftovers.isEmpty)
            #expect(try await pool.provisioned().bytes == Self.size)
        }
    }

    @Test("a sum that does not belong to the declarations is not believed", arguments: ["", "1 2 3", "noise", "0 0 0"])
    func wrongSum(text: String) async throws {
        try await withTemporaryDirectory { path in
            let pool = try await open(path)
            _ = try await pool.createVolume("a", CreateRequest(size: Self.size, qos: QoSPolicy(minIOPS: 7)))
            let expected = Provisioned(bytes: Self.size, minIOPS: 7)
            #expect(try await pool.provisioned() == expected)
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: "\(path)/.sluice/accounts"))
            let padded = text + String(repeating: " ", count: 96 - text.count)
            try file.write(contentsOf: Data(padded.utf8))
            try file.close()
            #expect(try await pool.provisioned() == expected)
            // Another program's change of the declarations, in the middle of everything.
            try Tool.succeed("ln", "-s", "volume:raw:thin:512", "\(path)/.sluice/volumes/b")
            #expect(try await pool.provisioned().bytes == Self.size + 512)
        }
    }

    @Test("the file of the sum may be cut or gone when the pool is opened")
    func damagedFile() async throws {
        try await withTemporaryDirectory { path in
            _ = try await open(path).createVolume("a", CreateRequest(size: Self.size))
            let accounts = "\(path)/.sluice/accounts"
            try FileManager.default.removeItem(atPath: accounts)
            #expect(try await open(path).provisioned().bytes == Self.size)
            try Tool.succeed("truncate", "-s", "3", accounts)
            #expect(try await open(path).provisioned().bytes == Self.size)
            _ = try await open(path).createVolume("b", CreateRequest(size: Self.size))
            #expect(try await open(path).provisioned().bytes == 2 * Self.size)
        }
    }

    @Test("volumes count that were declared before volumes were counted")
    func olderDeclarations() async throws {
        try await withTemporaryDirectory { path in
            let pool = try await open(path)
            _ = try await pool.createVolume("raw", CreateRequest(size: Self.size, format: .raw))
            _ = try await pool.createVolume("image", CreateRequest(size: 3 * Self.size))
            for (name, text) in [("raw", "volume:raw:thin"), ("image", "volume:qcow2:thin")] {
                let link = "\(path)/.sluice/volumes/\(name)"
                try FileManager.default.removeItem(atPath: link)
                try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: text)
            }
            #expect(try await open(path).provisioned().bytes == 4 * Self.size)
            #expect(try await pool.describeVolume("image").isManaged)
            try await pool.deleteVolume("image", policy: .refuse)
            #expect(try await pool.provisioned().bytes == Self.size)
        }
    }

    @Test("snapshots count with the size that the volume had")
    func snapshots() async throws {
        try await withTemporaryDirectory { path in
            let pool = try await open(path, volumes: 4)
            _ = try await pool.createVolume("v", CreateRequest(size: Self.size))
            _ = try await pool.createSnapshot("small", of: "v")
            try await pool.resizeVolume("v", to: 2 * Self.size, allowShrink: false)
            #expect(try await pool.provisioned().bytes == 3 * Self.size)
            #expect(await code { _ = try await pool.createSnapshot("large", of: "v") } == .quotaExceeded)
            #expect(await code { _ = try await pool.createSnapshot("small", of: "v") } == nil)
            try await pool.revert("v", to: "small")
            #expect(try await pool.provisioned().bytes == 2 * Self.size)
            try await pool.deleteSnapshot("small", of: "v")
            #expect(try await pool.provisioned().bytes == Self.size)
        }
    }

    @Test("what other tools or a crash did to a volume's size is counted when it is next opened for writing")
    func resizedElsewhere() async throws {
        try await withTemporaryDirectory { path in
            let pool = try await open(path, volumes: 2)
            _ = try await pool.createVolume("v", CreateRequest(size: Self.size))
            try Tool.succeed("qemu-img", "resize", "-q", "-f", "qcow2", "\(path)/v", "4M")
            try await pool.openVolume(VolumeReference("v"), mode: .exclusive).close()
            #expect(try await pool.provisioned().bytes == 4 * Self.size)
            // More than the limit already: nothing more fits, and what is there goes on.
            #expect(await code { _ = try await pool.createVolume("w", CreateRequest(size: 512)) } == .quotaExceeded)
            try await pool.setQoS(QoSPolicy(minIOPS: 5), of: "v")
            try await pool.resizeVolume("v", to: 1 << 20, allowShrink: true)
            _ = try await pool.createVolume("w", CreateRequest(size: Self.size))
        }
    }

    @Test(
        "each host keeps to its own limits, and a loop of changes leaves the sum exact", arguments: [UInt64(1), 2, 3])
    func randomChanges(seed: UInt64) async throws {
        try await withTemporaryDirectory { path in
            let hosts = try await [open(path, volumes: 8, iops: 50), open(path, volumes: 12, iops: 80)]
            var random = SeededGenerator(seed: seed)
            for _ in 0..<60 {
                let host = Int.random(in: 0...1, using: &random)
                let pool = hosts[host]
                let name = "v\(Int.random(in: 0..<10, using: &random))"
                let policy = try QoSPolicy(minIOPS: UInt64.random(in: 1...30, using: &random))
                let before = try await pool.provisioned()
                do {
                    switch Int.random(in: 0..<8, using: &random) {
                    case 0...2:
                        let format: VolumeFormat = Bool.random(using: &random) ? .raw : .qcow2
                        _ = try await pool.createVolume(
                            name, CreateRequest(size: Self.size, format: format, qos: policy))
                    case 3: try await pool.deleteVolume(name, policy: .refuse)
                    case 4: try await pool.setQoS(policy, of: name)
                    case 5:
                        let size = Self.size * UInt64.random(in: 1...3, using: &random)
                        try await pool.resizeVolume(name, to: size, allowShrink: true)
                    case 6: try await pool.renameVolume(name, to: "w\(Int.random(in: 0..<4, using: &random))")
                    default: try await pool.reserveVolume(name, CreateRequest(size: Self.size, qos: policy))
                    }
                } catch {
                    let error = try #require(error as? StorageError)
                    #expect([.quotaExceeded, .alreadyExists, .notFound].contains(error.code), "\(error)")
                }
                let sum = try await pool.provisioned()
                let limit =
                    host == 0 ? Provisioned(bytes: 8 << 20, minIOPS: 50) : Provisioned(bytes: 12 << 20, minIOPS: 80)
                #expect(
                    sum.bytes <= max(limit.bytes, before.bytes) && sum.minIOPS <= max(limit.minIOPS, before.minIOPS))
                #expect(try await declared(pool) == sum)
                let volumes = try await pool.listVolumes()
                #expect(volumes.reduce(0) { $0 + $1.virtualSize } <= sum.bytes)
            }
        }
    }
}
