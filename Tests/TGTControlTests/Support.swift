import Foundation
import IORuntime
import TGTControl

/// A tgtd of a test's own, by `Fixtures/iscsi`, with target 1 and no units: gone with the object, or with the process
/// however it ends.
final class TestDaemon: Sendable {
    struct Description: Decodable, Sendable {
        var iqn: String
        var portals: [String]
    }

    let description: Description
    let directory: String
    // The daemon ends when this closes.
    private let input: Pipe

    /// Not on one of the few threads that all tests share.
    static func start() async throws -> TestDaemon {
        try await BlockingPool.shared.run { () throws(any Error) in try TestDaemon() }
    }

    private init() throws {
        directory = "/tmp/sluice-tgtd-\(UUID().uuidString)"
        let process = Process()
        let (input, output) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Fixtures/iscsi")
        process.arguments = ["start", directory, "--luns", "0"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        var line = Data()
        while !line.contains(UInt8(ascii: "\n")) {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty { throw CocoaError(.fileReadUnknown) }
            line += data
        }
        description = try JSONDecoder().decode(Description.self, from: line)
        self.input = input
    }

    deinit { try? input.fileHandleForWriting.close() }

    var control: TGTControl { TGTControl(path: "\(directory)/tgtd.0", deadline: .seconds(60)) }

    /// A file of 1 MiB for a unit.
    func makeFile() throws -> String {
        let path = "\(directory)/\(UUID().uuidString).img"
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.truncate(atOffset: 1 << 20)
        try file.close()
        return path
    }
}
