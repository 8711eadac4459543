import BlockStorage
import Foundation
import IORuntime
import Logging
import NBDExport
import SystemPackage
import Testing

/// The clients that others wrote, run as processes against a server in this one.
@Suite("Other programs' NBD clients", .timeLimit(.minutes(30)))
struct NBDToolsTests {
    /// A directory with a served volume, removed afterwards.
    private struct Served {
        let directory: URL
        let server: NBDServer
        let volume: any Volume

        var socket: String { directory.appending(path: "socket").path }
        var uri: String { "nbd+unix:///?socket=\(socket)" }

        func uri(_ export: String) -> String { "nbd+unix:///\(export)?socket=\(socket)" }
        func path(_ name: String) -> String { directory.appending(path: name).path }
    }

    private func serve(
        _ makeVolume: (URL) async throws -> any Volume = { _ in MemoryVolume(size: 32 << 20) },
        _ body: (Served) async throws -> Void
    ) async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "sluice-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        let volume = try await makeVolume(directory)
        let server = NBDServer(
            exports: [
                try .init(name: "disk", description: "a test disk", volume: volume),
                try .init(name: "snapshot", volume: volume, isReadOnly: true),
            ], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let served = Served(directory: directory, server: server, volume: volume)
        try await server.listen(on: .unix(path: served.socket))
        do {
            try await body(served)
        } catch {
            try? await server.stop()
            throw error
        }
        try await server.stop()
        try await volume.close()
    }

