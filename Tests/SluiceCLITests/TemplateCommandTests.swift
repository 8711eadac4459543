import Foundation
import Testing

@Suite struct TemplateCommandTests {
    /// A shell with the pool `p` and `disk.qcow2`, of 4 MiB, with data from 1 to 2 MiB.
    private func shellWithImage() async throws -> TestShell {
        let shell = try await TestShell.withPool()
        let image = shell.path("disk.qcow2")
        try await shell.tool("qemu-img", "create", "-f", "qcow2", image, "4M")
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 1M", image)
        return shell
    }

    private func sum(_ algorithm: String, _ path: String, _ shell: TestShell) async throws -> String {
        let digits = try await shell.tool("\(algorithm)sum", path).output.prefix { $0 != " " }
        return "\(algorithm):\(digits)"
    }

    @Test("A template is imported once, cloned, kept while it has clones, and deleted")
    func lifeCycle() async throws {
        let shell = try await shellWithImage()
        let image = shell.path("disk.qcow2")
        let checksum = try await sum("sha256", image, shell)
        var made = try await shell.json(
            "template", "import", "p/t", image, "--format", "qcow2", "--checksum", checksum)
        #expect(
            Set(made.keys) == [
                "pool", "name", "path", "format", "virtualSize", "allocatedSize", "checksum", "wasThere",
                "elapsedMicroseconds", "locations", "changes",
            ])
        #expect(made["wasThere"] as? Bool == false && made["checksum"] as? String == checksum)
        made = try await shell.json("template", "import", "p/t", image, "--format", "qcow2", "--checksum", checksum)
        #expect(made["wasThere"] as? Bool == true)
        made = try await shell.json("template", "import", "p/t", "file://" + image, "--format", "qcow2")
        #expect(made["wasThere"] as? Bool == true)

        let templates = try #require(try await shell.json("template", "list", "p")["volumes"] as? [[String: Any]])
        #expect(templates.map { $0["name"] as? String } == ["t"])
        #expect(Set(templates[0].keys) == ["name", "format", "virtualSize", "allocatedSize", "managed", "template"])
        #expect(try await shell.run("template", "list", "p").output.contains("4.0 MiB"))
        #expect((try await shell.json("volume", "list", "p")["volumes"] as? [Any])?.isEmpty == true)

