#if ISCSI
    import BlockStorage
    import Foundation
    import ISCSIPool
    import IORuntime
    import Logging
    import Metrics
    import SystemPackage
    import TGTControl
    import Testing

    @testable import Sluice

    /// A home and a pool on a tgt target that has somebody else's unit, too.
    struct ISCSISite: PoolSite, Codable {
        /// What `Fixtures/iscsi start` prints.
        struct Target: Codable {
            let directory: String
            let iqn: String
            let portals: [String]
        }

        let target: Target
        let root: String

        /// One for all tests of this process: they take turns.
        static var shared: ISCSISite { get async throws { try await made.value } }
        private static let made = Task {
            let directory = try TemporaryDirectory()
            keptDirectory.withLock { $0 = directory }
            let site = ISCSISite(target: try start(), root: directory.path)
            try await site.prepare()
            return site
        }
        private static let keptDirectory = Locked<TemporaryDirectory?>(nil)
        private static let keptOpen = Locked<[Pipe]>([])

        /// A target that lives as long as this process.
        private static func start() throws -> Target {
            let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
                .deletingLastPathComponent().path
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/python3")
            process.arguments = [
                root + "/Fixtures/iscsi", "start", NSTemporaryDirectory() + "sluice-iscsi-\(UUID().uuidString)",
            ]
            // The target ends when the other end of its standard input is gone.
            let (input, output) = (Pipe(), Pipe())
            (process.standardInput, process.standardOutput) = (input, output)
            try process.run()
            keptOpen.withLock { $0.append(input) }
            var line = Data()
            while !line.contains(UInt8(ascii: "\n")) {
                let part = output.fileHandleForReading.availableData
                try #require(!part.isEmpty, "the target does not start")
                line += part
            }
            return try JSONDecoder().decode(Target.self, from: line)
        }

        private var units: String { root + "/units" }
        private var control: TGTControl { TGTControl(path: target.directory + "/tgtd.0", deadline: .seconds(60)) }

        func host() async throws -> StorageHost { try await host { _ throws(StorageError) in } }

        /// A host; `observe` is called before every call to the provisioner, before and after everything that changes a
        /// volume's bytes, and at every write of the catalog.
        func host(_ observe: @escaping StepObserver) async throws -> StorageHost {
            var logger = Logger(label: "test")
            logger.logLevel = .error
            var driver = PoolDriver.tgt(socket: target.directory + "/tgtd") { call in try? observe(call) }
            let open = driver.open
            driver.open = { configuration throws(StorageError) in
                let opened = try await open(configuration)
                let volumes = ObservedPool(base: opened.pool) { name throws(StorageError) in
                    // The calls of the pool itself are seen where they reach the provisioner.
                    if Self.changes.contains(where: name.hasPrefix) { try observe(name) }
                }
                return OpenedPool(volumes, identity: opened.identity)
            }
            return try await StorageHost.open(
                home: root + "/home", drivers: [driver], logger: logger, metrics: NOOPMetricsHandler.instance,
                operationWait: .seconds(10), journalDirectory: nil,
                observer: { () throws(StorageError) in try observe("catalog") })
        }

        private static let changes = ["write(", "writev(", "flush(", "discard(", "writeZeroes("]

        private func prepare() async throws {
            try FileManager.default.createDirectory(atPath: units, withIntermediateDirectories: true)
            let host = try await host()
            let url = "tgt://\(target.portals[0])?directory=\(units)&initiator=iqn.2026-01.org.example:swept"
            try await host.addPool(PoolRegistration(name: "c", url: url))
            try await fill(host)
        }

        /// What tgtd serves, to whom, and what lies in the directory, beside what is somebody else's.
        func storageFacts() async throws -> Set<String> {
            var facts: Set<String> = []
            let targets = try await control.targets()
            let files = try FileManager.default.subpathsOfDirectory(atPath: units).filter { $0.hasSuffix(".img") }
            // What is made anew has other numbers.
            facts.insert("\(targets.count) targets, \(files.count) files")
            for served in targets {
                for initiator in served.initiators { facts.insert("session of \(initiator)") }
                facts.insert(served.name == target.iqn ? "another's: \(served)" : "open to \(served.rules)")
            }
            return facts
        }
    }
#endif
