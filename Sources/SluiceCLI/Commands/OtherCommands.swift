import ArgumentParser
import BlockStorage
import Sluice

struct QoSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qos", abstract: "Predict what QoS policies do.",
        discussion: "Example: sluice qos simulate noisy.yaml --output report", subcommands: [Simulate.self])

    struct Simulate: HostCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run a scenario through the scheduler and write a report.",
            discussion: "Example: sluice qos simulate noisy.yaml --output report")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The scenario, YAML.", completion: .file())
        var scenario: String
        @Option(help: ArgumentHelp("Where report.json, report.csv and report.html go.", valueName: "dir"))
        var output: String

        func run(_ context: CommandContext) async throws -> ExitCode {
            throw StorageError(
                .notSupported, "simulate QoS", at: scenario, why: "this version of sluice has no simulator")
        }
    }
}

struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", abstract: "Print a shell's completion script.",
        discussion: "Example: sluice completion bash > /etc/bash_completion.d/sluice")

    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash, zsh, fish
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() {
        let script =
            switch shell {
            case .bash: SluiceCommand.completionScript(for: .bash)
            case .zsh: SluiceCommand.completionScript(for: .zsh)
            case .fish: SluiceCommand.completionScript(for: .fish)
            }
        Terminal.write(script + "\n")
    }
}
