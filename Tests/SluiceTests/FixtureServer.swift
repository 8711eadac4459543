import Foundation
import IORuntime
import Testing

/// A server that a script of `Fixtures/` starts, and that lives as long as this process.
enum FixtureServer {
    private static let keptOpen = Locked<[Pipe]>([])

    /// What `Fixtures/NAME start` prints in one line of JSON when the server answers.
    static func start<Description: Decodable>(_ name: String) throws -> Description {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
        let directory = NSTemporaryDirectory() + "sluice-\(name)-\(UUID().uuidString)"
        let line = try launch("/usr/bin/python3", ["\(root)/Fixtures/\(name)", "start", directory])
        return try JSONDecoder().decode(Description.self, from: line)
    }

    /// The first line that a program prints. It ends when the other end of its standard input is gone.
    static func launch(_ program: String, _ arguments: [String]) throws -> Data {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        let (input, output) = (Pipe(), Pipe())
        (process.standardInput, process.standardOutput) = (input, output)
        try process.run()
        keptOpen.withLock { $0.append(input) }
        var line = Data()
        while !line.contains(UInt8(ascii: "\n")) {
            let part = output.fileHandleForReading.availableData
            try #require(!part.isEmpty, "\(arguments.first ?? program) does not start")
            line += part
        }
        return line
    }
}
