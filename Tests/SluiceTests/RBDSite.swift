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
    struct RBDSite: Codable, Sendable {
        static let size: UInt64 = 256 << 10

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

        var imagePath: String { root + "/image" }
        /// The hosts: what is swept is done by the first.
        enum Member: String, CaseIterable, Codable { case first, second, third }

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

        /// Registers the pool with all hosts, and makes in it the templates `base`, which has a clone, and `fresh`,
        /// which never had one; `disk`, with data and the snapshot `monday` of other data; and `plain`. The second host
        /// dies while it imports a template, the third while it makes a clone.
        private mutating func prepare() async throws {
            try pattern(7).write(to: URL(filePath: imagePath))
            for member in Member.allCases {
                try await host(member).addPool(
                    PoolRegistration(
                        name: "c", url: cluster.url + "?object-size=64k&deadline=60",
                        secret: Secret.read(file: FilePath(cluster.keyFile))))
            }
            let host = try await host()
            for template in ["base", "fresh"] { try await importTemplate(template, host) }
            _ = try await host.cloneVolume(c("base"), to: c("clone"), CloneRequest(qos: Self.policy)).value
            try await write(1, to: c("clone"), host)
            try await host.createVolume(c("disk"), VolumeRequirements(size: Self.size))
            try await write(2, to: c("disk"), host)
            _ = try await host.createSnapshot("monday", of: c("disk"))
            try await write(3, to: c("disk"), host)
            try await makePlain(host)
            for (member, workflow) in [(Member.second, RBDWorkflow.importTemplate), (.third, .linkedClone)] {
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [site = self as RBDSite, member = member as Member, workflow = workflow as RBDWorkflow] in
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

        static var policy: QoSPolicy? { try? QoSPolicy(minIOPS: 10, maxIOPS: 100) }

        func importTemplate(_ name: String, _ host: StorageHost) async throws {
            _ = try await host.importTemplate(
                c(name), from: FileTemplateSource(path: FilePath(imagePath)), .raw
            ).value
        }

        func makePlain(_ host: StorageHost) async throws {
            try await host.createVolume(c("plain"), VolumeRequirements(size: Self.size, qos: Self.policy))
            try await write(4, to: c("plain"), host)
        }

        func c(_ name: String, snapshot: String? = nil) -> VolumeAddress {
            VolumeAddress(pool: "c", name: name, snapshot: snapshot)
        }

        /// Bytes that begin with data and end with zeros.
        private func pattern(_ seed: UInt8) -> Data {
            Data(repeating: seed, count: Int(Self.size / 2)) + Data(count: Int(Self.size / 2))
        }

        /// Writes at two places of a volume.
        func write(_ seed: UInt8, to volume: VolumeAddress, _ host: StorageHost) async throws {
            let opened = try await host.openVolume(volume, mode: .exclusive)
            try await opened.write([UInt8](repeating: seed, count: 5000).rawBytes, at: 1000)
            try await opened.write([UInt8](repeating: seed, count: 512).rawBytes, at: 200 << 10)
            try await opened.close()
        }

        /// All that can be told of the pool and of a host, apart from what changes by itself.
        func state(_ host: StorageHost) async throws -> WorkflowSite.State {
            var state = WorkflowSite.State()
            let storage = try await host.pool("c")
            for volume in try await storage.listVolumes() + storage.listTemplates() where volume.isManaged {
                state.facts.insert(
                    "\(volume.name): \(volume.virtualSize) \(volume.provisioning) \(volume.qos as Any) of "
                        + "\(volume.template?.description ?? "nothing") \(volume.snapshots) template \(volume.isTemplate)"
                )
                for snapshot in [nil] + volume.snapshots {
                    let reference = VolumeReference(volume.name, snapshot: snapshot)
                    state.contents["\(reference)"] = try await storage.bytes(of: reference)
                }
                for snapshot in try await storage.listSnapshots(of: volume.name) {
                    // A snapshot that was cloned stays protected, as one whose clone was undone does.
                    let isProtected = volume.isTemplate ? "protected \(snapshot.isProtected)" : ""
                    state.facts.insert(
                        "\(volume.name)@\(snapshot.name): \(snapshot.size) \(isProtected) \(snapshot.children)")
                }
            }
            state.facts.insert("promised: \(try await storage.provisioned())")
            for record in try await host.catalog.volumes(in: "c") { state.facts.insert("\(record)") }
            for recorded in try await host.intents.all() {
                state.facts.insert("intent: \(recorded.workflow.description)")
            }
            state.facts.formUnion(try clusterFacts())
            return state
        }

        /// What Ceph's own tools see: images, the trash, declarations, and every object that belongs to none of them.
        private func clusterFacts() throws -> Set<String> {
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

    /// What is done to a pool in a cluster in more than one step.
    enum RBDWorkflow: String, CaseIterable, Codable, Sendable {
        case snapshot, deleteSnapshot, revert, delete, deleteClone, deleteTemplate, cloneOfSnapshot, rename, resize
        case setQoS, flatten, importTemplate, linkedClone, firstClone, grownClone, fullClone, createFat

        func perform(_ host: StorageHost, _ site: RBDSite) async throws {
            switch self {
            case .importTemplate: try await site.importTemplate("new", host)
            case .createFat:
                try await host.createVolume(
                    site.c("new"),
                    VolumeRequirements(size: RBDSite.size, provisioning: .fat, qos: RBDSite.policy))
            case .linkedClone: try await clone("base", CloneRequest(qos: RBDSite.policy), host, site)
            case .firstClone: try await clone("fresh", CloneRequest(), host, site)
            case .grownClone: try await clone("fresh", CloneRequest(size: 1 << 20), host, site)
            case .fullClone: try await clone("base", CloneRequest(isFull: true), host, site)
            case .cloneOfSnapshot: try await clone("disk", snapshot: "monday", CloneRequest(), host, site)
            case .snapshot: _ = try await host.createSnapshot("new", of: site.c("plain"))
            case .deleteSnapshot: try await host.deleteSnapshot("monday", of: site.c("disk"))
            case .revert: try await host.revert(site.c("disk"), to: "monday")
            case .delete: try await host.deleteVolume(site.c("plain"))
            case .deleteClone: try await host.deleteVolume(site.c("clone"))
            case .deleteTemplate: try await host.deleteTemplate(site.c("fresh"))
            case .resize: try await host.resizeVolume(site.c("plain"), to: 1 << 20)
            case .rename: try await host.renameVolume(site.c("plain"), to: "new")
            case .flatten: try await host.flattenVolume(site.c("clone"))
            case .setQoS: try await host.setQoS(try QoSPolicy(minIOPS: 5, maxIOPS: 50), of: site.c("plain"))
            }
        }

        private func clone(
            _ source: String, snapshot: String? = nil, _ request: CloneRequest, _ host: StorageHost, _ site: RBDSite
        ) async throws {
            _ = try await host.cloneVolume(site.c(source, snapshot: snapshot), to: site.c("new"), request).value
        }

        /// Makes everything as it was before.
        func undo(_ host: StorageHost, _ site: RBDSite) async throws {
            switch self {
            case .importTemplate: try await host.deleteTemplate(site.c("new"))
            case .createFat, .linkedClone, .fullClone, .cloneOfSnapshot: try await host.deleteVolume(site.c("new"))
            case .firstClone, .grownClone:
                try await host.deleteVolume(site.c("new"))
                // A template keeps the snapshot that its clones are made from.
                try await host.deleteTemplate(site.c("fresh"))
                try await site.importTemplate("fresh", host)
            case .snapshot: try await host.deleteSnapshot("new", of: site.c("plain"))
            case .deleteSnapshot, .revert:
                try await host.deleteVolume(site.c("disk"))
                try await host.createVolume(site.c("disk"), VolumeRequirements(size: RBDSite.size))
                try await site.write(2, to: site.c("disk"), host)
                _ = try await host.createSnapshot("monday", of: site.c("disk"))
                try await site.write(3, to: site.c("disk"), host)
            case .delete: try await site.makePlain(host)
            case .deleteClone, .flatten:
                try await host.deleteVolume(site.c("clone"))
                _ = try await host.cloneVolume(site.c("base"), to: site.c("clone"), CloneRequest(qos: RBDSite.policy))
                    .value
                try await site.write(1, to: site.c("clone"), host)
            case .deleteTemplate: try await site.importTemplate("fresh", host)
            case .resize: try await host.resizeVolume(site.c("plain"), to: RBDSite.size, allowShrink: true)
            case .rename: try await host.renameVolume(site.c("new"), to: "plain")
            case .setQoS: try await host.setQoS(RBDSite.policy, of: site.c("plain"))
            }
        }
    }
#endif
