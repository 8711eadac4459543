import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Testing

/// QEMU's own tools, which have the last word on what an image is.
enum QEMU {
    struct Result {
        let status: Int32
        let output: String
    }

    /// Runs `qemu-img` (or another tool) with these arguments; its absence is a failure of the test.
    @discardableResult
    static func run(_ tool: String = "qemu-img", _ arguments: [String]) async throws -> Result {
        try await BlockingPool.shared.run { () throws(SystemError) -> Result in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [tool] + arguments
            let pipe = Pipe()
            process.standardOutput = pipe
            process.standardError = pipe
            do { try process.run() } catch { throw SystemError(.noSuchFileOrDirectory, "execve") }
            let output = pipe.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return Result(status: process.terminationStatus, output: String(decoding: output, as: UTF8.self))
        }
    }

    /// Expects `qemu-img check` to find nothing at all, or nothing but lost clusters.
    static func expectClean(
        _ path: String, _ comment: String, allowsLeaks: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await run("qemu-img", ["check", "-f", "qcow2", path])
        let isGood = result.status == 0 || allowsLeaks && result.status == 3
        #expect(isGood, "\(comment): \(result.output)", sourceLocation: sourceLocation)
    }

    /// Expects the image to read as the raw file does.
    static func expectSame(
        _ image: String, asRaw raw: String, _ comment: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", image, raw])
        #expect(result.status == 0, "\(comment): \(result.output)", sourceLocation: sourceLocation)
    }
}

/// A directory of a test's own, gone when the test is.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "sluice-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }
}

extension Volume {
    func store(_ bytes: [UInt8], at offset: UInt64, options: WriteOptions = []) async throws(StorageError) {
        try await write(bytes.rawBytes, at: offset, options: options)
    }

    func bytes(_ range: Range<UInt64>) async throws(StorageError) -> [UInt8] {
        var result = [UInt8](repeating: 0xee, count: Int(range.upperBound - range.lowerBound))
        var span = result.mutableRawBytes
        try await read(into: &span, at: range.lowerBound)
        return result
    }
}
