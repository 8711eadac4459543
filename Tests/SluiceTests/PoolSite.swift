import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Templates

@testable import Sluice

/// A home and the pool `c` with something in it, which workflows are run on, killed in and run on again.
protocol PoolSite: Sendable {
    /// Where homes and files are.
    var root: String { get }
    func host() async throws -> StorageHost
    /// What the storage's own tools see, apart from what changes by itself.
    func storageFacts() async throws -> Set<String>
    /// Ends what the storage keeps of a process that died in a workflow.
    func forgetDead(_ workflow: PoolWorkflow) throws
    /// Of volumes, in bytes.
    var size: UInt64 { get }
    /// Two policies that it takes.
    var policy: QoSPolicy? { get }
    var otherPolicy: QoSPolicy? { get }
    /// What the storage says of a volume that is open to be read.
    func facts(of volume: any Volume) async throws -> Set<String>
}

extension PoolSite {
    var size: UInt64 { 256 << 10 }
    var policy: QoSPolicy? { try? QoSPolicy(minIOPS: 10, maxIOPS: 100) }
    var otherPolicy: QoSPolicy? { try? QoSPolicy(minIOPS: 5, maxIOPS: 50) }
    var grownSize: UInt64 { 4 * size }
    var imagePath: String { root + "/image" }

    func forgetDead(_ workflow: PoolWorkflow) throws {}

    func facts(of volume: any Volume) async throws -> Set<String> { [] }

    /// Makes the templates `base`, which has a clone, and `fresh`, which never had one; `disk`, with data and the
    /// snapshot `monday` of other data; and `plain`.
    func fill(_ host: StorageHost) async throws {
        try pattern(7).write(to: URL(filePath: imagePath))
        for template in ["base", "fresh"] { try await importTemplate(template, host) }
        _ = try await host.cloneVolume(c("base"), to: c("clone"), CloneRequest(qos: policy)).value
        try await write(1, to: c("clone"), host)
        try await host.createVolume(c("disk"), VolumeRequirements(size: size))
        try await write(2, to: c("disk"), host)
        _ = try await host.createSnapshot("monday", of: c("disk"))
        try await write(3, to: c("disk"), host)
        try await makePlain(host)
    }

    func importTemplate(_ name: String, _ host: StorageHost) async throws {
        _ = try await host.importTemplate(
            c(name), from: FileTemplateSource(path: FilePath(imagePath)), .raw
        ).value
    }

    func makePlain(_ host: StorageHost) async throws {
        try await host.createVolume(c("plain"), VolumeRequirements(size: size, qos: policy))
        try await write(4, to: c("plain"), host)
    }

    func c(_ name: String, snapshot: String? = nil) -> VolumeAddress {
        VolumeAddress(pool: "c", name: name, snapshot: snapshot)
    }

    /// Bytes that begin with data and end with zeros.
    func pattern(_ seed: UInt8) -> Data {
        Data(repeating: seed, count: Int(size / 2)) + Data(count: Int(size / 2))
    }

    /// Writes at two places of a volume.
    func write(_ seed: UInt8, to volume: VolumeAddress, _ host: StorageHost) async throws {
        let opened = try await host.openVolume(volume, mode: .exclusive)
        try await opened.write([UInt8](repeating: seed, count: 5120).rawBytes, at: 1024)
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
                let opened = try await storage.openVolume(reference, mode: .readOnly)
                state.contents["\(reference)"] = try await opened.bytes()
                for fact in try await facts(of: opened) { state.facts.insert("\(reference): \(fact)") }
                try await opened.close()
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
        state.facts.formUnion(try await storageFacts())
        return state
    }
}
