import BlockStorage
import Foundation
import IORuntime
import Logging
import Metrics
import StorageConformance
import SystemPackage
import Testing

@testable import Sluice

/// A home and storage that several hosts open, as several processes do.
struct TestSite {
    let directory: TemporaryDirectory
    let storage = MemoryPool(name: "fast")
    let other = MemoryPool(name: "slow")

    /// What the cache of each attached volume is said to take.
    let cacheBytes: UInt64?

    init(cacheBytes: UInt64? = nil) throws {
        directory = try TemporaryDirectory()
        self.cacheBytes = cacheBytes
    }

    var home: String { directory.appending("home") }

    /// `memory:///fast` and `memory:///slow` are the same storage for every host. The directory stays as long as they do.
    var driver: PoolDriver {
        var driver = PoolDriver(scheme: "memory") { [storage, other, directory] configuration throws(StorageError) in
            _ = directory
            switch configuration.url.path {
            case "/fast": return OpenedPool(storage)
            case "/slow": return OpenedPool(other)
            default: throw StorageError(.notFound, "open pool", at: "\(configuration.url)")
            }
        }
        driver.cacheBytes = { [cacheBytes] _ in cacheBytes }
        return driver
    }

    /// A host with the pools `fast` and `slow`, of which an operation waits that long for others.
    func host(
        metrics: any MetricsFactory = NOOPMetricsHandler.instance, operationWait: Duration = .seconds(10)
    ) async throws -> StorageHost {
        let host = try await StorageHost.open(
            home: home, drivers: [driver], logger: Logger(label: "sluice"), metrics: metrics,
            operationWait: operationWait, journalDirectory: StorageHost.defaultJournalDirectory(), observer: nil)
        try await host.addPool(PoolRegistration(name: "fast", url: "memory:///fast", tags: ["ssd", "eu"]))
        try await host.addPool(PoolRegistration(name: "slow", url: "memory:///slow", tags: ["eu"]))
        return host
    }

    func serve(_ host: StorageHost, _ name: String, isReadOnly: Bool = false) async throws -> VolumeExport {
        try await host.exportVolume(
            VolumeAddress(pool: "fast", name: name),
            ExportOptions(
                addresses: [.unix(path: directory.appending("nbd-\(UUID().uuidString)"))], isReadOnly: isReadOnly))
    }
}

extension VolumeRequirements {
    /// The pools under test hold raw volumes.
    init(
        raw size: UInt64, provisioning: ProvisioningType = .thin, qos: QoSPolicy? = nil, isLazy: Bool = false
    ) {
        self.init(size: size, format: .raw, provisioning: provisioning, qos: qos, isLazy: isLazy)
    }
}

extension MemoryPool {
    var names: [String] { listVolumes().map(\.name) }
}

func fast(_ name: String) -> VolumeAddress { VolumeAddress(pool: "fast", name: name) }

@Suite struct StorageHostPoolTests {
    @Test("Adding a pool again succeeds with the same values and with no others")
    func idempotency() async throws {
        let host = try await TestSite().host()
        try await host.addPool(PoolRegistration(name: "fast", url: "MEMORY:///fast/", tags: ["eu", "ssd"]))
        await expect(.alreadyExists) {
            try await host.addPool(PoolRegistration(name: "fast", url: "memory:///fast", tags: ["eu"]))
        }
        await expect(.alreadyExists) {
            try await host.addPool(PoolRegistration(name: "fast", url: "memory:///slow", tags: ["eu", "ssd"]))
        }
        #expect(try await host.listPools().map(\.name) == ["fast", "slow"])
    }

    @Test("A pool that does not answer, has no driver or a bad name is not registered")
    func refusals() async throws {
        let host = try await TestSite().host()
        await expect(.notFound) { try await host.addPool(PoolRegistration(name: "a", url: "memory:///none")) }
        await expect(.notSupported) { try await host.addPool(PoolRegistration(name: "a", url: "gopher://x/y")) }
        await expect(.invalidArgument) { try await host.addPool(PoolRegistration(name: "../a", url: "memory:///fast")) }
        await expect(.invalidArgument) {
            try await host.addPool(PoolRegistration(name: "a", url: "memory:///fast?colour=red"))
        }
        #expect(try await host.listPools().count == 2)
        await expect(.notFound) { try await host.poolDetails("a") }
    }

