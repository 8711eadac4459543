import Foundation
import Testing

@Suite struct PoolCommandTests {
    @Test("A pool is added, listed, described and removed, with the keys of the contract")
    func lifeCycle() async throws {
        let shell = try TestShell()
        try FileManager.default.createDirectory(atPath: shell.poolPath, withIntermediateDirectories: true)
        let url = "dir://\(shell.poolPath)?deadline=5"
        let add = [
            "pool", "add", "p", url, "--tag", "b", "--tag", "a", "--capacity-bytes", "1G", "--capacity-iops", "9",
        ]
        for _ in 0..<2 { #expect(try await shell.sluice(add).status == 0) }
        try await shell.fails("alreadyExists", "pool", "add", "p", url)
        let pools = try #require(try await shell.json("pool", "list")["pools"] as? [[String: Any]])
        #expect(pools.count == 1)
        #expect(Set(pools[0].keys) == ["name", "kind", "url"])
        #expect(pools[0]["url"] as? String == url && pools[0]["kind"] as? String == "dir")
        let info = try await shell.json("pool", "info", "p")
        #expect(
            Set(info.keys) == [
                "name", "kind", "url", "tags", "capacityBytes", "allocatedBytes", "availableBytes", "provisionedBytes",
                "deadlineSeconds", "health", "capacityIOPS", "allocatedIOPS", "capabilities",
            ])
        #expect(info["tags"] as? [String] == ["a", "b"])
        #expect(info["deadlineSeconds"] as? Int == 5 && info["capacityIOPS"] as? Int == 9)
        #expect(info["capacityBytes"] as? Int == 1 << 30)
        let capabilities = try #require(info["capabilities"] as? [[String: Any]])
        #expect(capabilities.contains { $0["name"] as? String == "linkedClone" })
        #expect(try await shell.run("pool", "info", "p").output.contains("linkedClone"))
        #expect(try await shell.run("pool", "list").output.contains(url))
        for _ in 0..<2 { try await shell.run("pool", "remove", "p") }
        try await shell.fails("notFound", "pool", "info", "p")
    }

    @Test("What cannot be a pool is refused with the reason")
    func refusals() async throws {
        let shell = try TestShell()
        try await shell.fails("notFound", "pool", "add", "p", "dir:///nonexistent/pool")
        try await shell.fails("invalidArgument", "pool", "add", "p", "dir:///etc/hostname")
        try await shell.fails("invalidArgument", "pool", "add", "p", "dir://host/path")
        try await shell.fails("invalidArgument", "pool", "add", "p", "/srv")
        try await shell.fails("invalidArgument", "pool", "add", "../p", "dir:///tmp")
        try await shell.fails("invalidArgument", "pool", "add", "p", "dir:///tmp?deadline=0")
        try await shell.fails("invalidArgument", "pool", "add", "p", "element://admin@mvip/pool")
        try await shell.fails("notSupported", "pool", "add", "p", "gluster://host/volume")
        let shared = try await shell.fails(
            "invalidArgument", "pool", "add", "p", "sharedmountpoint://\(shell.directory)")
        #expect(shared.error.contains("mount"))
        #expect((try await shell.json("pool", "list")["pools"] as? [Any])?.isEmpty == true)
    }

    @Test("A secret in a URL or a file is in no output and not in the catalog")
    func secrets() async throws {
        let shell = try TestShell()
        let results = [
            try await shell.fails("invalidArgument", "pool", "add", "p", "rbd://admin:hunter2@mon/pool"),
            try await shell.fails("invalidArgument", "pool", "add", "p", "dir://u:hunter2@h/p"),
            try await shell.fails("invalidArgument", "pool", "add", "p", "MVIP=1.2.3.4;clusterAdminPassword=hunter2"),
            try await shell.fails(
                "invalidArgument", "pool", "add", "--log-level", "trace", "p", "element://mvip?password=hunter2"),
            try await shell.fails(
                "notSupported", "pool", "add", "--log-level", "trace", "p", "gluster://host?password=hunter2"),
        ]
        for result in results { #expect(!(result.output + result.error).contains("hunter2")) }
        try Data("hunter2".utf8).write(to: URL(filePath: shell.path("key")))
        let readable = try await shell.fails(
            "permissionDenied", "pool", "add", "p", "dir:///tmp", "--secret-file", shell.path("key"))
        #expect(!readable.error.contains("hunter2"))
        let files = try FileManager.default.subpathsOfDirectory(atPath: shell.home)
        for file in files {
            let data = FileManager.default.contents(atPath: "\(shell.home)/\(file)") ?? Data()
            #expect(data.range(of: Data("hunter2".utf8)) == nil, "\(file)")
        }
    }

    @Test("Processes that start at once on a new home all succeed")
    func concurrency() async throws {
        let shell = try TestShell()
        try FileManager.default.createDirectory(atPath: shell.poolPath, withIntermediateDirectories: true)
        let url = "dir://" + shell.poolPath
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<8 { group.addTask { try await shell.run("pool", "add", "p\(index)", url) } }
            try await group.waitForAll()
        }
        #expect((try await shell.json("pool", "list")["pools"] as? [Any])?.count == 8)
    }
}
