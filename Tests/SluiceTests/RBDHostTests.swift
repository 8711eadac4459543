#if RBD
    import BlockStorage
    import Foundation
    import IORuntime
    import Logging
    import Metrics
    import SystemPackage
    import Testing

    @testable import Sluice

    /// A host with a pool in a real cluster.
    @Suite(.serialized) struct RBDHostTests {
        private static let cluster = Task { try CephCluster.start() }

        private func host(_ home: TemporaryDirectory) async throws -> (StorageHost, CephCluster, key: Secret) {
            let cluster = try await Self.cluster.value
            let host = try await StorageHost.open(home: home.path, metrics: NOOPMetricsHandler.instance)
            return (host, cluster, try Secret.read(file: FilePath(cluster.keyFile)))
        }

        private func c(_ name: String) -> VolumeAddress { VolumeAddress(pool: "c", name: name) }

        @Test("CloudStack's URL and the secret file register the same pool, and neither shows the key")
        func registration() async throws {
            let home = try TemporaryDirectory()
            let (host, cluster, key) = try await host(home)
            let text = key.reveal { $0 }
            let cloudStack = text.replacing("+", with: "-").replacing("/", with: "_")
            let url = cluster.url.replacing("@", with: ":\(cloudStack)@")
            let pool = try await host.addPool(PoolRegistration(name: "c", url: url))
            #expect(pool.url == cluster.url)
            try await host.addPool(PoolRegistration(name: "c", url: cluster.url, secret: key))
            // A monitor that is down does not matter beside one that is up.
            let more = cluster.url.replacing("@", with: "@127.0.0.1:9,")
            try await host.addPool(PoolRegistration(name: "more", url: more, secret: key))
            var other = try #require(Data(base64Encoded: text))
            other[other.endIndex - 1] ^= 1
            let wrong = Secret(other.base64EncodedString())
            for (registration, code) in [
                (PoolRegistration(name: "x", url: cluster.url, secret: wrong), .authenticationFailed),
                (PoolRegistration(name: "x", url: cluster.url, secret: Secret("hunter2")), .invalidArgument),
                (PoolRegistration(name: "x", url: "rbd://127.0.0.1:9/p?deadline=2", secret: key), .timedOut),
                (PoolRegistration(name: "x", url: cluster.url + "x", secret: key), .notFound),
            ] as [(PoolRegistration, StorageError.Code)] {
                do {
                    try await host.addPool(registration)
                    Issue.record("\(registration.url) is added")
                } catch {
                    #expect(error.code == code, "\(error)")
                    #expect(!"\(error)".contains("hunter2") && !"\(error)".contains(text), "\(error)")
                }
            }
            #expect(try await host.listPools().map(\.name) == ["c", "more"])
        }

        @Test("Volumes are raw unless another format is asked for, which is refused")
        func formats() async throws {
            let home = try TemporaryDirectory()
            let (host, cluster, key) = try await host(home)
            try await host.addPool(PoolRegistration(name: "c", url: cluster.url, secret: key))
            let made = try await host.createVolume(c("formats"), VolumeRequirements(size: 1 << 20))
            #expect(made.format == .raw && made.enforcedBy == .librbd && made.minimum == .admissionOnly)
            #expect(made.rows.contains { $0.label == "features" })
            await expect(.notSupported) {
                try await host.createVolume(c("other"), VolumeRequirements(size: 1 << 20, format: .qcow2))
            }
            try await host.deleteVolume(c("formats"))
        }

        @Test("A volume beyond the cap of caches works as any other: it is grown, limited and snapshotted while in use")
        func uncached() async throws {
            let home = try TemporaryDirectory()
            let (host, cluster, key) = try await host(home)
            try await host.addPool(PoolRegistration(name: "c", url: cluster.url, secret: key))
            try await host.createVolume(c("uncached"), VolumeRequirements(size: 1 << 20))
            let attachment = try await host.attach(c("uncached"), AttachOptions(cacheLimit: 0))
            #expect(attachment.cache == CacheMemory(0, isRefused: true))
            #expect(attachment.enforcer == .librbd)
            try await attachment.volume.write([1, 2, 3].rawBytes, at: 0)
            try await host.resizeVolume(c("uncached"), to: 2 << 20)
            #expect(attachment.volume.geometry.size == 2 << 20)
            try await host.setQoS(try QoSPolicy(maxIOPS: 500), of: c("uncached"))
            _ = try await host.createSnapshot("monday", of: c("uncached"))
            try await attachment.volume.flush()
            try await attachment.detach()
            #expect(
                try cluster.ask("rbd", "image-meta", "get", "uncached", "conf_rbd_qos_iops_limit") == ["500"])
            try await host.deleteSnapshot("monday", of: c("uncached"))
            try await host.deleteVolume(c("uncached"))
        }
    }
#endif
