import ArgumentParser
import BlockStorage
import Foundation
import QoSSimulator
import SystemPackage

struct QoSCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qos", abstract: "Predict what QoS policies do.",
        discussion: "Example: sluice qos simulate noisy.yaml --output report", subcommands: [Simulate.self])

    struct Simulate: OfflineCommand {
        static let configuration = CommandConfiguration(
            commandName: "simulate", abstract: "Run a scenario through the scheduler and write a report.",
            discussion: """
                A scenario is a cluster, volumes with policies and workloads, and what happens to them, in YAML. It is \
                simulated in virtual time by the scheduler that serves live volumes; the same scenario and seed give \
                the same report, byte for byte. The exit code is 1 when a check of the scenario fails.

                Example: sluice qos simulate noisy.yaml --output report
                Example: sluice qos simulate noisy.yaml --output report --seed 7 --json

                A scenario:
                  name: Two databases
                  duration: 60s
                  cluster:
                    nodes: [{name: node, count: 4, iops: 50k, latency: 300us}]
                  policies:
                    gold: {minimum: 2000, maximum: 8000, burst: 12000}
                  volumes:
                    - {name: db, count: 2, policy: gold, workload: {kind: closed, depth: 32}}
                  events:
                    - {at: 30s, lose: node-1}
                  checks:
                    - {metric: minimum-attainment, at-least: 98%}

                Workloads: closed, steady, poisson, bursts, diurnal, boot-storm, backup, database, trace, phases. \
                Traces: msr, alibaba, tencent, fio, blkparse, mqsim. `runs` compares, `search` looks for how many more \
                volumes there is room for; Fixtures/scenarios has examples of all, and the schema.
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The scenario, YAML.", completion: .file(extensions: ["yaml", "yml"]))
        var scenario: String
        @Option(
            help: ArgumentHelp("Where report.json, report.csv and report.html go.", valueName: "dir"),
            completion: .directory)
        var output: String
        @Option(help: ArgumentHelp("Another seed than the scenario's.", valueName: "n"))
        var seed: UInt64?

        func run() throws -> ExitCode {
            var file = try ScenarioFile(path: scenario)
            if let seed {
                for index in file.runs.indices { file.runs[index].seed = seed }
            }
            // Before the work, so that it is not lost for want of a place to put it.
            let directory = try ReportDirectory(path: output)
            var line = SimulationLine(isShown: Terminal.isErrorTerminal && !global.json)
            let start = ContinuousClock.now
            let report = try file.run { line.update($0) }
            let elapsed = ContinuousClock.now - start
            line.erase()
            try directory.write(report)
            let summary = SimulationSummary(report: report, directory: directory.path, elapsed: elapsed)
            Terminal.write((global.json ? summary.json.description : summary.text) + "\n")
            return report.passed ? .success : .failure
        }
    }
}

/// Where the files of a report go.
private struct ReportDirectory {
    let path: String

    /// Makes the directory where there is none.
    init(path: String) throws(StorageError) {
        self.path = path
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw Self.error(error, "make directory", path)
        }
    }

    func write(_ report: ScenarioReport) throws {
        for (name, text) in [
            ("report.json", try report.json()), ("report.csv", report.csv()), ("report.html", report.html()),
        ] {
            let file = (path as NSString).appendingPathComponent(name)
            do {
                try text.write(toFile: file, atomically: true, encoding: .utf8)
            } catch {
                throw Self.error(error, "write report", file)
            }
        }
    }

    private static func error(_ error: any Error, _ what: String, _ place: String) -> StorageError {
        let code: StorageError.Code =
            switch (error as? CocoaError)?.code {
            case .fileWriteNoPermission?: .permissionDenied
            case .fileWriteOutOfSpace?: .noSpace
            case .fileWriteVolumeReadOnly?: .readOnly
            case .fileWriteFileExists?, .fileWriteInvalidFileName?, .fileNoSuchFile?: .invalidArgument
            default: .inputOutput
            }
        return StorageError(code, what, at: place, why: error.localizedDescription)
    }
}

/// How far a simulation is, on one line of a terminal.
private struct SimulationLine {
    private static let interval = Duration.milliseconds(200)
    private static let erasing = "\r\u{1B}[K"

    let isShown: Bool
    private var last = ContinuousClock.now
    private var lastRequests: UInt64 = 0
    private var isDrawn = false

    init(isShown: Bool) { self.isShown = isShown }

    mutating func update(_ progress: ScenarioFile.Progress) {
        guard isShown else { return }
        let now = ContinuousClock.now
        let elapsed = now - last
        guard elapsed >= Self.interval else { return }
        let simulation = progress.simulation
        let requests = simulation.requests >= lastRequests ? simulation.requests - lastRequests : simulation.requests
        let rate = Double(requests) / (elapsed / .seconds(1)) / 1e6
        let percent = Double(simulation.time) / Double(max(1, simulation.duration)) * 100
        let text = "\(progress.phase): \(Times.fixed(percent, 0)) %, \(Times.fixed(rate, 1)) million requests a second"
        Terminal.write(Self.erasing + String(text.prefix((Terminal.width ?? 80) - 1)), to: .standardError)
        (last, lastRequests, isDrawn) = (now, simulation.requests, true)
    }

    func erase() {
        if isDrawn { Terminal.write(Self.erasing, to: .standardError) }
    }
}
