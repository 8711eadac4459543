import ArgumentParser
import BlockStorage
import Foundation
import Sluice
import SystemPackage

/// `sluice`, the command line of the storage host.
@main
struct SluiceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluice",
        abstract: "Storage pools, volumes, snapshots and exports of a KVM host.",
        discussion: """
            A volume is written POOL/NAME and a snapshot POOL/NAME@SNAPSHOT; sizes take 4k, 64M, 10G (binary). \
            Options of all commands (--home, --json, --log-level) may stand before or after the command.

            Example:
              sluice pool add fast dir:///srv/fast
              sluice template import fast/debian debian.qcow2 --format qcow2
              sluice volume clone fast/debian fast/web
              sluice serve fast/web --socket /run/web.sock
            """,
        version: "0.1.0",
        subcommands: [
            PoolCommand.self, TemplateCommand.self, VolumeCommand.self, SnapshotCommand.self, ServeCommand.self,
            ConformanceCommand.self, BenchCommand.self, QoSCommand.self, CompletionCommand.self,
        ])

    @OptionGroup var global: GlobalOptions

    static func main() async {
        // A reader or client that goes away is an error of one write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let arguments = Array(CommandLine.arguments.dropFirst())
        let code = await run(arguments)
        // Not by `exit`: what that takes apart other threads may be using still.
        fflush(nil)
        _exit(code)
    }

    /// Runs a command line and returns its exit code: 0 done, 1 failed, 64 wrong usage, or what the command says.
    private static func run(_ arguments: [String]) async -> Int32 {
        do {
            let command = try parseAsRoot(arguments)
            if let command = command as? any HostCommand {
                let context = try await CommandContext(command.global, measures: command.showsMetrics)
                return try await command.run(context).rawValue
            }
            if let command = command as? any OfflineCommand { return try command.run().rawValue }
            guard type(of: command).configuration.subcommands.isEmpty else {
                return reportMissingSubcommand(of: type(of: command), arguments)
            }
            var other = command
            try other.run()
            return 0
        } catch let error as StorageError {
            report("\(error)")
            return 1
        } catch {
            return finish(error, arguments)
        }
    }

    /// Says what is wrong with a group of commands alone, and what there is in it.
    private static func reportMissingSubcommand(of group: any ParsableCommand.Type, _ arguments: [String]) -> Int32 {
        reportUsage("missing subcommand", arguments)
        Terminal.write("\n\(helpMessage(for: group))\n", to: .standardError)
        return ExitCode.validationFailure.rawValue
    }

    /// Prints the help that was asked for, or what is wrong with the command line.
    private static func finish(_ error: any Error, _ arguments: [String]) -> Int32 {
        let code = exitCode(for: error)
        guard !code.isSuccess else {
            Terminal.write(fullMessage(for: error) + "\n")
            return 0
        }
        guard code == .validationFailure else {
            report("\(StorageError(.internalError, "run command", why: message(for: error)))")
            return 1
        }
        reportUsage(message(for: error).split(separator: "\n").joined(separator: " "), arguments)
        return code.rawValue
    }

    private static func reportUsage(_ reason: String, _ arguments: [String]) {
        let command = (["sluice"] + commandPath(arguments)).joined(separator: " ")
        report("\(StorageError(.invalidArgument, "command line", why: "\(reason) (see '\(command) --help')"))")
    }

    /// The names of the commands in the arguments: what the help is asked of.
    private static func commandPath(_ arguments: [String]) -> [String] {
        var path: [String] = []
        var candidates = configuration.subcommands
        for argument in arguments {
            guard let found = candidates.first(where: { $0._commandName == argument }) else { continue }
            path.append(argument)
            candidates = found.configuration.subcommands
        }
        return path
    }

    private static func report(_ error: String) {
        Terminal.write("error: \(error)\n", to: .standardError)
    }
}

/// A command that works on the host's storage.
protocol HostCommand: ParsableCommand {
    var global: GlobalOptions { get }
    /// Whether it shows what is measured.
    var showsMetrics: Bool { get }
    /// Does the work and returns the exit code.
    func run(_ context: CommandContext) async throws -> ExitCode
}

/// A command that needs nothing of the host's.
protocol OfflineCommand: ParsableCommand {
    var global: GlobalOptions { get }
    /// Does the work and returns the exit code.
    func run() throws -> ExitCode
}

extension HostCommand {
    var showsMetrics: Bool { false }
}
