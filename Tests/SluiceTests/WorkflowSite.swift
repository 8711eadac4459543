import BlockStorage
import Foundation
import IORuntime
import Logging
import Metrics
import SystemPackage
import Templates

@testable import Sluice

/// A home and two pools of files with something in them, which workflows are run on, killed in and run on again.
struct WorkflowSite {
    static let size: UInt64 = 256 << 10
    /// As it was prepared.
    private let saved: String
    /// Where hosts work.
    let root: String

    var home: String { root + "/home" }
    func poolPath(_ pool: String) -> String { root + "/" + pool }
    func path(_ name: String) -> String { root + "/files/" + name }

    /// A site that is there already.
    init(at directory: String) {
        saved = directory + "/saved"
        root = directory + "/site"
    }

    /// The drivers of the product, with observed pools.
    static func drivers(_ observe: @escaping StepObserver) -> [PoolDriver] {
        PoolDriver.all.map { driver in
            var observed = driver
            observed.open = { configuration throws(StorageError) in
                let opened = try await driver.open(configuration)
                return OpenedPool(ObservedPool(base: opened.pool, observe: observe), identity: opened.identity)
            }
            return observed
        }
    }

    /// A host of this site; `observe` is called at every catalog write and pool call.
    func host(
        wait: Duration = .seconds(10), drivers: [PoolDriver]? = nil,
        _ observe: @escaping StepObserver = { _ throws(StorageError) in }
    ) async throws -> StorageHost {
        var logger = Logger(label: "test")
        logger.logLevel = .error
        return try await StorageHost.open(
            home: home, drivers: drivers ?? Self.drivers(observe), logger: logger, metrics: NOOPMetricsHandler.instance,
            operationWait: wait,
            journalDirectory: root + "/journals",
            observer: { () throws(StorageError) in try observe("catalog") })
    }

    /// Makes the pools `a` and `b`. In `a`: the template `base` and its clone `clone`, with a policy; `disk`, with data
    /// and the snapshot `monday` of other data; `plain`, raw, with a policy; `lazy`, not made yet; and the file
    /// `stray`, which nobody has adopted. In `b` the template `old`. A raw image in `files/image`.
    func prepare() async throws {
        for directory in ["a", "b", "files", "journals"] {
            try FileManager.default.createDirectory(
                atPath: root + "/" + directory, withIntermediateDirectories: true)
        }
        try pattern(7).write(to: URL(filePath: path("image")))
        try pattern(9).write(to: URL(filePath: poolPath("a") + "/stray"))
        let host = try await host()
        for pool in ["a", "b"] {
            try await host.addPool(PoolRegistration(name: pool, url: "dir://" + poolPath(pool)))
        }
        _ = try await host.importTemplate(
            a("base"), from: FileTemplateSource(path: FilePath(path("image"))), .raw
        ).value
        _ = try await host.importTemplate(
            b("old"), from: FileTemplateSource(path: FilePath(path("image"))), .raw
        ).value
        let policy = try QoSPolicy(minIOPS: 10, maxIOPS: 100)
        _ = try await host.cloneVolume(a("base"), to: a("clone"), CloneRequest(qos: policy)).value
        try await write(1, to: a("clone"), host)
        try await host.createVolume(a("disk"), VolumeRequirements(size: Self.size))
        try await write(2, to: a("disk"), host)
        _ = try await host.createSnapshot("monday", of: a("disk"))
        try await write(3, to: a("disk"), host)
        try await host.createVolume(a("plain"), VolumeRequirements(size: Self.size, format: .raw, qos: policy))
        try await write(4, to: a("plain"), host)
        try await host.createVolume(a("lazy"), VolumeRequirements(size: Self.size, qos: policy, isLazy: true))
        try? FileManager.default.removeItem(atPath: saved)
        try FileManager.default.copyItem(atPath: root, toPath: saved)
    }

    /// Makes all as it was prepared.
    func reset() throws {
        try FileManager.default.removeItem(atPath: root)
        try FileManager.default.copyItem(atPath: saved, toPath: root)
    }

