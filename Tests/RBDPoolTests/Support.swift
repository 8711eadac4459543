#if RBD
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import RBDPool

    /// The cluster that all tests of this process use: started by the first, gone with the process.
    actor TestCluster {
        static let shared = TestCluster()

        /// What `Fixtures/ceph start` says of it.
        struct Description: Decodable, Sendable {
            var confPath: String
            var monHosts: [String]
            var user: String
            var keyFile: String
            var adminKeyring: String
            var pool: String
            var dataPool: String
            var dataKeyFile: String
            var dataUser: String
            var fsid: String
        }

        private let process = Process()
        private let input = Pipe()
        private var started: Task<Description, any Error>?

        static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()

        var description: Description {
            get async throws {
                if let started { return try await started.value }
                let task = Task { try start() }
                started = task
                return try await task.value
            }
        }

        private let directory = "/var/tmp/sluice-rbdpool-\(UUID().uuidString)"

        /// `kill`, `pause`, `resume` or `restart`, of daemons such as `osd.0`.
        func change(_ action: String, _ daemons: String...) throws {
            let process = Process()
            process.executableURL = Self.repository.appendingPathComponent("Fixtures/ceph")
            process.arguments = [action, directory] + daemons
            process.standardInput = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            #expect(process.terminationStatus == 0, "\(action) \(daemons)")
        }

        private func start() throws -> Description {
            let output = Pipe()
            process.executableURL = Self.repository.appendingPathComponent("Fixtures/ceph")
            process.arguments = ["start", directory, "--data-pool"]
            // The cluster ends when this closes.
            process.standardInput = input
            process.standardOutput = output
            try process.run()
            var line = Data()
            while !line.contains(UInt8(ascii: "\n")) {
                let data = output.fileHandleForReading.availableData
                if data.isEmpty { throw StorageError(.internalError, "start a cluster", why: "see its errors above") }
                line += data
            }
            return try JSONDecoder().decode(Description.self, from: line)
        }
    }

    extension RBDCluster {
        /// The test cluster, with the key of exactly the rights that CloudStack's documentation gives it.
        static var test: RBDCluster {
            get async throws {
                let cluster = try await TestCluster.shared.description
                return try cluster.settings(cluster.user, keyFile: cluster.keyFile)
            }
        }

        /// With a key for the pool of data, too.
        static var testWithDataPool: RBDCluster {
            get async throws {
                let cluster = try await TestCluster.shared.description
                return try cluster.settings(cluster.dataUser, keyFile: cluster.dataKeyFile)
            }
        }
    }

    extension TestCluster.Description {
        func settings(_ user: String, keyFile: String) throws -> RBDCluster {
            let key = try String(contentsOfFile: keyFile, encoding: .utf8)
            return RBDCluster(
                monitors: [], pool: pool, user: user, key: Secret(key.trimmingCharacters(in: .whitespacesAndNewlines)),
                configurationFile: confPath)
        }
    }

    extension RBDPool {
        static func test(
            _ change: (inout Options) -> Void = { _ in }
        ) async throws -> RBDPool {
            var options = Options()
            options.deadline = .seconds(60)
            change(&options)
            return try await open("p", cluster: try await .test, options: options)
        }
    }

    /// A name that no other test uses.
    func newName(_ what: String = "v") -> String { "\(what)-\(UUID().uuidString.lowercased())" }

    /// A tool of Ceph's, run to its end as the cluster's administrator.
    @discardableResult
    func ceph(_ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
        let cluster = try await TestCluster.shared.description
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            [arguments[0], "-c", cluster.confPath, "-k", cluster.adminKeyring] + arguments.dropFirst()
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(arguments): \(output)", sourceLocation: sourceLocation)
        return output
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

    extension RBDPool {
        /// The byte that a volume or snapshot begins with.
        func firstByte(of name: String, snapshot: String? = nil) async throws -> UInt8 {
            let volume = try await openVolume(VolumeReference(name, snapshot: snapshot), mode: .readOnly)
            let byte = try await volume.bytes(at: 0, count: 1)[0]
            try await volume.close()
            return byte
        }

        /// Writes over the first bytes of a volume.
        func fill(_ name: String, _ byte: UInt8) async throws {
            let volume = try await openVolume(VolumeReference(name), mode: .exclusive)
            try await volume.fill(byte, 0..<65536)
            try await volume.close()
        }

        /// A template of 8 MiB whose first bytes are `byte`.
        func importTemplate(_ name: String, filledWith byte: UInt8) async throws {
            let staged = try await stageTemplate(name, size: 8 << 20)
            try await staged.volume.fill(byte, 0..<65536)
            _ = try await staged.publish()
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
