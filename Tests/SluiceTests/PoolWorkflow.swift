import BlockStorage
import IORuntime

@testable import Sluice

/// What is done to a pool in more than one step.
enum PoolWorkflow: String, CaseIterable, Codable, Sendable {
    case snapshot, deleteSnapshot, revert, delete, deleteClone, deleteTemplate, cloneOfSnapshot, rename, resize
    case setQoS, flatten, importTemplate, linkedClone, firstClone, grownClone, fullClone, createFat, attach

    func perform(_ host: StorageHost, _ site: some PoolSite) async throws {
        switch self {
        case .importTemplate: try await site.importTemplate("new", host)
        case .createFat:
            try await host.createVolume(
                site.c("new"),
                VolumeRequirements(size: site.size, provisioning: .fat, qos: site.policy))
        case .linkedClone: try await clone("base", CloneRequest(qos: site.policy), host, site)
        case .firstClone: try await clone("fresh", CloneRequest(), host, site)
        case .grownClone: try await clone("fresh", CloneRequest(size: site.grownSize), host, site)
        case .fullClone: try await clone("base", CloneRequest(isFull: true), host, site)
        case .cloneOfSnapshot: try await clone("disk", snapshot: "monday", CloneRequest(), host, site)
        case .snapshot: _ = try await host.createSnapshot("new", of: site.c("plain"))
        case .deleteSnapshot: try await host.deleteSnapshot("monday", of: site.c("disk"))
        case .revert: try await host.revert(site.c("disk"), to: "monday")
        case .delete: try await host.deleteVolume(site.c("plain"))
        case .deleteClone: try await host.deleteVolume(site.c("clone"))
        case .deleteTemplate: try await host.deleteTemplate(site.c("fresh"))
        case .resize: try await host.resizeVolume(site.c("plain"), to: site.grownSize)
        case .rename: try await host.renameVolume(site.c("plain"), to: "new")
        case .flatten: try await host.flattenVolume(site.c("clone"))
        case .attach:
            let volume = try await host.openVolume(site.c("plain"), mode: .exclusive)
            try await volume.write([UInt8](repeating: 5, count: 512).rawBytes, at: 512)
            try await volume.flush()
            try await volume.close()
        case .setQoS: try await host.setQoS(site.otherPolicy, of: site.c("plain"))
        }
    }

    private func clone(
        _ source: String, snapshot: String? = nil, _ request: CloneRequest, _ host: StorageHost, _ site: some PoolSite
    ) async throws {
        _ = try await host.cloneVolume(site.c(source, snapshot: snapshot), to: site.c("new"), request).value
    }

    /// Makes everything as it was before.
    func undo(_ host: StorageHost, _ site: some PoolSite) async throws {
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
            try await host.createVolume(site.c("disk"), VolumeRequirements(size: site.size))
            try await site.write(2, to: site.c("disk"), host)
            _ = try await host.createSnapshot("monday", of: site.c("disk"))
            try await site.write(3, to: site.c("disk"), host)
        case .delete: try await site.makePlain(host)
        case .attach:
            let volume = try await host.openVolume(site.c("plain"), mode: .exclusive)
            try await volume.write([UInt8](repeating: 0, count: 512).rawBytes, at: 512)
            try await volume.close()
        case .deleteClone, .flatten:
            try await host.deleteVolume(site.c("clone"))
            _ = try await host.cloneVolume(site.c("base"), to: site.c("clone"), CloneRequest(qos: site.policy))
                .value
            try await site.write(1, to: site.c("clone"), host)
        case .deleteTemplate: try await site.importTemplate("fresh", host)
        case .resize:
            // Not every pool can shrink it.
            try await host.deleteVolume(site.c("plain"))
            try await site.makePlain(host)
        case .rename: try await host.renameVolume(site.c("new"), to: "plain")
        case .setQoS: try await host.setQoS(site.policy, of: site.c("plain"))
        }
    }
}