    @Test("The secret of a URL is in the secret store and nowhere else, and goes with its pool")
    func secrets() async throws {
        let site = try TestSite()
        let host = try await site.host()
        let url = "memory://admin:hunter2@host/fast"
        let added = try await host.addPool(PoolRegistration(name: "secret", url: url))
        #expect(added.url == "memory://admin@host/fast")
        try await host.addPool(PoolRegistration(name: "secret", url: added.url, secret: Secret("hunter2")))
        await expect(.alreadyExists) {
            try await host.addPool(PoolRegistration(name: "secret", url: added.url, secret: Secret("hunter3")))
        }
        #expect(try holders(of: "hunter2", in: site.home).allSatisfy { $0.contains("/secrets/") })
        #expect(try holders(of: "hunter2", in: site.home).count == 1)
        try await host.removePool("secret")
        try await host.removePool("secret")
        #expect(try holders(of: "hunter", in: site.home).isEmpty)
    }

    /// The files under `path` that contain `text`.
    private func holders(of text: String, in path: String) throws -> [String] {
        let files = try FileManager.default.subpathsOfDirectory(atPath: path).map { "\(path)/\($0)" }
        return files.filter { FileManager.default.contents(atPath: $0)?.range(of: Data(text.utf8)) != nil }
    }

    @Test("Details add up what the volumes promise")
    func details() async throws {
        let host = try await TestSite().host()
        try await host.createVolume(fast("a"), .init(raw: 1 << 20, qos: QoSPolicy(minIOPS: 100)))
        try await host.createVolume(fast("b"), .init(raw: 2 << 20, qos: QoSPolicy(minIOPS: 50), isLazy: true))
        let details = try await host.poolDetails("fast")
        #expect(details.allocatedIOPS == 150)
        #expect(details.provisionedBytes == 3 << 20)
        #expect(details.deadlineSeconds == 60)
        #expect(details.tags == ["eu", "ssd"])
    }

    @Test("A pool is chosen by its tags, and a refusal says why each was rejected")
    func placement() async throws {
        let host = try await TestSite().host()
        #expect(try await host.choosePool(tags: ["ssd"], size: 1) == "fast")
        let error = await expect(.notFound) { try await host.choosePool(tags: ["ssd"], size: 1 << 41) }
        #expect(error?.why.contains("fast has") == true && error?.why.contains("slow has no tag ssd") == true)
    }
}

@Suite struct StorageHostVolumeTests {
    @Test("Creating is idempotent, and keeps what the pool cannot")
    func create() async throws {
        let host = try await TestSite().host()
        let policy = try QoSPolicy(minIOPS: 1, maxIOPS: 2, burstIOPS: 3)
        let requirements = VolumeRequirements(raw: 1 << 20, provisioning: .fat, qos: policy)
        let made = try await host.createVolume(fast("v"), requirements)
        #expect(made.qos == policy && made.provisioning == .fat && made.virtualSize == 1 << 20)
        #expect(try await host.createVolume(fast("v"), requirements) == made)
        await expect(.alreadyExists) { try await host.createVolume(fast("v"), .init(raw: 2 << 20)) }
        try await host.deleteVolume(fast("v"))
        try await host.deleteVolume(fast("v"))
        await expect(.notFound) { try await host.volumeDetails(fast("v")) }
    }

    @Test("A lazy volume is made when it is first used, and is listed before")
    func lazy() async throws {
        let site = try TestSite()
        let host = try await site.host()
        let requirements = VolumeRequirements(raw: 1 << 20, isLazy: true)
        let made = try await host.createVolume(fast("v"), requirements)
        #expect(made.path.isEmpty && made.virtualSize == 1 << 20 && made.format == .raw)
        #expect(site.storage.names.isEmpty)
        #expect(try await host.createVolume(fast("v"), requirements) == made)
        await expect(.alreadyExists) { try await host.createVolume(fast("v"), .init(raw: 5, isLazy: true)) }
        #expect(try await host.listVolumes(in: "fast").map(\.name) == ["v"])
        try await host.renameVolume(fast("v"), to: "w")
        let volume = try await host.openVolume(fast("w"), mode: .exclusive)
        #expect(volume.geometry.size == 1 << 20)
        try await volume.close()
        #expect(site.storage.names == ["w"])
        #expect(try await host.listVolumes(in: "fast").map(\.name) == ["w"])
        try await host.createVolume(fast("x"), requirements)
        try await host.deleteVolume(fast("x"))
        #expect(site.storage.names == ["w"])
    }

