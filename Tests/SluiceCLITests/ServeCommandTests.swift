import Foundation
import Testing

@Suite struct ServeCommandTests {
    private func shellWithVolume() async throws -> TestShell {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M")
        return shell
    }

    @Test("An export says when it is ready, serves, and ends cleanly", arguments: [SIGTERM, SIGINT])
    func lifeCycle(signal: Int32) async throws {
        let shell = try await shellWithVolume()
        let socket = shell.path("v.sock")
        let serve = try await ServeProcess(shell, "p/v", "--socket", socket)
        #expect(serve.ready == "serving p/v on unix:\(socket)")
        let uri = "nbd+unix:///?socket=\(socket)"
        #expect(try await shell.tool("nbdinfo", "--size", uri).output == "\(8 << 20)\n")
        #expect(try await shell.tool("nbdinfo", "--list", uri).output.contains("p/v"))
        try await shell.tool("qemu-io", "-f", "raw", "-c", "write -P 7 1M 1M", "-c", "flush", uri)
        let exports = try #require(try await shell.json("serve", "--list")["exports"] as? [[String: Any]])
        #expect(exports.map { $0["volume"] as? String } == ["p/v"])
        #expect(exports[0]["pid"] as? Int == Int(serve.processID) && exports[0]["socket"] as? String == socket)
        #expect(await serve.end(signal) == 0)
        #expect(!FileManager.default.fileExists(atPath: socket))
        #expect((try await shell.json("serve", "--list")["exports"] as? [Any])?.isEmpty == true)
        let path = try #require(try await shell.json("volume", "info", "p/v")["path"] as? String)
        try await shell.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 7 1M 1M", path)
        try await shell.tool("qemu-img", "check", path)
    }

    @Test("Commands on a served volume are done by the process that serves it, or answer busy with its pid")
    func control() async throws {
        let shell = try await shellWithVolume()
        let socket = shell.path("v.sock")
        let serve = try await ServeProcess(shell, "p/v", "--socket", socket)
        let uri = "nbd+unix:///?socket=\(socket)"
        let attachment = try #require(try await shell.json("volume", "info", "p/v")["attachment"] as? [String: Any])
        #expect(Set(attachment.keys) == ["mode", "holder", "since"])
        #expect(attachment["mode"] as? String == "exclusive")
        #expect((attachment["holder"] as? String)?.contains("\(serve.processID)") == true)
        try await shell.tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 64k", uri)
        let extents = try await shell.json("volume", "map", "p/v")["extents"] as? [[String: Any]]
        #expect(extents?.first?["kind"] as? String == "data")
        try await shell.run("volume", "set-qos", "p/v", "--max-iops", "99")
        try await shell.run("volume", "resize", "p/v", "16M")
        #expect(try await shell.tool("nbdinfo", "--size", uri).output == "\(16 << 20)\n")
        try await shell.run("snapshot", "create", "p/v@one")
        try await shell.tool("qemu-io", "-f", "raw", "-c", "write -P 2 0 64k", uri)
        #expect(try await shell.json("volume", "info", "p/v")["snapshots"] as? [String] == ["one"])
        try await shell.run("snapshot", "create", "p/v@two")
        try await shell.run("snapshot", "delete", "p/v@two")
        let snapshots = try await shell.json("snapshot", "list", "p/v")["snapshots"] as? [[String: Any]]
        #expect(snapshots?.map { $0["name"] as? String } == ["one"])
        let busy = [
            ["volume", "delete", "p/v"], ["volume", "rename", "p/v", "w"], ["snapshot", "revert", "p/v@one"],
            ["volume", "check", "p/v"], ["volume", "check", "p/v", "--repair", "all"],
            ["volume", "export", "p/v", shell.path("image"), "--format", "raw"],
            ["volume", "copy", "p/v", "p/copy"], ["volume", "clone", "p/v", "p/copy"],
            ["volume", "migrate", "p/v", "q"], ["volume", "break-lock", "p/v"],
            ["volume", "flatten", "p/v"], ["pool", "remove", "p"],
            ["serve", "p/v", "--socket", shell.path("other.sock")], ["bench", "p/v", "--rw", "write", "--count", "1"],
        ]
        for arguments in busy {
            let result = try await shell.sluice(arguments)
            #expect(result.status == 1 && result.error.hasPrefix("error: busy: "), "\(arguments): \(result)")
            #expect(result.error.contains("pid \(serve.processID)"), "\(result)")
        }
        #expect(await serve.end(SIGTERM) == 0)
        try await shell.run("snapshot", "revert", "p/v@one")
        let path = try #require(try await shell.json("volume", "info", "p/v")["path"] as? String)
        try await shell.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 1 0 64k", path)
        try await shell.tool("qemu-img", "check", path)
    }

    @Test("A killed export leaves a volume that serves again, and is no export any more")
    func killed() async throws {
        let shell = try await shellWithVolume()
        let socket = shell.path("v.sock")
        let uri = "nbd+unix:///?socket=\(socket)"
        for round in 1...3 {
            let serve = try await ServeProcess(shell, "p/v", "--socket", socket)
            // Acknowledged but not flushed: nothing of it may be lost.
            try await shell.tool(
                "qemu-io", "-t", "writeback", "-f", "raw", "-c", "write -P \(round) \(round)M 1M", uri)
            #expect(await serve.end(SIGKILL) == -SIGKILL)
            #expect((try await shell.json("serve", "--list")["exports"] as? [Any])?.isEmpty == true)
        }
        let serve = try await ServeProcess(shell, "p/v", "--socket", socket)
        for round in 1...3 {
            try await shell.tool("qemu-io", "-r", "-f", "raw", "-c", "read -P \(round) \(round)M 1M", uri)
        }
        #expect(await serve.end(SIGTERM) == 0)
        try await shell.run("volume", "check", "p/v")
    }

