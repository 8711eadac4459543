import Foundation
import Testing

/// The example agent in Snippets/ is what people copy: it must work, and stay short.
@Suite struct AgentTests {
    @Test("The example agent adds pools, imports, clones, attaches, snapshots, migrates and handles errors")
    func agent() async throws {
        let shell = try TestShell()
        let image = shell.path("image.qcow2")
        try await shell.tool("qemu-img", "create", "-q", "-f", "qcow2", image, "64M")
        try await shell.tool("qemu-io", "-f", "qcow2", "-c", "write -q -P 0x11 32M 1M", image)
        let program = URL(filePath: TestShell.sluicePath).deletingLastPathComponent().appending(path: "Agent").path
        let result = try await shell.execute(program, [shell.directory, image])
        #expect(result.status == 0, "\(result)")
        let lines = result.output.split(separator: "\n").map(String.init)
        let progress = ["reading", "unpacking", "copying", "verifying"]
        let told = lines.filter { line in !progress.contains { line.hasPrefix("\($0): ") } }
        #expect(
            told == [
                "pools: fast (dir), slow (dir)", "imported: fast/debian",
                "attached: throttled(qcow2(file:\(shell.directory)/fast/web, "
                    + "backing qcow2(file:\(shell.directory)/fast/debian)))",
                "read: \"\"", "attempt 1: busy (may be retried)", "attempt 2: notSupported (will not help to retry)",
                "moved: slow/web template: fast/debian maximum: 5000", "read: \"Hello, disk!\"",
            ])
        // Nothing is left in use, and nothing half done.
        let run = try FileManager.default.contentsOfDirectory(atPath: shell.home + "/run")
        #expect(run.isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: shell.path("fast")).contains("web") == false)
    }

    @Test("The example agent has under 100 lines")
    func length() throws {
        let package = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        let source = try String(contentsOf: package.appending(path: "Snippets/Agent.swift"), encoding: .utf8)
        #expect(source.split(separator: "\n", omittingEmptySubsequences: false).count < 100)
    }
}
