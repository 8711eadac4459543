import Foundation
import IORuntime
import Testing

/// What a command printed, and how it ended.
struct CommandResult: Sendable {
    var status: Int32
    /// Whether a signal ended it: a trap is one.
    var wasKilled: Bool
    var output: String
    var error: String

    /// The JSON document on standard output.
    func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(output.utf8))
        return try #require(value as? [String: Any], "\(output)", sourceLocation: sourceLocation)
    }
}

/// The built programs beside the test bundle, with a home and a directory of their own.
final class TestShell: Sendable {
    let directory: String
    let home: String

    init() throws {
        directory = NSTemporaryDirectory() + "sluice-cli-\(UUID().uuidString)"
        home = directory + "/home"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    /// A shell whose home has the pool `p`, in a directory of its own.
    static func withPool() async throws -> TestShell {
        let shell = try TestShell()
        try FileManager.default.createDirectory(atPath: shell.poolPath, withIntermediateDirectories: true)
        try await shell.run("pool", "add", "p", "dir://" + shell.poolPath)
        return shell
    }

    var poolPath: String { directory + "/pool" }

    func path(_ name: String) -> String { directory + "/" + name }

    /// Runs `sluice` and expects it to succeed.
    @discardableResult
    func run(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> CommandResult {
        let result = try await sluice(arguments)
        #expect(result.status == 0 && !result.wasKilled, "\(arguments): \(result)", sourceLocation: sourceLocation)
        return result
    }

    /// Runs `sluice --json` and returns the document.
    func json(
        _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> [String: Any] {
        let result = try await sluice(["--json"] + arguments)
        #expect(result.status == 0, "\(arguments): \(result)", sourceLocation: sourceLocation)
        return try result.json(sourceLocation: sourceLocation)
    }

    /// Runs `sluice` and expects the one line of an error with that code, and nothing on standard output.
    @discardableResult
    func fails(
        _ code: String, status: Int32 = 1, _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> CommandResult {
        let result = try await sluice(arguments)
        #expect(
            result.status == status && !result.wasKilled && result.output.isEmpty
                && result.error.hasPrefix("error: \(code): ") && result.error.count { $0 == "\n" } == 1,
            "\(arguments): \(result)", sourceLocation: sourceLocation)
        return result
    }

    func sluice(_ arguments: [String], environment: [String: String] = [:]) async throws -> CommandResult {
        let values = ["SLUICE_HOME": home, "SWIFT_BACKTRACE": "enable=no"].merging(environment) { $1 }
        return try await execute(Self.sluicePath, arguments, environment: values)
    }

    /// Runs a program of the system and expects it to succeed.
    @discardableResult
    func tool(
        _ name: String, _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> CommandResult {
        let result = try await execute("/usr/bin/env", [name] + arguments)
        #expect(result.status == 0, "\(name) \(arguments): \(result)", sourceLocation: sourceLocation)
        return result
    }

    static var sluicePath: String {
        let bundle = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        return bundle.deletingLastPathComponent().appending(path: "sluice").path
    }

    /// Runs a program to its end; what it prints goes to files, so that it never waits for a reader.
    func execute(
        _ program: String, _ arguments: [String], environment: [String: String] = [:]
    ) async throws -> CommandResult {
        let (output, error) = (path("out-\(UUID().uuidString)"), path("err-\(UUID().uuidString)"))
        return try await commands.run { () throws -> CommandResult in
            for file in [output, error] { try Data().write(to: URL(filePath: file)) }
            defer { for file in [output, error] { try? FileManager.default.removeItem(atPath: file) } }
            let process = Process()
            process.executableURL = URL(filePath: program)
            process.arguments = arguments
            process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = try FileHandle(forWritingTo: URL(filePath: output))
            process.standardError = try FileHandle(forWritingTo: URL(filePath: error))
            try process.run()
            process.waitUntilExit()
            func text(_ path: String) -> String {
                String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
            }
            return CommandResult(
                status: process.terminationStatus, wasKilled: process.terminationReason == .uncaughtSignal,
                output: text(output), error: text(error))
        }
    }
}

/// Threads of their own: commands may wait for one another.
private let commands = BlockingPool(threads: 64)

/// A running `sluice serve`.
final class ServeProcess: @unchecked Sendable {
    // Sound: set up before it is shared; Foundation's processes may be signalled from any thread.
    private let process = Process()
    /// The line that it printed when it was ready.
    let ready: String

    init(_ shell: TestShell, _ arguments: String...) async throws {
        let pipe = Pipe()
        process.executableURL = URL(filePath: TestShell.sluicePath)
        process.arguments = ["--home", shell.home, "serve"] + arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading
        let line = await commands.run {
            var line = Data()
            while !line.contains(10) {
                let part = output.availableData
                if part.isEmpty { break }
                line += part
            }
            return line
        }
        ready = String(decoding: line, as: UTF8.self).trimmingCharacters(in: .newlines)
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    var processID: Int32 { process.processIdentifier }

    /// Sends a signal and waits for the end; the exit code, or minus the signal that ended it.
    func end(_ signal: Int32) async -> Int32 {
        kill(process.processIdentifier, signal)
        return await commands.run { [self] in
            process.waitUntilExit()
            return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        }
    }
}