    func a(_ name: String, snapshot: String? = nil) -> VolumeAddress {
        VolumeAddress(pool: "a", name: name, snapshot: snapshot)
    }

    func b(_ name: String) -> VolumeAddress { VolumeAddress(pool: "b", name: name) }

    /// Bytes that begin with data and end with zeros.
    func pattern(_ seed: UInt8) -> Data {
        Data(repeating: seed, count: Int(Self.size / 2)) + Data(count: Int(Self.size / 2))
    }

    /// Writes at two places of a volume.
    func write(_ seed: UInt8, to volume: VolumeAddress, _ host: StorageHost) async throws {
        let opened = try await host.openVolume(volume, mode: .exclusive)
        try await opened.write([UInt8](repeating: seed, count: 5000).rawBytes, at: 1000)
        try await opened.write([UInt8](repeating: seed, count: 512).rawBytes, at: 200 << 10)
        try await opened.close()
    }

    /// All that can be told of a site, apart from what changes by itself.
    struct State: Equatable {
        var facts: Set<String> = []
        var contents: [String: Data] = [:]

        /// What `other` has not (`+`) and what it alone has (`-`).
        func changes(from other: State) -> [String] {
            let bytes = Set(contents.keys).union(other.contents.keys).filter { contents[$0] != other.contents[$0] }
            return facts.subtracting(other.facts).sorted().map { "+ \($0)" }
                + other.facts.subtracting(facts).sorted().map { "- \($0)" } + bytes.sorted().map { "bytes of \($0)" }
        }
    }

    func state(_ host: StorageHost) async throws -> State {
        var state = State()
        for pool in ["a", "b"] {
            let storage = try await host.pool(pool)
            for volume in try await storage.listVolumes() + storage.listTemplates() {
                state.facts.insert(
                    "\(pool)/\(volume.name): \(volume.format?.rawValue ?? "?") \(volume.virtualSize) "
                        + "\(volume.provisioning) of \(volume.template?.description ?? "nothing") \(volume.snapshots) "
                        + "managed \(volume.isManaged) template \(volume.isTemplate)")
                guard volume.isManaged else { continue }
                // A writer takes up what a dead one left in memory; a volume with clones cannot have one.
                if let writer = try? await storage.openVolume(VolumeReference(volume.name), mode: .exclusive) {
                    try await writer.close()
                }
                for snapshot in [nil] + volume.snapshots {
                    let reference = VolumeReference(volume.name, snapshot: snapshot)
                    state.contents["\(pool)/\(reference)"] = try await storage.bytes(of: reference)
                }
            }
            for record in try await host.catalog.volumes(in: pool) { state.facts.insert("\(record)") }
            for volume in try await storage.listTemplates() {
                if let record = try await host.catalog.template(volume.name, in: pool) {
                    state.facts.insert("\(pool)/\(volume.name): \(record)")
                }
            }
        }
        for recorded in try await host.intents.all() { state.facts.insert("intent: \(recorded.workflow.description)") }
        for directory in ["a", "b", "home/run", "files", "journals"] {
            let names = try? FileManager.default.subpathsOfDirectory(atPath: root + "/" + directory)
            for name in names ?? [] {
                // What a pool says of a file is the target of a link; at its end, which process made it.
                let path = root + "/" + directory + "/" + name
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path)
                let declaration = target?.split(separator: ":", omittingEmptySubsequences: false).prefix(5).joined(
                    separator: ":")
                state.facts.insert("file \(directory)/\(name) \(declaration ?? "")")
            }
        }
        return state
    }
}

extension StoragePool {
    func bytes(of reference: VolumeReference) async throws -> Data {
        let volume = try await openVolume(reference, mode: .readOnly)
        let bytes = try await volume.bytes()
        try await volume.close()
        return bytes
    }
}

extension Volume {
    /// All of them.
    func bytes() async throws -> Data {
        var bytes = [UInt8](repeating: 0, count: Int(geometry.size))
        var span = bytes.mutableRawBytes
        try await read(into: &span, at: 0)
        return Data(bytes)
    }
}