    /// A file of `size` bytes with data in some places and holes in the others, and its contents.
    private func makeSparseFile(_ path: String, size: Int, seed: UInt64) throws -> Data {
        var random = SeededGenerator(seed: seed)
        var contents = Data(count: size)
        try #require(FileManager.default.createFile(atPath: path, contents: nil))
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.truncate(atOffset: UInt64(size))
        for start in stride(from: 0, to: size, by: 1 << 20) where Bool.random(using: &random) {
            let count = min(size - start, Int.random(in: 1...1 << 20, using: &random))
            let data = Data((0..<count / 8 + 1).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } })
                .prefix(count)
            contents.replaceSubrange(start..<start + count, with: data)
            try file.seek(toOffset: UInt64(start))
            try file.write(contentsOf: data)
        }
        try file.close()
        return contents
    }

    private func makeFileVolume(_ directory: URL) async throws -> any Volume {
        let path = directory.appending(path: "volume").path
        try #require(FileManager.default.createFile(atPath: path, contents: nil))
        let volume = try await FileVolume.open(FilePath(path))
        try await volume.resize(to: 32 << 20)
        return volume
    }

    @Test("nbdinfo sees the exports, what they can do, and their block sizes")
    func information() async throws {
        try await serve { served in
            let text = try await QEMU.run("nbdinfo", ["--json", served.uri])
            let document = try #require(
                try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
            #expect(document["protocol"] as? String == "newstyle-fixed")
            #expect(document["structured"] as? Bool == true)
            let export = try #require((document["exports"] as? [[String: Any]])?.first)
            #expect(export["export-name"] as? String == "disk")
            #expect(export["description"] as? String == "a test disk")
            #expect(export["export-size"] as? Int == 32 << 20)
            #expect(export["contexts"] as? [String] == ["base:allocation"])
            for flag in [
                "can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim",
                "can_zero",
            ] {
                #expect(export[flag] as? Bool == true, "\(flag)")
            }
            #expect(export["is_read_only"] as? Bool == false)
            #expect(export["block_size_minimum"] as? Int == 1)
            #expect(export["block_size_maximum"] as? Int == 32 << 20)

            let list = try await QEMU.run("nbdinfo", ["--list", served.uri])
            #expect(list.contains("export=\"disk\":") && list.contains("export=\"snapshot\":"))
            try await QEMU.run("nbdinfo", ["--is", "read-only", served.uri("snapshot")])
            try await QEMU.run("nbdinfo", ["--can", "multi-conn", served.uri("snapshot")])
            #expect(try await QEMU.tryRun("nbdinfo", [served.uri("nobody")]).status != 0)
        }
    }

    @Test("nbdinfo --map and qemu-img map show data and holes where they are")
    func map() async throws {
        try await serve { served in
            let data = [UInt8](repeating: 7, count: 1 << 20)
            try await served.volume.write(data.span.bytes, at: 1 << 20)
            try await served.volume.write(data.span.bytes, at: 8 << 20)
            let text = try await QEMU.run("nbdinfo", ["--map", "--json", served.uri])
            let map = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
            #expect(map.map { $0["offset"] as? Int } == [0, 1 << 20, 2 << 20, 8 << 20, 9 << 20])
            #expect(map.map { $0["type"] as? Int } == [3, 0, 3, 0, 3])

            let qemu = try await QEMU.run("qemu-img", ["map", "-f", "raw", "--output=json", served.uri])
            let extents = try #require(try JSONSerialization.jsonObject(with: Data(qemu.utf8)) as? [[String: Any]])
            #expect(extents.map { $0["start"] as? Int } == [0, 1 << 20, 2 << 20, 8 << 20, 9 << 20])
            #expect(extents.map { $0["zero"] as? Bool } == [true, false, true, false, true])
            #expect(extents.map { $0["data"] as? Bool } == [false, true, false, true, false])
        }
    }

    @Test("nbdcopy copies both ways, over several connections, and keeps holes", arguments: [1, 4])
    func copy(connections: Int) async throws {
        try await serve(makeFileVolume) { served in
            let contents = try makeSparseFile(served.path("source"), size: 32 << 20, seed: UInt64(connections))
            let options = ["--connections=\(connections)", "--requests=64"]
            try await QEMU.run("nbdcopy", options + ["--flush", served.path("source"), served.uri])
            try await QEMU.run("nbdcopy", options + [served.uri, served.path("copy")])
            #expect(try Data(contentsOf: URL(fileURLWithPath: served.path("copy"))) == contents)
            let copied = try FileStatus(at: FilePath(served.path("copy")))
            #expect(copied.allocatedSize < 32 << 20)
        }
    }

    @Test("qemu-img converts into and out of an export, and compares equal")
    func convert() async throws {
        try await serve(makeFileVolume) { served in
            _ = try makeSparseFile(served.path("source"), size: 32 << 20, seed: 3)
            try await QEMU.img(
                "convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "16", served.path("source"), served.uri)
            try await QEMU.img("compare", "-f", "raw", "-F", "raw", served.path("source"), served.uri)
            try await QEMU.img("convert", "-f", "raw", "-O", "qcow2", served.uri, served.path("copy.qcow2"))
            try await QEMU.img("compare", "-f", "raw", "-F", "qcow2", served.uri, served.path("copy.qcow2"))
        }
    }

    @Test("qemu-io reads and writes with every flag, aligned and not")
    func qemuIO() async throws {
        try await serve(makeFileVolume) { served in
            let commands = [
                "write -P 1 0 1M", "write -P 2 -f 1000 3000", "read -P 1 0 1000", "read -P 2 1000 3000",
                "read -P 1 4000 1000", "write -z 64k 64k", "read -P 0 64k 64k", "write -z -u 128k 64k",
                "read -P 0 128k 64k", "write -P 3 8M 16M", "read -P 3 8M 16M", "discard 9M 1M", "flush",
                "aio_write -P 4 2M 64k", "aio_write -P 5 3M 64k", "aio_read 2M 64k", "aio_flush",
                "read -P 4 2M 64k", "read -P 5 3M 64k", "read -P 0 31M 1M",
            ]
            let text = try await QEMU.run(
                "qemu-io", ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [served.uri])
            #expect(!text.contains("failed") && !text.contains("error"), "\(text)")
            let past = try await QEMU.tryRun("qemu-io", ["-f", "raw", "-c", "write 31M 2M", served.uri])
            #expect(past.status != 0 || past.output.contains("failed") || past.errors.contains("failed"))
        }
    }

    @Test("a read-only export refuses qemu-io's writes and serves its reads")
    func readOnly() async throws {
        try await serve { served in
            #expect(
                try await QEMU.tryRun("qemu-io", ["-f", "raw", "-c", "write 0 4k", served.uri("snapshot")]).status != 0)
            let text = try await QEMU.run(
                "qemu-io", ["-r", "-f", "raw", "-c", "read -P 0 0 1M", served.uri("snapshot")])
            #expect(!text.contains("failed"))
        }
    }

    @Test("fio verifies checksums at depth 32", arguments: ["4k", "512-256k"])
    func fio(blockSizes: String) async throws {
        try await serve(makeFileVolume) { served in
            let text = try await QEMU.run(
                "fio",
                [
                    "--name=verify", "--ioengine=nbd", "--uri=\(served.uri)", "--rw=randwrite",
                    "--bsrange=\(blockSizes.contains("-") ? blockSizes : "\(blockSizes)-\(blockSizes)")",
                    "--bs_unaligned=1", "--iodepth=32", "--size=32M", "--verify=crc32c", "--do_verify=1",
                    "--verify_fatal=1", "--verify_state_save=0", "--fsync=64", "--randrepeat=1",
                    "--output=\(served.path("fio.txt"))",
                ])
            #expect(!text.contains("verify:"))
            let report = try String(contentsOfFile: served.path("fio.txt"), encoding: .utf8)
            #expect(report.contains("err= 0"), "\(report)")
            #expect(served.server.statistics.errors == 0)
        }
    }

    @Test("clients reach an export by TCP too")
    func tcp() async throws {
        try await serve { served in
            guard case .tcp(_, let port) = try await served.server.listen(on: .tcp(host: "127.0.0.1", port: 0)) else {
                return
            }
            let contents = try makeSparseFile(served.path("source"), size: 32 << 20, seed: 9)
            try await QEMU.run("nbdcopy", [served.path("source"), "nbd://127.0.0.1:\(port)/disk"])
            try await QEMU.run("nbdcopy", ["nbd://127.0.0.1:\(port)/snapshot", served.path("copy")])
            #expect(try Data(contentsOf: URL(fileURLWithPath: served.path("copy"))) == contents)
        }
    }
}
