import ArgumentParser

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
