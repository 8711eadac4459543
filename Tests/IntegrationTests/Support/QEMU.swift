import BlockStorage
import Foundation
import IORuntime

/// Runs QEMU's image tools. A tool that is not installed fails the test that needs it.
enum QEMU {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    /// What `qemu-img check` found.
    struct Check: Equatable, Sendable {
        var corruptions = 0
        var leaks = 0
        var status: Int32

        var outcome: CheckReport.Outcome { status == 2 ? .corrupt : status == 3 ? .leaks : .clean }
    }

    /// Runs a tool and waits for it, on a thread that may block.
    static func tryRun(_ tool: String, _ arguments: [String]) async throws -> Result {
        try await BlockingPool.shared.run { () throws -> Result in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [tool] + arguments
            let output = Pipe(), errors = Pipe()
            process.standardOutput = output
            process.standardError = errors
            process.standardInput = FileHandle.nullDevice
            try process.run()
            // Neither tool writes more to its error output than a pipe holds.
            let text = output.fileHandleForReading.readDataToEndOfFile()
            let errorText = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return Result(
                status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
                errors: String(decoding: errorText, as: UTF8.self))
        }
    }

    /// As `tryRun`; anything but success throws.
    @discardableResult
    static func run(_ tool: String, _ arguments: [String]) async throws -> String {
        let result = try await tryRun(tool, arguments)
        guard result.status == 0 else {
            throw Failure(
                description: "\(tool) \(arguments.joined(separator: " ")): status \(result.status)\n"
                    + result.errors + result.output)
        }
        return result.output
    }

    @discardableResult
    static func img(_ arguments: String...) async throws -> String { try await run("qemu-img", arguments) }

    /// Runs the commands of `qemu-io` on an image.
    @discardableResult
    static func io(_ image: String, _ commands: [String]) async throws -> String {
        let output = try await run(
            "qemu-io", ["-f", "qcow2", "-d", "unmap"] + commands.flatMap { ["-c", $0] } + [image])
        // qemu-io reports a failed command only in its text.
        guard !output.contains("failed") else { throw Failure(description: "\(commands): \(output)") }
        return output
    }

    /// Runs `qemu-img check`; throws where it cannot check at all.
    static func check(_ image: String) async throws -> Check {
        let result = try await tryRun("qemu-img", ["check", "-f", "qcow2", "--output=json", image])
        guard [0, 2, 3].contains(result.status),
            let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        else { throw Failure(description: "qemu-img check: status \(result.status)\n\(result.errors)") }
        return Check(
            corruptions: report["corruptions"] as? Int ?? 0, leaks: report["leaks"] as? Int ?? 0,
            status: result.status)
    }
}

/// A directory that is gone after the test.
final class ScratchDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "sluice-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    func contents(_ name: String) throws -> [UInt8] {
        try Array(Data(contentsOf: URL(fileURLWithPath: file(name))))
    }

    func write(_ bytes: [UInt8], to name: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
    }
}
