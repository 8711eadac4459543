import Foundation
import Testing

@Suite struct VolumeCommandTests {
    @Test("A volume lives its life, with the keys of the contract, and QEMU agrees")
    func lifeCycle() async throws {
        let shell = try await TestShell.withPool()
        let create = [
            "volume", "create", "p/v", "--size", "64M", "--min-iops", "10", "--max-iops", "20", "--burst-iops", "30",
        ]
        for _ in 0..<2 { #expect(try await shell.sluice(create).status == 0) }
        try await shell.fails("alreadyExists", "volume", "create", "p/v", "--size", "65M")
        let info = try await shell.json("volume", "info", "p/v")
        #expect(
            Set(info.keys) == [
                "pool", "name", "path", "format", "virtualSize", "allocatedSize", "provisioning", "template",
                "snapshots", "qos", "attachment",
            ])
        #expect(info["virtualSize"] as? Int == 64 << 20 && info["format"] as? String == "qcow2")
        #expect(info["provisioning"] as? String == "thin")
        #expect(info["template"] is NSNull && info["attachment"] is NSNull)
        let qos = try #require(info["qos"] as? [String: Any])
        #expect(Set(qos.keys) == ["minIOPS", "maxIOPS", "burstIOPS", "enforcedBy", "minimum"])
        #expect(qos["minIOPS"] as? Int == 10 && qos["burstIOPS"] as? Int == 30)
        let path = try #require(info["path"] as? String)
        #expect(path.hasPrefix("/"))
        #expect(try await shell.tool("qemu-img", "info", "-f", "qcow2", path).output.contains("64 MiB"))

        try await shell.run("volume", "resize", "p/v", "128M")
        try await shell.fails("invalidArgument", "volume", "resize", "p/v", "64M")
        try await shell.run("volume", "resize", "p/v", "64M", "--shrink")
        try await shell.run("volume", "set-qos", "p/v", "--max-iops", "25", "--burst-iops", "0")
        let changed = try #require(try await shell.json("volume", "info", "p/v")["qos"] as? [String: Any])
        #expect(changed["minIOPS"] as? Int == 10 && changed["maxIOPS"] as? Int == 25 && changed["burstIOPS"] is NSNull)
        try await shell.fails("invalidArgument", "volume", "set-qos", "p/v", "--min-iops", "26")

        try await shell.run("volume", "rename", "p/v", "w")
        try await shell.fails("notFound", "volume", "info", "p/v")
        let volumes = try #require(try await shell.json("volume", "list", "p")["volumes"] as? [[String: Any]])
        #expect(volumes.map { $0["name"] as? String } == ["w"])
        #expect(Set(volumes[0].keys) == ["name", "format", "virtualSize", "allocatedSize", "managed", "template"])
        #expect(volumes[0]["managed"] as? Bool == true)
        #expect(try await shell.run("volume", "list", "p").output.contains("64.0 MiB"))
        for _ in 0..<2 { try await shell.run("volume", "delete", "p/w") }
        try await shell.fails("notFound", "volume", "info", "p/w")
    }

