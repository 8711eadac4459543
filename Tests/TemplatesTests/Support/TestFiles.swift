import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Testing

/// A directory of its own for one test, removed with everything in it.
final class TemporaryDirectory: Sendable {
    let path: FilePath

    init() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "sluice-templates-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
        path = FilePath(url.path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path.string) }

    func callAsFunction(_ name: String) -> FilePath { path.appending(name) }

    /// The names of what is in it, in order.
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path.string)) ?? []).sorted() }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String) throws -> FilePath {
        try Data(bytes).write(to: URL(filePath: self(name).string))
        return self(name)
    }

    func read(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: self(name).string))) }

    /// Runs a program in this directory; anything but success fails the test.
    @discardableResult
    func run(_ command: String...) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        process.currentDirectoryURL = URL(filePath: path.string)
        process.standardInput = FileHandle.nullDevice
        // A file: the other end of a pipe could be inherited by a program that another test starts meanwhile.
        let log = FileManager.default.temporaryDirectory.appending(path: "sluice-templates-\(UUID().uuidString).log")
        try Data().write(to: log)
        defer { try? FileManager.default.removeItem(at: log) }
        let output = try FileHandle(forWritingTo: log)
        process.standardOutput = output
        process.standardError = output
        try process.run()
        process.waitUntilExit()
        try output.close()
        let text = String(decoding: try Data(contentsOf: log), as: UTF8.self)
        try #require(process.terminationStatus == 0, "\(command.joined(separator: " ")): \(text)")
        return text
    }
}

extension SeededGenerator {
    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 32) }
    }

    /// A disk of `count` bytes: runs of zeros, of random bytes and of text, in turn.
    mutating func disk(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        while result.count < count {
            let length = Int.random(in: 1...150_000, using: &self)
            switch Int.random(in: 0..<3, using: &self) {
            case 0: result += [UInt8](repeating: 0, count: length)
            case 1: result += bytes(length)
            default: result += (0..<length).map { UInt8($0 % 61 + 32) }
            }
        }
        return Array(result.prefix(count))
    }
}

extension Volume {
    func read(_ range: Range<UInt64>) async throws(StorageError) -> [UInt8] {
        var buffer = IOBuffer(byteCount: range.count)
        var bytes = buffer.mutableBytes
        try await read(into: &bytes, at: range.lowerBound)
        // Sound: the bytes are copied during the call.
        return unsafe buffer.bytes.withUnsafeBytes { unsafe Array($0) }
    }

    var contents: [UInt8] {
        get async throws(StorageError) { try await read(0..<geometry.size) }
    }
}