    @Test("Changing a policy leaves nothing of the old one, and removing it leaves none")
    func qos() async throws {
        let host = try await TestSite().host()
        try await host.createVolume(fast("v"), .init(raw: 1 << 20, qos: QoSPolicy(minIOPS: 1, maxIOPS: 2)))
        try await host.setQoS(QoSPolicy(maxIOPS: 5), of: fast("v"))
        let details = try await host.volumeDetails(fast("v"))
        #expect(try details.qos == QoSPolicy(maxIOPS: 5))
        #expect(details.enforcedBy == .none && details.minimum == .admissionOnly)
        try await host.setQoS(nil, of: fast("v"))
        #expect(try await host.volumeDetails(fast("v")).qos == nil)
        await expect(.notFound) { try await host.setQoS(nil, of: fast("none")) }
    }

    @Test("A map is the same however many messages it takes")
    func map() async throws {
        let host = try await TestSite().host()
        let count = ControlMessage.extentsInReply + 1000
        try await host.createVolume(fast("v"), .init(raw: UInt64(count) << 16))
        let volume = try await host.openVolume(fast("v"), mode: .exclusive)
        // Every other chunk of 64 KiB is data.
        for index in stride(from: 0, to: count, by: 2) { try await volume.write([1].rawBytes, at: UInt64(index) << 16) }
        try await volume.close()
        var extents: [Extent] = []
        try await host.map(fast("v")) { extents += $0 }
        #expect(extents.count == count)
        #expect(extents.last?.range.upperBound == UInt64(count) << 16)
        #expect(zip(extents, extents.dropFirst()).allSatisfy { $0.range.upperBound == $1.range.lowerBound })
    }

    @Test("A migrated volume keeps its contents, its policy and its name")
    func migrate() async throws {
        let site = try TestSite()
        let host = try await site.host()
        let policy = try QoSPolicy(maxIOPS: 9)
        try await host.createVolume(fast("v"), .init(raw: 1 << 20, qos: policy))
        try await write([1, 2, 3], to: fast("v"), host)
        _ = try await host.migrateVolume(fast("v"), to: "slow").value
        #expect(site.storage.names.isEmpty && site.other.names == ["v"])
        let moved = VolumeAddress(pool: "slow", name: "v")
        #expect(try await host.volumeDetails(moved).qos == policy)
        #expect(try await read(3, from: moved, host) == [1, 2, 3])
        await expect(.alreadyExists) {
            try await host.createVolume(fast("v"), .init(raw: 1 << 20))
            _ = try await host.migrateVolume(fast("v"), to: "slow").value
        }
        #expect(site.storage.names == ["v"])
    }

    private func write(_ bytes: [UInt8], to volume: VolumeAddress, _ host: StorageHost) async throws {
        let opened = try await host.openVolume(volume, mode: .exclusive)
        try await opened.write(bytes.rawBytes, at: 0)
        try await opened.close()
    }

    private func read(_ count: Int, from volume: VolumeAddress, _ host: StorageHost) async throws -> [UInt8] {
        let opened = try await host.openVolume(volume, mode: .readOnly)
        var result = [UInt8](repeating: 0, count: count)
        var bytes = result.mutableRawBytes
        try await opened.read(into: &bytes, at: 0)
        try await opened.close()
        return result
    }

    @Test("Addresses are taken apart, and hostile ones refused")
    func addresses() async throws {
        #expect(try VolumeAddress("p/v@s") == VolumeAddress(pool: "p", name: "v", snapshot: "s"))
        #expect(try VolumeAddress("p/v").snapshot == nil)
        let bad = ["", "p", "p/", "/v", "p/v@", "p/v/w", "p/../v", "p/v@s@t", "p/v\u{0}", "p/.v", "-p/v", "p/ä", "@/@"]
        for text in bad { await expect(.invalidArgument) { try VolumeAddress(text) } }
    }
}

