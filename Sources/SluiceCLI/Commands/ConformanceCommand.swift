import ArgumentParser
import BlockStorage
import Sluice
import StorageConformance
import SystemPackage

struct ConformanceCommand: HostCommand {
    static let configuration = CommandConfiguration(
        commandName: "conformance", abstract: "Run the conformance suite against a pool.",
        discussion: """
            Only volumes that the tests make are touched, and they are removed. The exit code is 1 when a test fails. \
            The tests of admission expect that nothing else comes or goes in the pool meanwhile.

            Example: sluice conformance fast
            Example: sluice conformance fast --only data --only snapshots
            """)

    @OptionGroup var global: GlobalOptions
    @Argument(help: "The pool.")
    var pool: String
    @Flag(help: "List the tests instead of running them.")
    var list = false
    @Option(help: ArgumentHelp("A test, or a group of them; repeat it.", valueName: "name"))
    var only: [String] = []

    func run(_ context: CommandContext) async throws -> ExitCode {
        var options = PoolConformance.Options()
        options.limited = { (limits) async throws(StorageError) in
            try await context.host.pool(pool, limits: limits)
        }
        let suite = PoolConformance(try await context.host.pool(pool), options: options)
        if list {
            var table = TextTable(.text("TEST"), .text("PROMISE"))
            for test in suite.list { table.add(test.name, test.summary) }
            let tests = suite.list.map { test -> JSON in
                [
                    "name": .string(test.name), "summary": .string(test.summary),
                    "needs": .array(test.needs.map { .string($0.rawValue) }),
                ]
            }
            return context.print(["tests": .array(tests)], table.text(width: Terminal.width))
        }
        let results = try await suite.run(only: only) { result in
            if Terminal.isErrorTerminal, !context.isJSON {
                Terminal.write("\r\u{1B}[K\(result.name): \(result.outcome.rawValue)", to: .standardError)
            }
        }
        if Terminal.isErrorTerminal, !context.isJSON { Terminal.write("\r\u{1B}[K", to: .standardError) }
        context.print(["results": .array(results.map(\.json))], text(results))
        return results.contains { $0.outcome == .failed } ? .failure : .success
    }

    private func text(_ results: [ConformanceResult]) -> String {
        var table = TextTable(.text("TEST"), .text("OUTCOME"), .text("REASON"))
        for result in results {
            let outcome = result.outcome == .notCapable ? "not capable" : result.outcome.rawValue
            table.add(result.name, outcome, result.reason ?? "")
        }
        func count(_ outcome: ConformanceResult.Outcome) -> Int { results.count { $0.outcome == outcome } }
        return table.text(width: Terminal.width)
            + "\n\(count(.passed)) passed, \(count(.failed)) failed, \(count(.notCapable)) not capable"
    }
}

extension ConformanceResult {
    fileprivate var json: JSON {
        ["name": .string(name), "outcome": .string(outcome.rawValue), "reason": JSON(reason)]
    }
}
