#if ISCSI
    import BlockStorage
    import ElementAPI
    import ElementSimulator
    import Foundation
    import IORuntime
    import Logging
    import ServiceLifecycle
    import SystemPackage
    import TGTControl

    @testable import ISCSIPool

    /// A simulated Element array of a test's own, behind HTTP on this host.
    final class ElementTestArray: Sendable {
        let array: ElementArray
        let port: UInt16
        /// What serves the volumes; nil where nobody logs in.
        let daemon: TestTarget?
        private let tasks: [Task<Void, Never>]

        private static let logger = {
            var logger = Logger(label: "element")
            logger.logLevel = .critical
            return logger
        }()

        static let password = Secret("s3cr3t-of-the-array")

        /// `isServed` puts the volumes on a tgtd; else `backend` has them.
        static func start(
            isServed: Bool = false, backend: any VolumeBackend = NoVolumes(),
            _ change: (inout ElementConfiguration) -> Void = { _ in }
        ) async throws -> ElementTestArray {
            var configuration = ElementConfiguration()
            configuration.cloneSeconds = 0.05
            change(&configuration)
            guard isServed else {
                return try await ElementTestArray(
                    try await ElementArray.open(configuration, backend: backend, logger: Self.logger), nil)
            }
            let daemon = try await TestTarget.start("--luns", "0")
            let control = TGTControl(path: "\(daemon.directory)/tgtd.0", deadline: .seconds(60))
            let directory = FilePath("\(daemon.directory)/array")
            let luns = directory.appending("luns")
            try FileManager.default.createDirectory(atPath: luns.string, withIntermediateDirectories: true)
            let volumes = try await TGTVolumes.open(directory: luns, control: control)
            return try await ElementTestArray(
                try await ElementArray.open(configuration, directory: directory, backend: volumes, logger: Self.logger),
                daemon)
        }

        private init(_ array: ElementArray, _ daemon: TestTarget?) async throws {
            (self.array, self.daemon) = (array, daemon)
            let server = ElementServer(
                array, user: "admin", password: Self.password, host: "127.0.0.1", port: 0, logger: Self.logger)
            let (ports, running) = AsyncStream.makeStream(of: Int.self)
            let service = try server.service { running.yield($0) }
            tasks = [Task { try? await service.run() }, Task { await array.watch() }]
            var port = 0
            for await first in ports {
                port = first
                break
            }
            self.port = UInt16(port)
        }

        deinit { for task in tasks { task.cancel() } }

        var endpoint: ElementEndpoint {
            ElementEndpoint(host: "127.0.0.1", port: port, user: "admin", password: Self.password, trust: .unencrypted)
        }

        func provisioner(
            account: String = "sluice", _ change: (inout ElementProvisioner.Settings) -> Void = { _ in }
        ) async throws(StorageError) -> ElementProvisioner {
            var settings = ElementProvisioner.Settings(account: account)
            if let daemon { settings.portals = daemon.description.portals }
            change(&settings)
            return try await ElementProvisioner.open(endpoint, settings, clock: ImpatientClock())
        }

        func pool(
            host: String = "host-a", _ change: (inout ISCSIPool.Options) -> Void = { _ in }
        ) async throws(StorageError) -> ISCSIPool {
            var options = ISCSIPool.Options(initiatorName: "iqn.2026-01.org.sluice:\(host)")
            options.deadline = .seconds(60)
            change(&options)
            return try await ISCSIPool.open("p", provisioner: try await provisioner(), options: options)
        }

        /// The next calls of a method meet a fault.
        func fail(_ method: String, _ effect: [String: JSONValue], count: Int = 1) async {
            var parameters = effect
            parameters["method"] = .string(method)
            parameters["count"] = .integer(count)
            _ = await array.call("SimulatorAddFault", parameters)
        }

        /// What the array answers to somebody else.
        func call(_ method: String, _ parameters: [String: JSONValue] = [:]) async -> JSONValue {
            if case .result(let value) = await array.call(method, parameters) { value } else { .null }
        }
    }

    /// Volumes without bytes, of which a test says what they take and who is logged in to them.
    final class StatedVolumes: VolumeBackend {
        /// In bytes, by the volumes' numbers.
        let used = Locked<[Int: Int]>([:])
        let logins = Locked<[VolumeSession]>([])

        func perform(_ changes: [DataChange]) async throws(StorageError) {}

        func export(
            _ volumes: [VolumeExport], cluster: String, keeping data: Set<String>
        ) async throws(StorageError) {}

        func counters() async throws(StorageError) -> [Int: VolumeCounters] {
            used.withLock { $0 }.mapValues { bytes in
                var counters = VolumeCounters()
                counters.usedBytes = bytes
                return counters
            }
        }

        func sessions() async throws(StorageError) -> [VolumeSession] { logins.withLock { $0 } }
    }

    /// The real time, for those who do not wait long.
    struct ImpatientClock: Clock {
        let minimumResolution = Duration.zero
        var now: ContinuousClock.Instant { .now }

        func sleep(until deadline: ContinuousClock.Instant, tolerance: Duration?) async throws {
            try await Task.sleep(until: min(deadline, .now + .milliseconds(10)), clock: .continuous)
        }
    }
#endif