    @Test(
        "Every format and provisioning reads zeros and is what it says", arguments: ["qcow2", "raw"],
        ["thin", "sparse", "fat"])
    func provisioning(format: String, provisioning: String) async throws {
        let shell = try await TestShell.withPool()
        try await shell.run(
            "volume", "create", "p/v", "--size", "16M", "--format", format, "--provisioning", provisioning)
        let info = try await shell.json("volume", "info", "p/v")
        #expect(info["format"] as? String == format && info["provisioning"] as? String == provisioning)
        if provisioning == "fat" { #expect((info["allocatedSize"] as? Int ?? 0) >= 16 << 20) }
        let path = try #require(info["path"] as? String)
        try await shell.tool("qemu-io", "-r", "-f", format, "-c", "read -P 0 0 16M", path)
    }

    @Test("A map lists every byte once")
    func map() async throws {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M")
        let path = try #require(try await shell.json("volume", "info", "p/v")["path"] as? String)
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write 1M 64k", "-c", "write -z 2M 64k", path)
        let extents = try #require(try await shell.json("volume", "map", "p/v")["extents"] as? [[String: Any]])
        #expect(extents.allSatisfy { Set($0.keys) == ["offset", "length", "kind"] })
        #expect(extents.map { $0["kind"] as? String } == ["hole", "data", "hole", "zero", "hole"])
        #expect(extents.map { $0["offset"] as? Int } == [0, 1_048_576, 1_114_112, 2_097_152, 2_162_688])
        #expect(extents.compactMap { $0["length"] as? Int }.reduce(0, +) == 8 << 20)
        #expect(try await shell.run("volume", "map", "p/v").output.contains("OFFSET"))
    }

    @Test("A lazy volume is made when it is used, and tags choose a pool")
    func lazyAndTags() async throws {
        let shell = try await TestShell.withPool()
        let made = try await shell.json("volume", "create", "p/v", "--size", "1M", "--lazy")
        #expect(made["path"] as? String == "")
        try await shell.run("volume", "check", "p/v")
        #expect((try await shell.json("volume", "info", "p/v")["path"] as? String)?.isEmpty == false)
        try await shell.fails("notFound", "volume", "create", "t", "--size", "1M", "--tags", "ssd")
        try FileManager.default.createDirectory(atPath: shell.path("q"), withIntermediateDirectories: true)
        try await shell.run("pool", "add", "q", "dir://" + shell.path("q"), "--tag", "ssd", "--tag", "eu")
        let chosen = try await shell.json("volume", "create", "t", "--size", "1M", "--tags", "eu,ssd")
        #expect(chosen["pool"] as? String == "q" && chosen["elapsedMicroseconds"] is Int)
    }

    @Test("A snapshot keeps what was there, and a revert brings it back")
    func snapshots() async throws {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M")
        let path = try #require(try await shell.json("volume", "info", "p/v")["path"] as? String)
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 1M", path)
        try await shell.run("snapshot", "create", "p/v@one")
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -P 2 0 1M", path)
        let list = try #require(try await shell.json("snapshot", "list", "p/v")["snapshots"] as? [[String: Any]])
        #expect(list.map { $0["name"] as? String } == ["one"])
        #expect(Set(list[0].keys) == ["name", "size", "usedBytes", "createdAt", "protected", "children"])
        let created = try #require(list[0]["createdAt"] as? String)
        #expect(created.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/) != nil)
        #expect(try await shell.json("volume", "info", "p/v")["snapshots"] as? [String] == ["one"])
        try await shell.run("volume", "clone", "p/v@one", "p/copy", "--full")
        let copy = try #require(try await shell.json("volume", "info", "p/copy")["path"] as? String)
        try await shell.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 1 0 1M", copy)
        try await shell.run("snapshot", "revert", "p/v@one")
        try await shell.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 1 0 1M", path)
        try await shell.fails("notFound", "snapshot", "revert", "p/v@two")
        try await shell.fails("invalidArgument", "snapshot", "create", "p/v")
        for _ in 0..<2 { try await shell.run("snapshot", "delete", "p/v@one") }
        try await shell.tool("qemu-img", "check", path)
    }

    @Test("A copy and a migration between pools carry the data")
    func transfers() async throws {
        let shell = try await TestShell.withPool()
        try FileManager.default.createDirectory(atPath: shell.path("q"), withIntermediateDirectories: true)
        try await shell.run("pool", "add", "q", "dir://" + shell.path("q"))
        try await shell.run("volume", "create", "p/v", "--size", "8M", "--max-iops", "7")
        let path = try #require(try await shell.json("volume", "info", "p/v")["path"] as? String)
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 3M 1M", path)
        for _ in 0..<2 { try await shell.run("volume", "copy", "p/v", "q/copy", "--verify") }
        try await shell.run("volume", "create", "q/other", "--size", "8M")
        try await shell.fails("alreadyExists", "volume", "copy", "p/v", "q/other")
        let copy = try #require(try await shell.json("volume", "info", "q/copy")["path"] as? String)
        try await shell.tool("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, copy)
        try await shell.run("snapshot", "create", "p/v@s")
        try await shell.fails("notSupported", "volume", "migrate", "p/v", "q")
        try await shell.run("snapshot", "delete", "p/v@s")
        try await shell.run("volume", "clone", "p/v", "p/clone")
        try await shell.fails("busy", "volume", "migrate", "p/v", "q")
        try await shell.fails("notFound", "volume", "info", "q/v")
        try await shell.run("volume", "delete", "p/clone")
        for _ in 0..<2 { try await shell.run("volume", "migrate", "p/v", "q", "--verify") }
        try await shell.fails("notFound", "volume", "info", "p/v")
        let moved = try await shell.json("volume", "info", "q/v")
        #expect((moved["qos"] as? [String: Any])?["maxIOPS"] as? Int == 7)
        let movedPath = try #require(moved["path"] as? String)
        try await shell.tool("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", movedPath, copy)
        try await shell.fails("notSupported", "volume", "clone", "q/v", "p/linked")
    }

    @Test("A check says what it found by its exit code")
    func check() async throws {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M")
        let clean = try await shell.json("volume", "check", "p/v")
        #expect(Set(clean.keys).isSuperset(of: ["outcome", "corruptions", "leaks", "allocatedClusters"]))
        #expect(clean["outcome"] as? String == "clean")
        let path = try #require(try await shell.json("volume", "info", "p/v")["path"] as? String)
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write 0 64k", path)
        // The L1 entry that maps the data forgets it: its clusters are leaked.
        let header = try #require(FileManager.default.contents(atPath: path))
        let l1 = header[40..<48].reduce(0) { $0 << 8 | UInt64($1) }
        let file = try FileHandle(forUpdating: URL(filePath: path))
        try file.seek(toOffset: l1)
        try file.write(contentsOf: Data(repeating: 0, count: 8))
        try file.close()
        let leaks = try await shell.sluice(["--json", "volume", "check", "p/v"])
        #expect(leaks.status == 3, "\(leaks)")
        #expect(try leaks.json()["outcome"] as? String == "leaks")
        #expect(try await shell.sluice(["volume", "check", "p/v", "--repair", "leaks"]).status == 0)
        #expect(try await shell.sluice(["volume", "check", "p/v"]).status == 0)
        // And now it points beyond the end of the file.
        let again = try FileHandle(forUpdating: URL(filePath: path))
        try again.seek(toOffset: l1)
        try again.write(contentsOf: Data([0x80, 0, 0, 0, 0x40, 0, 0, 0]))
        try again.close()
        #expect(try await shell.sluice(["volume", "check", "p/v"]).status == 2)
    }

    @Test("QEMU opens what volume qemu prints, and the XML names file and format")
    func hypervisor() async throws {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M")
        let document = try await shell.json("volume", "qemu", "p/v")
        let arguments = try #require(document["arguments"] as? [String])
        #expect(arguments.first == "-blockdev" && arguments.count == 2)
        let node = try #require(document["nodeName"] as? String)
        #expect(arguments[1].contains("node-name=\(node),"))
        try await shell.tool("qemu-img", "info", "--image-opts", arguments[1].replacing("node-name=\(node),", with: ""))
        #expect(try await shell.run("volume", "qemu", "p/v").output == "-blockdev \(arguments[1])\n")
        let xml = try await shell.run("volume", "xml", "p/v").output
        #expect(xml.contains("type='qcow2'") && xml.contains("<source file='\(shell.poolPath)/v"))
    }

    @Test(
        "Names, sizes and addresses that are hostile get an error, never a trap",
        arguments: [
            ["volume", "create", "p/v", "--size", "0"], ["volume", "create", "p/v", "--size", "15E"],
            ["volume", "create", "p/v", "--size", "18446744073709551615"], ["volume", "create", "p/v", "--size", "1"],
            ["volume", "create", "p/v", "--size", "15E", "--format", "raw"],
            ["volume", "create", "p/v", "--size", "9223372036854775807", "--format", "raw", "--provisioning", "fat"],
            ["volume", "create", "p/v", "--size", "1M", "--max-iops", "18446744073709551615"],
            ["volume", "create", "p/v", "--size", "1M", "--min-iops", "5", "--max-iops", "4"],
            ["volume", "create", "p/v", "--size", "1M", "--min-iops", "0"],
            ["volume", "resize", "p/x", "18446744073709551615"], ["volume", "resize", "p/x", "0", "--shrink"],
            ["volume", "clone", "p/none", "p/v"], ["volume", "clone", "p/x", "p/v", "--size", "1"],
            ["volume", "clone", "p/x@none", "p/v"], ["volume", "copy", "p/x", "none/v"],
            ["volume", "rename", "p/x", "../y"],
            ["volume", "rename", "p/x", String(repeating: "n", count: 300)],
            ["volume", "map", "p/x@none"], ["volume", "export", "p/x", "/nonexistent/f", "--format", "raw"],
            ["volume", "import", "p/v", "/dev/zero", "--format", "qcow2"],
            ["volume", "import", "p/v", "/", "--format", "raw"],
            ["volume", "adopt", "p/none", "--format", "raw"], ["snapshot", "create", "p/none@s"],
            ["snapshot", "list", "p/none"],
            ["snapshot", "revert", "p/x@none"], ["template", "import", "p/t", "/nonexistent", "--format", "qcow2"],
            ["template", "import", "p/t", "http://host/x", "--format", "raw"],
            ["template", "import", "p/t", "ftp://u:hunter2@host/x", "--format", "raw"],
            ["template", "import", "p/t", "", "--format", "raw"],
            ["serve", "p/none", "--socket", "/tmp/x"], ["serve", "p/x", "--socket", "/nonexistent/dir/s"],
            ["serve", "p/x", "--socket", "/" + String(repeating: "s", count: 200)],
            ["serve", "p/x", "--listen", "0.0.0.0:0"],
            ["bench", "p/x", "--rw", "read", "--bs", "0"], ["bench", "p/x", "--rw", "read", "--bs", "15E"],
            ["bench", "p/x", "--rw", "read", "--iodepth", "9223372036854775807"],
            ["bench", "p/x", "--rw", "read", "--jobs", "9223372036854775807", "--iodepth", "9223372036854775807"],
            ["bench", "p/x", "--rw", "read", "--rate-iops", "0"], ["bench", "p/none", "--rw", "read"],
            ["conformance", "none"], ["conformance", "p", "--only", "nonsense"],
            ["qos", "simulate", "x", "--output", "y"],
            ["pool", "add", "q", "dir:///" + String(repeating: "a/", count: 4000)],
        ])
    func hostileValues(arguments: [String]) async throws {
        let shell = try await Self.hostile.value()
        let result = try await shell.sluice(arguments)
        #expect(result.status == 1 && !result.wasKilled, "\(result)")
        #expect(result.output.isEmpty)
        #expect(result.error.hasPrefix("error: ") && result.error.count { $0 == "\n" } == 1, "\(result.error)")
        #expect(!result.error.contains("hunter2") && !result.error.contains("internalError"), "\(result.error)")
        let left = try await shell.json("volume", "list", "p")["volumes"] as? [[String: Any]]
        #expect(left?.map { $0["name"] as? String } == ["x"], "\(arguments)")
    }

    /// One pool for all hostile values, with the volume `x` in it: none of them changes anything.
    private static let hostile = Once {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/x", "--size", "1M")
        return shell
    }
}

/// A value that is made once, at its first use.
final class Once<Value: Sendable>: Sendable {
    private let task: Task<Value, any Error>

    init(_ make: @escaping @Sendable () async throws -> Value) { task = Task { try await make() } }

    func value() async throws -> Value { try await task.value }
}