@Suite struct StorageHostExportTests {
    @Test("What another process asks of a served volume is done by the one that serves it, before it returns")
    func requests() async throws {
        let site = try TestSite()
        let serving = try await site.host()
        let other = try await site.host()
        try await serving.createVolume(fast("v"), .init(raw: 1 << 20))
        let export = try await site.serve(serving, "v")
        try await other.resizeVolume(fast("v"), to: 2 << 20)
        #expect(export.attachment.volume.geometry.size == 2 << 20)
        try await other.setQoS(QoSPolicy(maxIOPS: 7), of: fast("v"))
        let details = try await other.volumeDetails(fast("v"))
        #expect(try details.qos == QoSPolicy(maxIOPS: 7))
        #expect(details.attachment?.mode == .exclusive)
        #expect(details.attachment?.holder.contains("pid \(getpid())") == true)
        _ = try await other.createSnapshot("s", of: fast("v"))
        #expect(try await other.listSnapshots(of: fast("v")).map(\.name) == ["s"])
        try await other.deleteSnapshot("s", of: fast("v"))
        var size: UInt64 = 0
        try await other.map(fast("v")) { size = $0.last?.range.upperBound ?? size }
        #expect(size == 2 << 20)
        // The error of the other process arrives as its own.
        let error = await expect(.invalidArgument) { try await other.resizeVolume(fast("v"), to: 512) }
        #expect(error?.why == "a smaller size must be asked for")
        try await export.stop()
        #expect(try await other.volumeDetails(fast("v")).attachment == nil)
    }

    @Test("Everything else answers busy and names the holder")
    func busy() async throws {
        let site = try TestSite()
        let serving = try await site.host()
        let other = try await site.host()
        try await serving.createVolume(fast("v"), .init(raw: 1 << 20))
        let export = try await site.serve(serving, "v")
        let attempts: [() async throws -> Void] = [
            { try await other.deleteVolume(fast("v")) }, { try await other.renameVolume(fast("v"), to: "w") },
            { try await other.flattenVolume(fast("v")) }, { try await other.breakLock(of: fast("v")) },
            { _ = try await other.checkVolume(fast("v"), repair: .all) },
            { _ = try await other.migrateVolume(fast("v"), to: "slow").value }, { try await other.removePool("fast") },
            { _ = try await other.openVolume(fast("v"), mode: .exclusive) },
            { _ = try await site.serve(other, "v") }, { _ = try await site.serve(serving, "v", isReadOnly: true) },
        ]
        for attempt in attempts {
            let error = await expect(.busy) { try await attempt() }
            #expect(error?.why.contains("pid \(getpid())") == true, "\(error as Any)")
        }
        #expect(site.storage.names == ["v"])
        try await export.stop()
        try await other.deleteVolume(fast("v"))
    }

    @Test("Exports of several volumes run side by side and are listed; readers share one")
    func several() async throws {
        let site = try TestSite()
        let host = try await site.host()
        var exports: [VolumeExport] = []
        for name in ["a", "b"] {
            try await host.createVolume(fast(name), .init(raw: 1 << 20))
            exports.append(try await site.serve(host, name))
        }
        try await host.createVolume(fast("c"), .init(raw: 1 << 20))
        for _ in 0..<2 { exports.append(try await site.serve(host, "c", isReadOnly: true)) }
        #expect(try await host.runningExports().map(\.volume) == ["a", "b", "c", "c"])
        #expect(try await host.volumeDetails(fast("c")).attachment?.mode == .readOnly)
        for export in exports { try await export.stop() }
        #expect(try await host.runningExports().isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: site.home + "/run").isEmpty)
    }

    @Test("An export that cannot start leaves nothing behind")
    func failedStart() async throws {
        let site = try TestSite()
        let host = try await site.host()
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        await expect(.permissionDenied) {
            try await host.exportVolume(
                fast("v"), ExportOptions(addresses: [.tcp(host: "0.0.0.0", port: 0)]))
        }
        await expect(.notFound) {
            try await host.exportVolume(
                fast("v"), ExportOptions(addresses: [.unix(path: site.directory.appending("none/socket"))]))
        }
        #expect(try await host.runningExports().isEmpty)
        try await host.deleteVolume(fast("v"))
    }

    @Test("A hypervisor gets the export while one runs")
    func hypervisorDisk() async throws {
        let site = try TestSite()
        let host = try await site.host()
        try await host.createVolume(fast("v"), .init(raw: 1 << 20))
        // No hypervisor opens memory.
        await expect(.notSupported) { try await host.hypervisorDisk(fast("v")) }
        let export = try await site.serve(host, "v")
        let arguments = try await host.hypervisorDisk(fast("v")).qemuArguments[1]
        #expect(arguments.contains("server.path=\(site.directory.path)/nbd-"))
        #expect(arguments.contains("export=fast/v"))
        try await export.stop()
    }
}
