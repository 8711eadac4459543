#if RBD
    import BlockStorage
    import Foundation
    import IORuntime
    import Logging
    import Metrics
    import SystemPackage
    import Templates
    import Testing

    @testable import Sluice

    /// A home and a pool in a cluster with something in it, which workflows are run on, killed in and run on again; and
    /// other hosts' homes, for the same pool.
    struct RBDSite: PoolSite, Codable {
        let cluster: CephCluster
        /// Where homes and files are.
        let root: String
        /// What the other hosts have built and not named yet.
        var foreignImages: [String] = []

        /// One for all tests of this process: they take turns.
        static var shared: RBDSite { get async throws { try await made.value } }
        private static let made = Task {
            let directory = try TemporaryDirectory()
            keptDirectory.withLock { $0 = directory }
            var site = RBDSite(cluster: try CephCluster.start(), root: directory.path)
            try await site.prepare()
            return site
        }
        private static let keptDirectory = Locked<TemporaryDirectory?>(nil)

        /// The hosts: what is swept is done by the first.
        enum Member: String, CaseIterable, Codable { case first, second, third }

        func host() async throws -> StorageHost { try await host(.first) }

        /// A host; `observe` is called before every call to the cluster, before and after everything that changes a
        /// volume's bytes, and at every write of the catalog.
        func host(
            _ member: Member = .first, _ observe: @escaping StepObserver = { _ throws(StorageError) in }
        ) async throws -> StorageHost {
            var logger = Logger(label: "test")
            logger.logLevel = .error
            let latest = Locked("")
            var driver = PoolDriver.rbd { call in
                let isRepeated = latest.withLock { latest in
                    defer { latest = call }
                    return latest == call
                }
                // Looking again for a client that is not gone yet is no step: how often that takes is not the same twice.
                if !(isRepeated && call == "rbd_watchers_list") { try? observe(call) }
            }
            let open = driver.open
            driver.open = { configuration throws(StorageError) in
                let opened = try await open(configuration)
                let volumes = ObservedPool(base: opened.pool) { name throws(StorageError) in
                    // The calls of the pool itself are seen where they reach the cluster.
                    if Self.changes.contains(where: name.hasPrefix) { try observe(name) }
                }
                return OpenedPool(volumes, identity: opened.identity)
            }
            return try await StorageHost.open(
                home: root + "/" + member.rawValue, drivers: [driver], logger: logger,
                metrics: NOOPMetricsHandler.instance, operationWait: .seconds(10), journalDirectory: nil,
                observer: { () throws(StorageError) in try observe("catalog") })
        }

        private static let changes = ["write(", "writev(", "flush(", "discard(", "writeZeroes("]

        /// Registers the pool with all hosts, and fills it. The second host dies while it imports a template, the third
        /// while it makes a clone.
        private mutating func prepare() async throws {
            for member in Member.allCases {
                try await host(member).addPool(
                    PoolRegistration(
                        name: "c", url: cluster.url + "?object-size=64k&deadline=60",
                        secret: Secret.read(file: FilePath(cluster.keyFile))))
            }
            try await fill(try await host())
            for (member, workflow) in [(Member.second, PoolWorkflow.importTemplate), (.third, .linkedClone)] {
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [site = self as RBDSite, member = member as Member, workflow = workflow as PoolWorkflow] in
                    let host = try await site.host(member) { name throws(StorageError) in
                        // By then the image is there, and has no name of its own.
                        if name == "rbd_rename" { Glibc.kill(getpid(), SIGKILL) }
                    }
                    try await workflow.perform(host, site)
                }
            }
            foreignImages = try incompleteImages()
        }

        func incompleteImages() throws -> [String] {
            try cluster.ask("rbd", "ls").filter { $0.hasPrefix("sluice-incomplete-") }.sorted()
        }

        /// Who died as it opened the image would be taken for alive for half a minute.
        func forgetDead(_ workflow: PoolWorkflow) throws {
            switch workflow {
            case .revert: try cluster.forgetWatchers(of: "disk")
            case .attach: try cluster.forgetWatchers(of: "plain")
            default: break
            }
        }

        /// What Ceph's own tools see: images, the trash, declarations, and every object that belongs to none of them.
        func storageFacts() throws -> Set<String> {
            var facts: Set<String> = []
            let keys = try cluster.ask("rados", "listomapkeys", "rbd_directory")
            let ids = Set(keys.filter { $0.hasPrefix("id_") }.map { String($0.dropFirst("id_".count)) })
            for key in keys where key.hasPrefix("name_") { facts.insert("image \(key.dropFirst("name_".count))") }
            for object in try cluster.ask("rados", "ls") {
                let parts = object.split(separator: ".", maxSplits: 1).map(String.init)
                guard parts.count == 2 else {
                    // It is there once anything has been in the trash.
                    if object == "rbd_trash" {
                        for entry in try cluster.ask("rados", "listomapkeys", object) { facts.insert("trash \(entry)") }
                    } else {
                        facts.insert("object \(object)")
                    }
                    continue
                }
                if parts[0] == "rbd_id" {
                    facts.insert("name \(parts[1])")
                } else if !["rbd_data", "rbd_header", "rbd_object_map"].contains(parts[0]) {
                    facts.insert("object \(object)")
                } else if !ids.contains(String(parts[1].prefix { $0 != "." })), try cluster.has(object) {
                    facts.insert("object of no image: \(object)")
                }
            }
            let declarations = try cluster.ask("rados", "listomapkeys", "sluice_volumes")
            facts.insert("\(declarations.count) declarations")
            for key in declarations where !ids.contains(key) { facts.insert("declaration \(key)") }
            return facts
        }
    }
#endif
