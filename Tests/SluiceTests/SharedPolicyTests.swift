import BlockStorage
import Foundation
import StorageConformance
import Testing

@testable import Sluice

/// A pool whose storage holds all its volumes to one policy, as a LUN of an array that hosts share does.
@Suite struct SharedPolicyTests {
    private let directory: TemporaryDirectory
    private let policy: QoSPolicy
    private let ownPolicy: QoSPolicy

    init() throws {
        directory = try TemporaryDirectory()
        policy = try QoSPolicy(minIOPS: 500, maxIOPS: 1000, burstIOPS: 2000)
        ownPolicy = try QoSPolicy(maxIOPS: 100)
    }

    /// A host with such a pool, `shared`, and the pool `plain`, whose volumes have policies of their own.
    private func host() async throws -> StorageHost {
        var driver = try #require(PoolDriver.all.first { $0.scheme == "dir" })
        let open = driver.open
        driver.open = { [policy] configuration throws(StorageError) in
            var configuration = configuration
            if configuration.name == "shared" { configuration.sharedPolicy = policy }
            return try await open(configuration)
        }
        let host = try await StorageHost.open(home: directory.appending("home"), drivers: [driver])
        for pool in ["shared", "plain"] {
            let path = directory.appending(pool)
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            try await host.addPool(PoolRegistration(name: pool, url: "dir://" + path))
        }
        return host
    }

    private func shared(_ name: String) -> VolumeAddress { VolumeAddress(pool: "shared", name: name) }

    @Test("Its volumes tell the shared policy, which the array alone enforces")
    func details() async throws {
        let host = try await host()
        let made = try await host.createVolume(shared("v"), VolumeRequirements(size: 1 << 20))
        #expect(made.qos == policy && made.enforcedBy == .array && made.minimum == .enforced)
        await expect(.notSupported) { try await host.attach(shared("v"), AttachOptions(enforcer: .sluice)) }
        await expect(.notSupported) { try await host.attach(shared("v"), AttachOptions(enforcer: .hypervisor)) }
        let attachment = try await host.attach(shared("v"))
        #expect(attachment.enforcer == .array && attachment.throttle == nil)
        #expect(try await host.volumeDetails(shared("v")).enforcedBy == .array)
        try await attachment.detach()
    }

    @Test("A policy of one volume is refused, also of one that is made later")
    func refused() async throws {
        let host = try await host()
        for isLazy in [false, true] {
            let error = await expect(.notSupported) {
                try await host.createVolume(
                    shared("v"), VolumeRequirements(size: 1 << 20, qos: ownPolicy, isLazy: isLazy))
            }
            #expect(error?.why.contains("share the policy") == true)
        }
        #expect(try await host.listVolumes(in: "shared").isEmpty)
        #expect(try await host.intents.all().isEmpty)
        try await host.createVolume(shared("v"), VolumeRequirements(size: 1 << 20))
        try await host.createVolume(shared("lazy"), VolumeRequirements(size: 1 << 20, isLazy: true))
        for name in ["v", "lazy"] {
            await expect(.notSupported) { try await host.setQoS(ownPolicy, of: shared(name)) }
            #expect(try await host.volumeDetails(shared(name)).qos == policy)
            // There is none to be removed.
            try await host.setQoS(nil, of: shared(name))
        }
        await expect(.notSupported) {
            try await host.cloneVolume(shared("v"), to: shared("clone"), CloneRequest(qos: ownPolicy)).value
        }
        await expect(.notFound) { try await host.volumeDetails(shared("clone")) }
    }

    @Test("A volume that moves to another pool does not take the shared policy along")
    func migration() async throws {
        let host = try await host()
        try await host.createVolume(shared("v"), VolumeRequirements(size: 1 << 20))
        let moved = try await host.migrateVolume(shared("v"), to: "plain").value
        #expect(moved.qos == nil && moved.enforcedBy == .none)
    }

    @Test("A volume that moves there gives up its own policy for the shared one")
    func migrationIn() async throws {
        let host = try await host()
        let volume = VolumeAddress(pool: "plain", name: "v")
        try await host.createVolume(volume, VolumeRequirements(size: 1 << 20, qos: ownPolicy))
        let moved = try await host.migrateVolume(volume, to: "shared").value
        #expect(moved.qos == policy && moved.enforcedBy == .array)
    }

    @Test("It declares no policies of volumes, and the conformance suite finds it not capable of them")
    func conformance() async throws {
        let host = try await host()
        let pool = try await host.pool("shared")
        #expect(!pool.can(.qosMinimum) && !pool.can(.qosMaximum) && !pool.can(.qosBurst))
        var options = PoolConformance.Options()
        options.limited = { (limits) async throws(StorageError) in try await host.pool("shared", limits: limits) }
        let results = try await PoolConformance(pool, options: options).run(
            only: ["admission/policy", "admission/iops"])
        #expect(results.count == 4 && results.allSatisfy { $0.outcome == .notCapable }, "\(results)")
    }
}
