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

    /// Hosts that clone one template at the same time.
    @Suite struct RBDRaceTests {
        /// What a template is found with: as CloudStack imports it, as a host that died while it made the snapshot left
        /// it, and as Sluice imports it.
        enum BaseSnapshot: String, CaseIterable, Codable { case absent, unprotected, protected }

        private static let cluster = Task { try CephCluster.start() }
        private static let size = 256 << 10
        private static let cloneCount = 16

        private static func open(_ home: String) async throws -> StorageHost {
            try await StorageHost.open(home: home, metrics: NOOPMetricsHandler.instance)
        }

        private static func clone(_ template: String, _ process: Int, _ task: Int) -> String {
            "\(template)-\(process)-\(task)"
        }

        @Test(
            "Sixteen tasks in each of two processes get their clones of one template, and one protected base snapshot")
        func race() async throws {
            let cluster = try await Self.cluster.value
            let homes = [try TemporaryDirectory(), try TemporaryDirectory()]
            for home in homes {
                try await Self.open(home.path).addPool(
                    PoolRegistration(
                        name: "c", url: cluster.url, secret: Secret.read(file: FilePath(cluster.keyFile))))
            }
            let bytes = (0..<Self.size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
            let image = homes[0].path + "/image"
            try Data(bytes).write(to: URL(filePath: image))
            let host = try await Self.open(homes[0].path)
            for state in BaseSnapshot.allCases {
                let template = "template-\(state.rawValue)"
                _ = try await host.importTemplate(
                    VolumeAddress(pool: "c", name: template), from: FileTemplateSource(path: FilePath(image)), .raw
                ).value
                let snapshot = "\(template)@cloudstack-base-snap"
                if state != .protected { _ = try cluster.ask("rbd", "snap", "unprotect", snapshot) }
                if state == .absent { _ = try cluster.ask("rbd", "snap", "rm", snapshot) }
                await withTaskGroup { group in
                    for (process, home) in homes.map(\.path).enumerated() {
                        group.addTask { await Self.cloneInProcess(process, home, template) }
                    }
                }
                let snapshots = try cluster.ask("rbd", "snap", "ls", template).dropFirst()
                #expect(snapshots.count == 1)
                #expect(snapshots.first?.contains("cloudstack-base-snap") == true)
                #expect(snapshots.first?.contains("yes") == true, "protected")
                let children = Set(
                    try cluster.ask("rbd", "children", snapshot).compactMap { $0.split(separator: "/").last })
                #expect(children.count == 2 * Self.cloneCount)
                for name in children {
                    let volume = try await host.openVolume(
                        VolumeAddress(pool: "c", name: String(name)), mode: .readOnly)
                    var found = [UInt8](repeating: 0, count: Self.size)
                    var span = found.mutableRawBytes
                    try await volume.read(into: &span, at: 0)
                    #expect(found == bytes, "\(name)")
                    try await volume.close()
                }
                print(
                    "rbd race: \(children.count) clones by two processes of a template whose base snapshot was \(state)"
                )
            }
        }

        private static func cloneInProcess(_ process: Int, _ home: String, _ template: String) async {
            await #expect(processExitsWith: .success) {
                [process = process as Int, home = home as String, template = template as String] in
                let host = try await RBDRaceTests.open(home)
                try await withThrowingTaskGroup { group in
                    for task in 0..<RBDRaceTests.cloneCount {
                        group.addTask {
                            let name = RBDRaceTests.clone(template, process, task)
                            _ = try await host.cloneVolume(
                                VolumeAddress(pool: "c", name: template), to: VolumeAddress(pool: "c", name: name)
                            ).value
                        }
                    }
                    try await group.waitForAll()
                }
                // Without librados' destructors.
                _exit(EXIT_SUCCESS)
            }
        }
    }
#endif
