import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import FilePool

/// A directory that is gone after `body`.
func withTemporaryDirectory<Result>(_ body: (String) async throws -> Result) async throws -> Result {
    let path = "/var/tmp/sluice-filepool-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
}

/// A new pool in a temporary directory.
func withPool<Result>(_ body: (FilePool) async throws -> Result) async throws -> Result {
    try await withTemporaryDirectory { path in try await body(try await FilePool.open("p", .directory, path: path)) }
}

extension FilePool {
    func path(of name: String) -> String { store.location(of: name) }

    /// What lies in the directory beside volumes: staged files, drafts of declarations and of the identity.
    var leftovers: [String] {
        get async throws {
            let names = ["", HiddenName.directory, HiddenName.declarations]
            var found: [String] = []
            for name in names { found += try await store.entries(in: name).map(\.name) }
            return found.filter { $0.hasPrefix(HiddenName.stagingPrefix) || $0.hasPrefix("identity-") }
        }
    }
}

/// A tool of QEMU's, run to its end.
struct Tool {
    var status: Int32
    var output: String

    static func run(_ arguments: String...) throws -> Tool { try run(arguments) }

    static func run(_ arguments: [String]) throws -> Tool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Tool(status: process.terminationStatus, output: output)
    }

    /// As `run`, and the tool must succeed.
    static func succeed(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) throws {
        let tool = try run(arguments)
        #expect(tool.status == 0, "\(arguments): \(tool.output)", sourceLocation: sourceLocation)
    }
}

/// A `qemu-io` that has an image open until it is told to end.
final class QEMUHolder {
    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()

    /// Starts it and waits until it has opened the image and done one request.
    init(_ arguments: [String]) throws {
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["qemu-io"] + arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        input.fileHandleForWriting.write(Data("read 0 512\n".utf8))
        var text = ""
        while !text.contains("ops;") {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty { throw StorageError(.internalError, "start qemu-io", why: text) }
            text += String(decoding: data, as: UTF8.self)
        }
    }

    var processIdentifier: String { "\(process.processIdentifier)" }

    func end() {
        input.fileHandleForWriting.closeFile()
        process.waitUntilExit()
    }
}

extension Volume {
    func bytes(at offset: UInt64, count: Int) async throws(StorageError) -> [UInt8] {
        var result = [UInt8](repeating: 0xa5, count: count)
        var bytes = result.mutableRawBytes
        try await read(into: &bytes, at: offset)
        return result
    }

    func fill(_ byte: UInt8, _ range: Range<UInt64>) async throws(StorageError) {
        let bytes = [UInt8](repeating: byte, count: Int(range.upperBound - range.lowerBound))
        try await write(bytes.rawBytes, at: range.lowerBound)
    }
}

extension FilePool {
    /// Creates a volume whose first bytes are `byte`.
    func create(
        _ name: String, size: UInt64 = 1 << 20, format: VolumeFormat = .qcow2, filledWith byte: UInt8 = 0x11
    ) async throws {
        _ = try await createVolume(name, CreateRequest(size: size, format: format))
        let volume = try await openVolume(VolumeReference(name), mode: .exclusive)
        try await volume.fill(byte, 0..<65536)
        try await volume.close()
    }

    /// The byte that a volume begins with.
    func firstByte(of name: String) async throws -> UInt8 {
        let volume = try await openVolume(VolumeReference(name), mode: .readOnly)
        let byte = try await volume.bytes(at: 0, count: 1)[0]
        try await volume.close()
        return byte
    }
}

/// The error that `body` throws.
func code(_ body: () async throws -> Void) async -> StorageError.Code? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? StorageError)?.code
    }
}
