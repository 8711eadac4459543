#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Logging
    import Metrics
    import SystemPackage
    import TGTControl
    import Testing

    @testable import ISCSIPool
    @testable import Sluice

    /// A home and a pool on a tgt target, or on an array whose volumes a target serves, that has somebody else's units, too.
    struct ISCSISite: PoolSite, Codable {
        /// What `Fixtures/iscsi start` prints.
        struct Target: Codable {
            let directory: String
            let iqn: String
            let portals: [String]
            /// Its management socket.
            var control: String { directory + "/tgtd.0" }
        }

        let target: Target
        /// Nil where the pool is the target's own.
        let array: SimulatedArray?
        let root: String
        /// Whether asking the array for something counts as a step, too: it leaves everything as it is.
        var countsQuestions = true

        /// One of each for all tests of this process: they take turns.
        static var onTarget: ISCSISite { get async throws { try await madeOnTarget.value } }
        static var onArray: ISCSISite { get async throws { try await madeOnArray.value } }
        private static let madeOnTarget = Task { try await make(hasArray: false) }
        private static let madeOnArray = Task { try await make(hasArray: true) }
        private static let keptDirectories = Locked<[TemporaryDirectory]>([])

        private static func make(hasArray: Bool) async throws -> ISCSISite {
            let directory = try TemporaryDirectory()
            keptDirectories.withLock { $0.append(directory) }
            let root = directory.path
            let target: Target = try FixtureServer.start("iscsi")
            let array = hasArray ? try SimulatedArray.start(in: root + "/array", control: target.control) : nil
            let site = ISCSISite(target: target, array: array, root: root)
            try await site.prepare()
            return site
        }

        /// Where the bytes of units are.
        private var units: String { array.map { $0.directory + "/state/luns" } ?? root + "/units" }
        private var control: TGTControl { TGTControl(path: target.control, deadline: .seconds(60)) }

        // What arrays take.
        var size: UInt64 { array == nil ? 256 << 10 : 1 << 20 }
        var policy: QoSPolicy? { try? QoSPolicy(minIOPS: 60, maxIOPS: 100, burstIOPS: 100) }
        var otherPolicy: QoSPolicy? { try? QoSPolicy(minIOPS: 50, maxIOPS: 200, burstIOPS: 300) }

        func host() async throws -> StorageHost { try await host { _ throws(StorageError) in } }

        /// A host; `observe` is called before every call to the target's provisioner, or to the array, before and after
        /// everything that changes a volume's bytes, and at every write of the catalog.
        func host(_ observe: @escaping StepObserver) async throws -> StorageHost {
            var logger = Logger(label: "test")
            logger.logLevel = .error
            let latest = Locked("")
            let called: @Sendable (String) -> Void = { call in
                let isRepeated = latest.withLock { latest in
                    defer { latest = call }
                    return latest == call
                }
                // Looking again for what is not there yet is no step: how often that takes is not the same twice.
                if isRepeated && Self.patient.contains(call) { return }
                if countsQuestions || !Self.questions.contains(where: call.hasPrefix) { try? observe(call) }
            }
            var driver =
                array == nil
                ? PoolDriver.tgt(socket: target.directory + "/tgtd", observer: called)
                : PoolDriver.element(observer: called)
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

        private static let patient = ["sessions", "GetAsyncResult", "ListISCSISessions"]
        private static let questions = ["Get", "List"]
        private static let changes = ["write(", "writev(", "flush(", "discard(", "writeZeroes("]

        private func prepare() async throws {
            let host = try await host()
            let initiator = "iqn.2026-01.org.example:swept"
            if let array {
                let url = array.url(portal: target.portals[0], initiator: initiator)
                try await host.addPool(PoolRegistration(name: "c", url: url, secret: SimulatedArray.password))
                try await array.addOthers()
            } else {
                try FileManager.default.createDirectory(atPath: units, withIntermediateDirectories: true)
                let url = "tgt://\(target.portals[0])?directory=\(units)&initiator=\(initiator)"
                try await host.addPool(PoolRegistration(name: "c", url: url))
            }
            try await fill(host)
        }

        /// What the array says, what tgtd serves, to whom, and what lies in the directory, beside what is somebody else's.
        func storageFacts() async throws -> Set<String> {
            var facts = try await array?.facts() ?? []
            let targets = try await control.targets()
            let files = try FileManager.default.subpathsOfDirectory(atPath: units)
                .filter { array != nil || $0.hasSuffix(".img") }
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