        let clone = try await shell.json("volume", "clone", "p/t", "p/c")
        #expect(clone["template"] as? String == "p/t")
        let path = try #require(clone["path"] as? String)
        try await shell.tool("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 5 1M 1M", path)
        #expect(try await shell.fails("busy", "template", "delete", "p/t").error.contains(": c\n"))
        try await shell.fails("invalidArgument", "template", "delete", "p/c")
        try await shell.fails("invalidArgument", "volume", "delete", "p/t")
        try await shell.run("volume", "delete", "p/c")
        for _ in 0..<2 { try await shell.run("template", "delete", "p/t") }
        #expect(try await shell.run("template", "list", "p").output == "no template in p\n")
    }

    @Test("A template that was deleted is imported anew, with the checksum that is remembered")
    func deletedAndImportedAgain() async throws {
        let shell = try await shellWithImage()
        let image = shell.path("disk.qcow2")
        let checksum = try await sum("md5", image, shell)
        for _ in 0..<2 {
            let made = try await shell.json(
                "template", "import", "p/t", image, "--format", "qcow2", "--checksum", checksum)
            #expect(made["wasThere"] as? Bool == false)
            try await shell.run("template", "delete", "p/t")
        }
    }

    @Test("Packed files are unpacked after their checksum was compared")
    func packed() async throws {
        let shell = try await shellWithImage()
        try await shell.tool("qemu-img", "convert", "-O", "raw", shell.path("disk.qcow2"), shell.path("disk.raw"))
        try await shell.tool("xz", "--keep", "-1", shell.path("disk.raw"))
        let packed = shell.path("disk.raw.xz")
        try await shell.run(
            "template", "import", "p/t", packed, "--format", "raw", "--checksum", try await sum("sha1", packed, shell))
        let info = try await shell.json("volume", "info", "p/t")
        let path = try #require(info["path"] as? String)
        try await shell.tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", shell.path("disk.raw"), path)
    }

    @Test("What must not become a template is refused with its reason, and leaves nothing behind")
    func refused() async throws {
        let shell = try await shellWithImage()
        let image = shell.path("disk.qcow2")
        try await shell.tool("qemu-img", "create", "-f", "qcow2", "-b", image, "-F", "qcow2", shell.path("overlay"))
        for name in ["text", "text.meta4"] { try Data("text".utf8).write(to: URL(filePath: shell.path(name))) }
        let zeros = "sha256:" + String(repeating: "0", count: 64)
        let before = try FileManager.default.subpathsOfDirectory(atPath: shell.poolPath)
        let refusals: [(String, [String])] = [
            ("unsafeImage", [image, "--format", "raw"]), ("unsafeImage", [shell.path("overlay"), "--format", "qcow2"]),
            ("unsafeImage", [shell.path("text"), "--format", "qcow2"]),
            ("unsafeImage", [shell.path("text"), "--format", "raw"]),
            ("checksumMismatch", [image, "--format", "qcow2", "--checksum", zeros]),
            ("notFound", [shell.path("missing"), "--format", "raw"]),
            ("invalidArgument", ["file://elsewhere/disk", "--format", "raw"]),
            ("invalidArgument", ["", "--format", "raw"]),
            ("connectionLost", ["https://user:password@127.0.0.1:1/disk", "--format", "raw", "--attempts", "1"]),
            ("invalidArgument", ["https://user:pass word@host/disk?password", "--format", "raw"]),
            ("notSupported", ["nfs://host/disk", "--format", "raw"]),
            ("notFound", [shell.path("disk.meta4"), "--format", "raw"]),
            ("corrupt", [shell.path("text.meta4"), "--format", "raw"]),
        ]
        for (code, arguments) in refusals {
            let result = try await shell.sluice(["template", "import", "p/t"] + arguments)
            #expect(result.status == 1 && result.error.hasPrefix("error: \(code): "), "\(arguments): \(result)")
            #expect(result.error.count { $0 == "\n" } == 1 && !result.error.contains("password"))
        }
        #expect(try FileManager.default.subpathsOfDirectory(atPath: shell.poolPath) == before)
        try await shell.fails(
            "invalidArgument", status: 64, "template", "import", "p/t", image, "--format", "qcow2", "--checksum", "x")
        try await shell.run("volume", "create", "p/lazy", "--size", "4M", "--lazy")
        for name in ["p/lazy"] {
            try await shell.fails("alreadyExists", "template", "import", name, image, "--format", "qcow2")
            try await shell.fails("alreadyExists", "volume", "import", name, image, "--format", "qcow2")
        }
        try await shell.run("template", "import", "p/t", image, "--format", "qcow2")
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -P 6 2M 64k", image)
        try await shell.fails("alreadyExists", "template", "import", "p/t", image, "--format", "qcow2")
    }

    @Test("Volumes come from image files and go to image files")
    func images() async throws {
        let shell = try await shellWithImage()
        let image = shell.path("disk.qcow2")
        for format in ["raw", "qcow"] {
            try await shell.tool("qemu-img", "convert", "-O", format, image, shell.path("disk.\(format)"))
        }
        for format in ["raw", "qcow", "qcow2"] {
            let made = try await shell.json(
                "volume", "import", "p/\(format)", shell.path("disk.\(format)"), "--format", format)
            let path = try #require(made["path"] as? String)
            try await shell.tool("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", image, path)
        }
        // Again is the same volume, while the file holds the same.
        try await shell.run("volume", "import", "p/raw", image, "--format", "qcow2")
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -P 6 2M 64k", image)
        try await shell.fails("alreadyExists", "volume", "import", "p/raw", image, "--format", "qcow2")
        try await shell.run("volume", "export", "p/raw", shell.path("again"), "--format", "qcow2")
        try FileManager.default.removeItem(atPath: image)
        try FileManager.default.moveItem(atPath: shell.path("again"), toPath: image)
        try await shell.tool("qemu-img", "create", "-f", "qcow2", "-b", image, "-F", "qcow2", shell.path("overlay"))
        try await shell.fails("unsafeImage", "volume", "import", "p/w", shell.path("overlay"), "--format", "qcow2")

        for (name, options) in [("a", ["raw"]), ("b", ["qcow2"]), ("c", ["qcow2", "--compress"])] {
            let export = ["volume", "export", "p/raw", shell.path(name), "--format"] + options
            #expect(try await shell.sluice(export).status == 0)
            try await shell.tool("qemu-img", "compare", "-f", "qcow2", "-F", options[0], image, shell.path(name))
            let again = try await shell.sluice(export)
            #expect(again.status == 1 && again.error.hasPrefix("error: alreadyExists: "))
        }
        try await shell.fails(
            "invalidArgument", status: 64, "volume", "export", "p/raw", shell.path("d"), "--format", "raw", "--compress"
        )
        #expect(!FileManager.default.fileExists(atPath: shell.path("d")))
    }
}
