import ArgumentParser
import BlockStorage
import Foundation
import Logging
import Metrics
import Sluice

/// Options that every command takes, before or after its name.
struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Directory of the catalog and the secrets; SLUICE_HOME otherwise.", valueName: "dir"))
    var home: String?

    @Option(help: "trace, debug, info, notice, warning, error or critical, to standard error.")
    var logLevel: Logger.Level = .warning

    @Flag(help: "Print one JSON document, and nothing else, on standard output.")
    var json = false
}

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// What a command works with: the host's storage and the way to print.
struct CommandContext: Sendable {
    let host: StorageHost
    let isJSON: Bool
    /// Where the numbers go, for a command that shows them.
    let metrics: PrometheusMetrics?

    init(_ options: GlobalOptions, measures: Bool = false) async throws(StorageError) {
        LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
        var logger = Logger(label: "sluice")
        logger.logLevel = options.logLevel
        let metrics = measures ? PrometheusMetrics() : nil
        if let metrics { MetricsSystem.bootstrap(metrics) }
        self.metrics = metrics
        host = try await StorageHost.open(home: options.home ?? StorageHome.defaultPath, logger: logger)
        isJSON = options.json
    }

    /// Prints the document for scripts or the text for people, and says that all went well.
    @discardableResult
    func print(_ json: @autoclosure () -> JSON, _ text: @autoclosure () -> String) -> ExitCode {
        let output = isJSON ? json().description : text()
        if !output.isEmpty { Terminal.write(output + "\n") }
        return .success
    }
}
