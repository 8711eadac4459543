import BlockStorage
import Foundation
import IORuntime
import SystemPackage
import Templates
import Testing

@testable import Sluice

/// The workflows of a host that take more than one step.
enum SweptWorkflow: String, CaseIterable, Codable {
    case create, createFat, lazyCreate, linkedClone, fullClone, copy, copySnapshot, fullCloneToOtherPool
    case migrate, migrateClone, migrateLazy, importTemplate, importVolume, exportSnapshot
    case attachLazy, serve, delete, deleteLazy, deleteTemplate, rename, renameLazy, adopt, setQoS

    func perform(_ host: StorageHost, _ site: WorkflowSite) async throws {
        let policy = try QoSPolicy(minIOPS: 5, maxIOPS: 50)
        switch self {
        case .create:
            try await host.createVolume(site.a("new"), VolumeRequirements(size: 1 << 20, qos: policy))
        case .createFat:
            try await host.createVolume(
                site.a("new"),
                VolumeRequirements(size: WorkflowSite.size, format: .raw, provisioning: .fat, qos: policy))
        case .lazyCreate:
            try await host.createVolume(site.a("new"), VolumeRequirements(size: 1 << 20, qos: policy, isLazy: true))
        case .linkedClone:
            _ = try await host.cloneVolume(site.a("base"), to: site.a("new"), CloneRequest(qos: policy)).value
        case .fullClone:
            _ = try await host.cloneVolume(
                site.a("disk", snapshot: "monday"), to: site.a("new"), CloneRequest(isFull: true, qos: policy)
            ).value
        case .copy: _ = try await host.copyVolume(site.a("clone"), to: site.b("new"), verifies: true).value
        case .copySnapshot:
            _ = try await host.copyVolume(site.a("disk", snapshot: "monday"), to: site.b("new")).value
        case .fullCloneToOtherPool:
            _ = try await host.cloneVolume(
                site.a("base"), to: site.b("new"), CloneRequest(size: 1 << 20, isFull: true, qos: policy)
            ).value
        case .migrate: _ = try await host.migrateVolume(site.a("plain"), to: "b").value
        case .migrateClone: _ = try await host.migrateVolume(site.a("clone"), to: "b", verifies: true).value
        case .migrateLazy: _ = try await host.migrateVolume(site.a("lazy"), to: "b").value
        case .importTemplate:
            _ = try await host.importTemplate(
                site.b("new"), from: FileTemplateSource(path: FilePath(site.path("image"))), .raw
            ).value
        case .importVolume:
            _ = try await host.importVolume(site.a("new"), from: FilePath(site.path("image")), .raw).value
        case .exportSnapshot:
            let file = FilePath(site.path("exported"))
            if FileManager.default.fileExists(atPath: file.string) { return }
            try await host.exportVolume(site.a("disk", snapshot: "monday"), to: file, .qcow2).value
        case .attachLazy:
            let volume = try await host.openVolume(site.a("lazy"), mode: .exclusive)
            try await volume.close()
        case .serve:
            let export = try await host.exportVolume(
                site.a("lazy"), ExportOptions(addresses: [.unix(path: site.path("socket"))]))
            do {
                try await export.attachment.volume.write([0].rawBytes, at: 0)
            } catch {
                try? await export.stop()
                throw error
            }
            try await export.stop()
        case .delete: try await host.deleteVolume(site.a("plain"))
        case .deleteLazy: try await host.deleteVolume(site.a("lazy"))
        case .deleteTemplate: try await host.deleteTemplate(site.b("old"))
        case .rename: try await host.renameVolume(site.a("plain"), to: "new")
        case .renameLazy:
            try await host.renameVolume(site.a("lazy"), to: "new")
        case .adopt: _ = try await host.adoptVolume(site.a("stray"), format: .raw)
        case .setQoS: try await host.setQoS(policy, of: site.a("plain"))
        }
    }
}

/// Does something at one of the steps that are counted.
final class StepCounter: Sendable {
    private struct State {
        var isArmed = false
        var count = 0
    }

    private let state = Locked(State())
    private let target: Int
    private let action: @Sendable () throws(StorageError) -> Void

    init(at target: Int = .max, _ action: @escaping @Sendable () throws(StorageError) -> Void) {
        self.target = target
        self.action = action
    }

    /// Begins to count.
    func arm() { state.withLock { $0.isArmed = true } }

    var count: Int { state.withLock { $0.count } }

    func step() throws(StorageError) {
        let isTarget = state.withLock { state in
            guard state.isArmed else { return false }
            state.count += 1
            return state.count == target
        }
        if isTarget { try action() }
    }
}

/// A workflow, with what there is before it and after it.
struct WorkflowSweep {
    enum Outcome { case done, undone }

    let directory: TemporaryDirectory
    let site: WorkflowSite
    private let workflow: SweptWorkflow
    private let before: WorkflowSite.State
    private let after: WorkflowSite.State

    init(_ workflow: SweptWorkflow) async throws {
        self.workflow = workflow
        directory = try TemporaryDirectory()
        site = WorkflowSite(at: directory.path)
        try await site.prepare()
        before = try await site.state(try await site.host())
        try site.reset()
        try await workflow.perform(try await site.host(), site)
        after = try await site.state(try await site.host())
    }

    /// Expects the workflow to be done or undone (the one, if that is given), and to succeed when it is repeated.
    @discardableResult
    func check(
        _ host: StorageHost, _ place: String, _ expected: Outcome? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> Outcome {
        let found = try await site.state(host)
        let outcome: Outcome? = found == after && expected != .undone ? .done : found == before ? .undone : nil
        #expect(
            outcome != nil && (expected == nil || outcome == expected || before == after),
            "\(place): from before \(found.changes(from: before)), from after \(found.changes(from: after))",
            sourceLocation: sourceLocation)
        try await workflow.perform(host, site)
        let changes = try await site.state(host).changes(from: after)
        #expect(changes.isEmpty, "repeated after \(place)", sourceLocation: sourceLocation)
        return outcome ?? .undone
    }
}
