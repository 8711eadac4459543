import BlockStorage

extension ConformanceTest {
    static let lifecycle: [ConformanceTest] = [
        ConformanceTest("lifecycle/new-volume-reads-zero", "A new volume reads zeros, however it is provisioned.") {
            context in
            for provisioning in ProvisioningType.allCases {
                let name = try await context.create(provisioning: provisioning)
                let zeros = VolumeModel(size: context.size, seed: 0)
                try await context.verify(VolumeReference(name), zeros, "of a new \(provisioning) volume")
                let description = try await context.pool.describeVolume(name)
                try expectEqual(description.provisioning, provisioning, "provisioning of \(name)")
            }
        },
        ConformanceTest("lifecycle/reused-name-reads-zero", "A volume under the name of a deleted one reads zeros.") {
            context in
            let (name, _) = try await context.createFilled()
            try await context.pool.deleteVolume(name, policy: .refuse)
            for provisioning in ProvisioningType.allCases {
                _ = try await context.pool.createVolume(name, context.request(provisioning: provisioning))
                let zeros = VolumeModel(size: context.size, seed: 0)
                try await context.verify(VolumeReference(name), zeros, "of a \(provisioning) volume with a used name")
                try await context.pool.deleteVolume(name, policy: .refuse)
            }
        },
        ConformanceTest("lifecycle/create-is-idempotent", "Creating the same again succeeds, differently is refused.") {
            context in
            let (name, model) = try await context.createFilled()
            _ = try await context.pool.createVolume(name, context.request())
            try await context.verify(VolumeReference(name), model, "after creating the same volume again")
            try await expectError(.alreadyExists, from: "creating a volume again with another size") {
                try await context.pool.createVolume(name, context.request(size: context.size * 2))
            }
            for format in context.pool.formats where format != context.format {
                try await expectError(.alreadyExists, from: "creating a volume again in format \(format)") {
                    try await context.pool.createVolume(name, CreateRequest(size: context.size, format: format))
                }
            }
            try await context.verify(VolumeReference(name), model, "after refused creations")
        },
        ConformanceTest("lifecycle/delete-is-idempotent", "Deleting what is not there succeeds.") { context in
            let name = try await context.create()
            for _ in 0..<3 { try await context.pool.deleteVolume(name, policy: .refuse) }
            try await context.pool.deleteVolume(context.newName(), policy: .refuse)
            try await context.pool.deleteTemplate(context.newTemplateName())
        },
        ConformanceTest("lifecycle/describe", "A volume is described and listed as it was created, then gone.") {
            context in
            let name = try await context.create()
            let listed = try await context.pool.listVolumes().filter { $0.name == name }
            try expectEqual(listed.count, 1, "entries of \(name) in the list")
            for description in try await [context.pool.describeVolume(name)] + listed {
                try expectEqual(description.name, name, "name")
                try expectEqual(description.virtualSize, context.size, "virtual size of \(name)")
                try expectEqual(description.format, context.format, "format of \(name)")
                try expect(!description.path.isEmpty, "\(name) has no path")
                try expect(description.isManaged && !description.isTemplate, "\(name) is not a managed volume")
                try expect(description.template == nil, "\(name) has a template")
            }
            try await context.pool.deleteVolume(name, policy: .refuse)
            try await expectError(.notFound, from: "describing a deleted volume") {
                try await context.pool.describeVolume(name)
            }
            let left = try await context.pool.listVolumes()
            try expect(!left.contains { $0.name == name }, "the deleted \(name) is still listed")
        },
        ConformanceTest("lifecycle/concurrent-create", "Of creations at once, one wins and the same ones succeed.") {
            context in
            let name = context.newName()
            let outcomes = await withTaskGroup(of: (UInt64, StorageError.Code?).self) { group in
                for index in 0..<8 {
                    let size = context.size * (index % 2 == 0 ? 1 : 2)
                    group.addTask {
                        do throws(StorageError) {
                            _ = try await context.pool.createVolume(name, context.request(size: size))
                            return (size, nil)
                        } catch {
                            return (size, error.code)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            let winner = try await context.pool.describeVolume(name).virtualSize
            for (size, code) in outcomes {
                try expectEqual(
                    code, size == winner ? nil : .alreadyExists, "creating \(size) bytes while \(winner) won")
            }
        },
        ConformanceTest("lifecycle/rename", "A renamed volume keeps its contents and nothing else is overwritten.") {
            context in
            let (name, model) = try await context.createFilled()
            let (newName, taken) = (context.newName(), try await context.create())
            try await context.pool.renameVolume(name, to: newName)
            try await context.verify(VolumeReference(newName), model, "after the rename")
            try await expectError(.notFound, from: "describing a volume by its old name") {
                try await context.pool.describeVolume(name)
            }
            try await expectError(.alreadyExists, from: "renaming onto another volume") {
                try await context.pool.renameVolume(newName, to: taken)
            }
            let zeros = VolumeModel(size: context.size, seed: 0)
            try await context.verify(VolumeReference(taken), zeros, "after a refused rename onto it")
        },
        ConformanceTest("lifecycle/check", "A volume that was used and closed is clean.") { context in
            let (name, _) = try await context.createFilled()
            let report = try await context.pool.checkVolume(name, repair: .none)
            try expectEqual(report.outcome, .clean, "check of \(name) \(report.findings)")
        },
        ConformanceTest("lifecycle/adopt", "Adopting a managed volume changes nothing.") { context in
            let (name, model) = try await context.createFilled()
            let adopted = try await context.pool.adoptVolume(name, format: context.format)
            try expectEqual(adopted.virtualSize, context.size, "virtual size of \(name)")
            try await context.verify(VolumeReference(name), model, "after adopting it")
        },
        ConformanceTest(
            "lifecycle/statistics", "What the pool says of its space is consistent.", perFormat: false
        ) { context in
            let statistics = try await context.pool.statistics()
            try expect(statistics.capacity > 0, "the capacity is 0")
            try expect(
                statistics.available <= statistics.capacity, "more is available than the capacity: \(statistics)")
        },
    ]
}
