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
            try await export.attachment.volume.write([0].rawBytes, at: 0)
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
    private let action: StepObserver

    init(at target: Int = .max, _ action: @escaping StepObserver = { () throws(StorageError) in }) {
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

/// Whatever catalog write or pool call is the last thing that a process does: after the next start the operation is done
/// or was never begun, nothing is left of it, and it can be repeated.
@Suite(.serialized) struct CrashSweepTests {
    @Test("A process may die at any step of a workflow", arguments: SweptWorkflow.allCases)
    func kill(workflow: SweptWorkflow) async throws {
        let directory = try TemporaryDirectory()
        let site = WorkflowSite(at: directory.path)
        try await site.prepare()
        let before = try await site.state(try await site.host())
        try site.reset()
        try await workflow.perform(try await site.host(), site)
        let after = try await site.state(try await site.host())

        var point = 0
        var finished = 0
        while true {
            point += 1
            try site.reset()
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = directory.path as String, workflow = workflow as SweptWorkflow, point = point as Int] in
                let site = WorkflowSite(at: path)
                let steps = StepCounter(at: point) { () throws(StorageError) in Glibc.kill(getpid(), SIGKILL) }
                let host = try await site.host { () throws(StorageError) in try steps.step() }
                steps.arm()
                try await workflow.perform(host, site)
                try Data("\(steps.count)".utf8).write(to: URL(filePath: path + "/done"))
                Glibc.kill(getpid(), SIGKILL)
            }
            if FileManager.default.fileExists(atPath: directory.appending("done")) { break }
            let host = try await site.host()
            let found = try await site.state(host)
            let (isDone, isUndone) = (found == after, found == before)
            #expect(
                isDone || isUndone,
                "point \(point): from before \(found.changes(from: before)), from after \(found.changes(from: after))")
            if isDone { finished += 1 }
            try await workflow.perform(host, site)
            let changes = try await site.state(host).changes(from: after)
            #expect(changes.isEmpty, "repeated after point \(point)")
        }
        print("\(workflow): killed at \(point - 1) points, \(finished) of them finished, the others undone")
    }
}
