import BlockStorage
import IORuntime
import StorageConformance
import Testing

@testable import Sluice

/// Hosts whose pools are in memory, keep to their limits, and hang when they are told to.
private struct Site {
    let directory: TemporaryDirectory
    let pools = ["a": MemoryPool(name: "a"), "b": MemoryPool(name: "b")]

    init() throws { directory = try TemporaryDirectory() }

    func host() async throws -> StorageHost {
        let driver = PoolDriver(scheme: "memory") { configuration throws(StorageError) in
            let name = String(configuration.url.path.dropFirst())
            guard let pool = self.pools[name] else {
                // Longer than any test.
                try? await Task.sleep(for: .seconds(600))
                throw StorageError(.timedOut, "open pool", at: name)
            }
            pool.limits = configuration.limits
            return OpenedPool(pool)
        }
        return try await StorageHost.open(home: directory.appending("home"), drivers: [driver])
    }
}

private func requirements(_ size: UInt64, minIOPS: UInt64? = nil, isLazy: Bool = false) throws -> VolumeRequirements {
    VolumeRequirements(size: size, format: .raw, qos: try QoSPolicy(minIOPS: minIOPS), isLazy: isLazy)
}

@Suite struct PlacementTests {
    @Test("a volume goes where the tags are and there is the most room, by bytes and by IOPS")
    func room() async throws {
        let host = try await Site().host()
        try await host.addPool(
            PoolRegistration(name: "a", url: "memory:///a", tags: ["ssd"], capacityBytes: 8 << 20, capacityIOPS: 100))
        try await host.addPool(
            PoolRegistration(
                name: "b", url: "memory:///b?overprovisioning=2", tags: ["ssd", "eu"], capacityBytes: 3 << 20,
                capacityIOPS: 1000))
        #expect(try await host.createVolume("first", tags: ["ssd"], requirements(3 << 20)).pool == "a")
        #expect(try await host.createVolume("second", tags: ["ssd"], requirements(1 << 20)).pool == "b")
        #expect(try await host.createVolume("third", tags: [], requirements(1 << 20)).pool == "a")
        #expect(try await host.createVolume("fast", tags: ["ssd"], requirements(512, minIOPS: 101)).pool == "b")
        // Where it is, though there is more room elsewhere.
        #expect(try await host.createVolume("second", tags: ["ssd"], requirements(1 << 20)).pool == "b")
        let error = await expect(.notFound) {
            try await host.createVolume("large", tags: ["ssd"], requirements(5 << 20))
        }
        #expect(error?.why.contains("a has 4194304 logical bytes left") == true, "\(error?.why ?? "")")
        #expect(error?.why.contains("b has 5242368 logical bytes left") == true)
        let iops = await expect(.notFound) {
            try await host.createVolume("fast2", tags: ["ssd", "eu"], requirements(512, minIOPS: 900))
        }
        #expect(iops?.why.contains("b has 899 IOPS left") == true, "\(iops?.why ?? "")")
        #expect(iops?.why.contains("a has no tag eu") == true)
    }

    @Test("a pool that hangs delays no choice, and is named when nothing else has room")
    func hangingPool() async throws {
        let site = try Site()
        let host = try await site.host()
        try await host.addPool(PoolRegistration(name: "a", url: "memory:///a", capacityBytes: 1 << 20))
        let record = PoolRecord(name: "hanging", url: "memory:///hanging?deadline=2", tags: [])
        #expect(try await host.catalog.insert(record) == nil)
        let start = ContinuousClock.now
        #expect(try await host.createVolume("v", tags: [], requirements(1 << 20)).pool == "a")
        let error = await expect(.notFound) { try await host.createVolume("w", tags: [], requirements(1 << 20)) }
        #expect(error?.why.contains("hanging has not answered within its deadline") == true, "\(error?.why ?? "")")
        #expect(ContinuousClock.now - start < .seconds(60))
    }

    @Test("limits hold for volumes, clones, copies, sizes, policies and lazy volumes of a host")
    func limits() async throws {
        let host = try await Site().host()
        try await host.addPool(
            PoolRegistration(name: "a", url: "memory:///a", capacityBytes: 4 << 20, capacityIOPS: 100))
        func address(_ name: String) -> VolumeAddress { VolumeAddress(pool: "a", name: name) }
        try await host.createVolume(address("lazy"), requirements(2 << 20, minIOPS: 60, isLazy: true))
        try await host.createVolume(address("v"), requirements(1 << 20))
        await expect(.quotaExceeded) { try await host.createVolume(address("w"), requirements(2 << 20)) }
        await expect(.quotaExceeded) {
            try await host.createVolume(address("w"), requirements(512, minIOPS: 41, isLazy: true))
        }
        await expect(.quotaExceeded) { try await host.setQoS(QoSPolicy(minIOPS: 41), of: address("v")) }
        try await host.setQoS(QoSPolicy(minIOPS: 40), of: address("v"))
        await expect(.quotaExceeded) { try await host.resizeVolume(address("v"), to: 3 << 20) }
        _ = try await host.cloneVolume(address("v"), to: address("clone")).value
        await expect(.quotaExceeded) {
            try await host.cloneVolume(address("v"), to: address("copy"), CloneRequest(isFull: true)).value
        }
        await expect(.quotaExceeded) { try await host.copyVolume(address("v"), to: address("copy")).value }
        let details = try await host.poolDetails("a")
        #expect(details.provisionedBytes == 4 << 20 && details.allocatedIOPS == 100)
        // Made in the room that it was promised, and that is free again when it is gone.
        #expect(try await host.openVolume(address("lazy"), mode: .readOnly).geometry.size == 2 << 20)
        #expect(try await host.poolDetails("a").provisionedBytes == 4 << 20)
        try await host.deleteVolume(address("clone"))
        _ = try await host.copyVolume(address("v"), to: address("copy")).value
    }
}
