#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import ISCSIPool

    /// A target of a test's own, by `Fixtures/iscsi`: gone with the object, or with the process however it ends.
    final class TestTarget: Sendable {
        /// What `Fixtures/iscsi start` says of it.
        struct Description: Decodable, Sendable {
            var iqn: String
            var portals: [String]
            var secretFile: String?
            var targetSecretFile: String?
        }

        let description: Description
        let directory: String
        // The target ends when this closes.
        private let input: Pipe

        private static let program = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Fixtures/iscsi")

        /// Starts it without holding one of the threads that all tests share.
        static func start(_ options: String...) async throws -> TestTarget {
            try await BlockingPool.shared.run { () throws(any Error) in try TestTarget(options) }
        }

        convenience init(_ options: String...) throws { try self.init(options) }

        private init(_ options: [String]) throws {
            directory = "/tmp/sluice-iscsi-\(UUID().uuidString)"
            let process = Process()
            let (input, output) = (Pipe(), Pipe())
            process.executableURL = Self.program
            process.arguments = ["start", directory] + options
            process.standardInput = input
            process.standardOutput = output
            try process.run()
            var line = Data()
            while !line.contains(UInt8(ascii: "\n")) {
                let data = output.fileHandleForReading.availableData
                if data.isEmpty { throw StorageError(.internalError, "start a target", why: "see its errors above") }
                line += data
            }
            description = try JSONDecoder().decode(Description.self, from: line)
            self.input = input
        }

        deinit { try? input.fileHandleForWriting.close() }

        /// `kill`, `restart`, `pause`, `resume`, `remove`, `add` or `grow`.
        func change(_ action: String, _ arguments: String...) async throws {
            try await BlockingPool.shared.run { () throws(any Error) in try self.act(action, arguments) }
        }

        private func act(_ action: String, _ arguments: [String]) throws {
            let process = Process()
            process.executableURL = Self.program
            process.arguments = [action, directory] + arguments
            process.standardInput = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(action) \(arguments)")
        }

        /// How to log in, with the secrets that it asks for.
        var settings: ISCSITarget {
            get throws {
                func credentials(_ user: String, _ file: String?) throws -> ISCSITarget.Credentials? {
                    guard let file else { return nil }
                    let text = try String(contentsOfFile: file, encoding: .utf8)
                    return .init(user: user, secret: Secret(text.trimmingCharacters(in: .whitespacesAndNewlines)))
                }
                return ISCSITarget(
                    portals: description.portals, name: description.iqn,
                    initiatorName: "iqn.2026-01.org.sluice:test",
                    credentials: try credentials("sluice", description.secretFile),
                    targetCredentials: try credentials("target", description.targetSecretFile))
            }
        }

        func open(
            lun: UInt16 = 1, _ change: (inout ISCSITarget, inout ISCSIVolume.Options) -> Void = { _, _ in }
        ) async throws -> ISCSIVolume {
            var settings = try settings
            var options = ISCSIVolume.Options()
            options.deadline = .seconds(60)
            change(&settings, &options)
            return try await ISCSIVolume.open(settings, lun: lun, options: options)
        }
    }

    extension Volume {
        func bytes(at offset: UInt64, count: Int) async throws(StorageError) -> [UInt8] {
            var result = [UInt8](repeating: 0xa5, count: count)
            var bytes = result.mutableRawBytes
            try await read(into: &bytes, at: offset)
            return result
        }

        func fill(
            _ byte: UInt8, _ range: Range<UInt64>, options: WriteOptions = []
        ) async throws(StorageError) {
            let bytes = [UInt8](repeating: byte, count: Int(range.upperBound - range.lowerBound))
            try await write(bytes.rawBytes, at: range.lowerBound, options: options)
        }
    }

    /// The error that `body` throws.
    func failure(_ body: () async throws -> Void) async -> StorageError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? StorageError
        }
    }
#endif