    @Test("Snapshots and readers are served read-only, side by side")
    func readOnly() async throws {
        let shell = try await shellWithVolume()
        try await shell.run("snapshot", "create", "p/v@s")
        let first = try await ServeProcess(shell, "p/v", "--socket", shell.path("a"), "--read-only")
        let second = try await ServeProcess(shell, "p/v", "--socket", shell.path("b"), "--read-only")
        let snapshot = try await ServeProcess(shell, "p/v@s", "--socket", shell.path("c"))
        for name in ["a", "b", "c"] {
            let info = try await shell.tool("nbdinfo", "--json", "nbd+unix:///?socket=\(shell.path(name))")
            #expect(info.output.contains("\"is_read_only\": true"))
        }
        #expect((try await shell.json("serve", "--list")["exports"] as? [Any])?.count == 3)
        let arguments = try await shell.json("volume", "qemu", "p/v@s")["arguments"] as? [String]
        #expect(arguments?[1].contains("server.path=\(shell.path("c")),export=p/v@s") == true)
        #expect(arguments?[1].contains("read-only=on") == true)
        for serve in [first, second, snapshot] { #expect(await serve.end(SIGTERM) == 0) }
    }

    @Test("TCP is served on loopback, with the port that the system chose, and beyond it only when allowed")
    func tcp() async throws {
        let shell = try await shellWithVolume()
        let serve = try await ServeProcess(shell, "p/v", "--listen", "127.0.0.1:0", "--read-only")
        let address = try #require(serve.ready.firstMatch(of: /tcp:(127\.0\.0\.1:\d+)/)?.output.1)
        #expect(try await shell.tool("nbdinfo", "--size", "nbd://\(address)").output == "\(8 << 20)\n")
        #expect(await serve.end(SIGTERM) == 0)
        try await shell.fails("permissionDenied", "serve", "p/v", "--listen", "0.0.0.0:0")
        let insecure = try await ServeProcess(shell, "p/v", "--listen", "0.0.0.0:0", "--insecure")
        #expect(insecure.ready.hasPrefix("serving p/v on tcp:0.0.0.0:"))
        #expect(await insecure.end(SIGTERM) == 0)
    }

    @Test("QEMU attaches the export by the arguments that are printed")
    func qemuArguments() async throws {
        let shell = try await shellWithVolume()
        let serve = try await ServeProcess(shell, "p/v", "--socket", shell.path("v.sock"))
        let document = try await shell.json("volume", "qemu", "p/v")
        let arguments = try #require(document["arguments"] as? [String])
        let node = try #require(document["nodeName"] as? String)
        #expect(arguments[1].contains("reconnect-delay="))
        let options = arguments[1].replacing("node-name=\(node),", with: "")
        try await shell.tool("qemu-io", "--image-opts", options, "-c", "write -P 9 0 64k", "-c", "read -P 9 0 64k")
        #expect(try await shell.run("volume", "xml", "p/v", "--reconnect").output.contains("<reconnect delay="))
        #expect(await serve.end(SIGTERM) == 0)
    }
}

@Suite struct BenchCommandTests {
    @Test("The document has fio's layout", arguments: ["read", "write", "randread", "randwrite", "randrw"])
    func layout(pattern: String) async throws {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M")
        let document = try await shell.json(
            "bench", "p/v", "--rw", pattern, "--bs", "4k", "--iodepth", "8", "--count", "500", "--jobs", "2", "--sync")
        let jobs = try #require(document["jobs"] as? [[String: Any]])
        #expect(jobs.count == 2)
        for job in jobs {
            let read = try #require(job["read"] as? [String: Any])
            let write = try #require(job["write"] as? [String: Any])
            let total = (read["total_ios"] as? Int ?? 0) + (write["total_ios"] as? Int ?? 0)
            #expect(total == 500)
            for side in [read, write] where side["total_ios"] as? Int != 0 {
                #expect((side["iops"] as? Double ?? 0) > 0 && (side["bw"] as? Int ?? 0) > 0)
                let latency = try #require(side["clat_ns"] as? [String: Any])
                let percentiles = try #require(latency["percentile"] as? [String: Any])
                #expect(percentiles["99.000000"] is Int && percentiles["50.000000"] is Int)
                #expect((latency["mean"] as? Double ?? 0) > 0)
            }
            #expect(job["usr_cpu"] is NSNumber && job["sys_cpu"] is NSNumber && job["job_runtime"] is Int)
        }
        try await shell.run("volume", "check", "p/v")
    }

    @Test("Direct I/O and rates work on both formats", arguments: ["qcow2", "raw"])
    func direct(format: String) async throws {
        let shell = try await TestShell.withPool()
        try await shell.run("volume", "create", "p/v", "--size", "8M", "--format", format)
        for pattern in ["write", "read"] {
            let text = try await shell.run(
                "bench", "p/v", "--rw", pattern, "--bs", "64k", "--iodepth", "4", "--runtime", "0.2", "--direct",
                "--rate-iops", "500")
            #expect(text.output.contains("IOPS"))
        }
        try await shell.run("volume", "check", "p/v")
    }
}
