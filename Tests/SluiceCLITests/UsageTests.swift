import ArgumentParser
import Foundation
import Testing

@testable import SluiceCLI

@Suite struct UsageTests {
    @Test(
        "Wrong usage exits with 64 and one line that names the help",
        arguments: [
            ["nonsense"], ["pool", "add"], ["pool", "add", "x"], ["pool", "info"], ["pool", "list", "extra"],
            ["--json", "volume", "create", "p/v"], ["volume", "create", "p/v", "--size", "x"],
            ["volume", "create", "p/v", "--size", "-1"], ["volume", "create", "p/v", "--size", "1.5G"],
            ["volume", "create", "p/v", "--size", "99999999999999999999999G"],
            ["volume", "create", "p/v", "--size", "1G", "--format", "vmdk"],
            ["volume", "create", "p/v", "--size", "1G", "--provisioning", "thick"],
            ["volume", "create", "p/v", "--size", "1G", "--min-iops", "-5"],
            ["volume", "create", "p/v", "--size", "1G", "--max-iops", "18446744073709551616"],
            ["volume", "info", "nopool"], ["volume", "info", "p/"], ["volume", "info", "../../etc/passwd"],
            ["volume", "info", "p/.sluice"],
            ["volume", "info", "p/\u{1}"], ["volume", "info", "p/v@"], ["volume", "set-qos", "p/v"],
            ["volume", "delete", "p/v", "--policy", "purge"], ["volume", "check", "p/v", "--repair", "some"],
            ["template", "import", "p/t", "/etc/hostname", "--format", "raw", "--checksum", "sha256:zz"],
            ["template", "import", "p/t", "/etc/hostname", "--format", "raw", "--checksum", "crc32:00"],
            ["serve"], ["serve", "p/v"], ["serve", "p/v", "--listen", "x"], ["serve", "p/v", "--listen", "h:99999"],
            ["serve", "--list", "p/v"], ["serve", "p/v", "--socket", ""],
            ["bench", "p/v"], ["bench", "p/v", "--rw", "chaos"], ["bench", "p/v", "--rw", "read", "--runtime", "nan"],
            ["bench", "p/v", "--rw", "read", "--runtime", "-1"], ["bench", "p/v", "--rw", "read", "--iodepth", "1e9"],
            ["completion", "tcsh"], ["--log-level", "loud", "pool", "list"], ["pool", "list", "--home"],
        ])
    func wrongUsage(arguments: [String]) async throws {
        let shell = try TestShell()
        let result = try await shell.sluice(arguments)
        #expect(result.status == 64 && !result.wasKilled, "\(result)")
        #expect(result.output.isEmpty)
        #expect(result.error.hasPrefix("error: invalidArgument: command line, "))
        #expect(result.error.hasSuffix("--help')\n") && result.error.count { $0 == "\n" } == 1, "\(result.error)")
    }

    @Test(
        "A group of commands alone is wrong usage, and shows the group's help on standard error",
        arguments: [
            [], ["--json"], ["pool"], ["template"], ["volume"], ["snapshot"], ["qos"], ["--json", "volume"],
            ["volume", "--json"],
        ])
    func missingSubcommand(arguments: [String]) async throws {
        let result = try await TestShell().sluice(arguments)
        #expect(result.status == 64 && result.output.isEmpty, "\(result)")
        #expect(result.error.hasPrefix("error: invalidArgument: command line, missing subcommand (see 'sluice"))
        #expect(result.error.contains("SUBCOMMANDS:"))
    }

    @Test("Options of all commands may stand anywhere")
    func globalOptions() async throws {
        let shell = try TestShell()
        let places = [
            ["--json", "--home", shell.path("h"), "pool", "list"],
            ["pool", "--json", "list", "--home", shell.path("h")],
            ["pool", "list", "--home=\(shell.path("h"))", "--json", "--log-level", "error"],
        ]
        for arguments in places {
            let result = try await shell.sluice(arguments)
            #expect(result.status == 0, "\(result)")
            #expect(try result.json()["pools"] as? [String] == [])
        }
        #expect(FileManager.default.fileExists(atPath: shell.path("h/catalog.sqlite")))
        #expect(!FileManager.default.fileExists(atPath: shell.home))
    }

    @Test("Every command has a help with an example")
    func help() async throws {
        let shell = try TestShell()
        var commands: [[String]] = [[]]
        func collect(_ type: any ParsableCommand.Type, _ path: [String]) {
            for child in type.configuration.subcommands {
                commands.append(path + [child._commandName])
                collect(child, path + [child._commandName])
            }
        }
        collect(SluiceCommand.self, [])
        #expect(commands.count > 35)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for command in commands {
                group.addTask {
                    let result = try await shell.sluice(command + ["--help"])
                    #expect(result.status == 0 && result.error.isEmpty)
                    #expect(
                        result.output.contains("Example:"), "\(command)")
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("Completion scripts come for three shells", arguments: ["bash", "zsh", "fish"])
    func completion(shell name: String) async throws {
        let shell = try TestShell()
        let result = try await shell.run("completion", name)
        #expect(result.output.contains("sluice") && result.output.contains("set-qos"))
    }

    @Test("Help, completions and wrong usage leave no home behind")
    func noSideEffects() async throws {
        let shell = try TestShell()
        for arguments in [["--help"], ["volume", "--help"], ["completion", "bash"], ["nonsense"], ["--version"]] {
            _ = try await shell.sluice(arguments)
        }
        #expect(!FileManager.default.fileExists(atPath: shell.home))
    }
}
