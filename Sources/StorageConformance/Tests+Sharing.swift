import BlockStorage

extension ConformanceTest {
    /// Templates and clones: volumes that share blocks.
    static let sharing: [ConformanceTest] = [
        ConformanceTest(
            "sharing/linked-clone", "A clone has its source's data and is written alone.", needs: [.linkedClone]
        ) {
            context in
            let (source, model) = try await context.createFilled()
            let clones = [
                try await context.clone(VolumeReference(source)), try await context.clone(VolumeReference(source)),
            ]
            let description = try await context.pool.describeVolume(clones[0])
            try expectEqual(description.template?.name, source, "template of the clone")
            try expectEqual(description.virtualSize, context.size, "size of the clone")
            try await context.verify(VolumeReference(clones[0]), model, "of a new clone")
            var changed = model
            try await context.with(VolumeReference(clones[0]), .exclusive) { volume in
                try await changed.mutate(volume, operations: 60)
                try await changed.verify(volume, "of the clone while it is open")
            }
            try await context.verify(VolumeReference(clones[0]), changed, "of the changed clone")
            try await context.verify(VolumeReference(clones[1]), model, "of the other clone")
            try await context.verify(VolumeReference(source), model, "of the source after its clone was written")
        },
        ConformanceTest(
            "sharing/source-stays-put", "No clone changes when its source is written.", needs: [.linkedClone]
        ) {
            context in
            let (source, model) = try await context.createFilled()
            let clone = try await context.clone(VolumeReference(source))
            do {
                let volume = try await context.open(VolumeReference(source), .exclusive)
                var changed = model
                try await changed.mutate(volume, operations: 40)
                try await volume.close()
            } catch let error as StorageError where error.code == .busy {
                try expect(error.description.contains(clone), "the refusal does not name the clone: \(error)")
            }
            try await context.verify(VolumeReference(clone), model, "of the clone after an attempt to write its source")
        },
        ConformanceTest(
            "sharing/source-with-clones", "A source with clones is not deleted; without them it is.",
            needs: [.linkedClone]
        ) {
            context in
            let (source, model) = try await context.createFilled()
            let clone = try await context.clone(VolumeReference(source))
            do {
                try await context.pool.deleteVolume(source, policy: .refuse)
                throw ConformanceFailure("deleting a volume that has a clone must throw busy, but succeeds")
            } catch let error as StorageError {
                try expectEqual(error.code, .busy, "code of deleting a volume that has a clone")
                try expect(error.description.contains(clone), "the refusal does not name the clone: \(error)")
            }
            try await context.verify(VolumeReference(clone), model, "of the clone after a refused deletion")
            try await context.pool.deleteVolume(clone, policy: .refuse)
            try await context.pool.deleteVolume(source, policy: .refuse)
        },
        ConformanceTest("sharing/clone-chain", "A clone of a clone reads through both.", needs: [.linkedClone]) {
            context in
            let (source, first) = try await context.createFilled()
            let middle = try await context.clone(VolumeReference(source))
            var second = first
            try await context.with(VolumeReference(middle), .exclusive) { try await second.mutate($0, operations: 30) }
            let top = try await context.clone(VolumeReference(middle))
            var third = second
            try await context.with(VolumeReference(top), .exclusive) { try await third.mutate($0, operations: 30) }
            try await context.verify(VolumeReference(top), third, "of the clone of a clone")
            try await context.verify(VolumeReference(middle), second, "of the clone in the middle")
            try await context.verify(VolumeReference(source), first, "of the first source")
        },
        ConformanceTest(
            "sharing/larger-clone", "A larger clone ends in zeros; a smaller one is refused.", needs: [.linkedClone]
        ) {
            context in
            let (source, filled) = try await context.createFilled()
            for full in [false, true] {
                var model = filled
                let clone = try await context.clone(VolumeReference(source), size: context.size * 2, full: full)
                model.grow(to: context.size * 2)
                try await context.verify(VolumeReference(clone), model, "of a larger clone")
                try await context.with(VolumeReference(clone), .exclusive) {
                    try await model.mutate($0, operations: 30)
                }
                try await context.verify(VolumeReference(clone), model, "of a larger clone that was written")
                let name = context.newName()
                try await expectError(.invalidArgument, from: "a clone smaller than its source") {
                    let request = CloneRequest(size: context.size / 2, isFull: full)
                    return try await context.pool.cloneVolume(VolumeReference(source), as: name, request)
                }
            }
        },
        ConformanceTest(
            "sharing/clone-is-idempotent", "The same clone again succeeds; another one is refused.",
            needs: [.linkedClone]
        ) {
            context in
            let (source, model) = try await context.createFilled()
            let other = try await context.create()
            let clone = try await context.clone(VolumeReference(source))
            _ = try await context.pool.cloneVolume(VolumeReference(source), as: clone, CloneRequest())
            try await expectError(.alreadyExists, from: "cloning another source to the name of a clone") {
                try await context.pool.cloneVolume(VolumeReference(other), as: clone, CloneRequest())
            }
            try await expectError(.alreadyExists, from: "cloning to the name of a volume") {
                try await context.pool.cloneVolume(VolumeReference(source), as: other, CloneRequest())
            }
            try await context.verify(VolumeReference(clone), model, "after cloning again")
        },
        ConformanceTest(
            "sharing/flatten", "A flattened clone keeps its data and lets its source go.",
            needs: [.linkedClone, .flatten]
        ) {
            context in
            let (source, model) = try await context.createFilled()
            let clone = try await context.clone(VolumeReference(source), size: context.size * 2)
            var changed = model
            changed.grow(to: context.size * 2)
            try await context.with(VolumeReference(clone), .exclusive) { try await changed.mutate($0, operations: 30) }
            try await context.pool.flattenVolume(clone)
            try expect(try await context.pool.describeVolume(clone).template == nil, "a flattened clone has a template")
            try await context.verify(VolumeReference(clone), changed, "of the flattened clone")
            try await context.pool.flattenVolume(clone)
            try await context.pool.deleteVolume(source, policy: .refuse)
            try await context.verify(VolumeReference(clone), changed, "of the flattened clone without its source")
            let report = try await context.pool.checkVolume(clone, repair: .none)
            try expectEqual(report.outcome, .clean, "check after flattening \(report.findings)")
        },
        ConformanceTest(
            "sharing/flatten-with-snapshots", "Flattening loses nothing that a snapshot holds.",
            needs: [.linkedClone, .flatten, .snapshot]
        ) { context in
            let (source, model) = try await context.createFilled()
            let clone = try await context.clone(VolumeReference(source))
            _ = try await context.pool.createSnapshot("first", of: clone)
            var changed = model
            try await context.with(VolumeReference(clone), .exclusive) { try await changed.mutate($0, operations: 30) }
            do {
                try await context.pool.flattenVolume(clone)
            } catch let error as StorageError where error.code == .busy {
                try expect(!error.why.isEmpty, "the refusal gives no reason")
            }
            try await context.verify(VolumeReference(clone), changed, "of the clone after flattening it")
            try await context.verify(VolumeReference(clone, snapshot: "first"), model, "of its snapshot")
        },
        ConformanceTest(
            "sharing/delete-flattening", "Deleting with `flatten` keeps the clones.", needs: [.linkedClone, .flatten]
        ) {
            context in
            let (source, model) = try await context.createFilled()
            let clones = [
                try await context.clone(VolumeReference(source)), try await context.clone(VolumeReference(source)),
            ]
            try await context.pool.deleteVolume(source, policy: .flatten)
            try await expectError(.notFound, from: "describing the deleted source") {
                try await context.pool.describeVolume(source)
            }
            for clone in clones { try await context.verify(VolumeReference(clone), model, "of a clone left behind") }
        },
        ConformanceTest("sharing/clone-of-snapshot", "A clone of a snapshot has its data.", needs: [.cloneFromSnapshot])
        {
            context in
            let (source, model) = try await context.createFilled()
            _ = try await context.pool.createSnapshot("base", of: source)
            var changed = model
            try await context.with(VolumeReference(source), .exclusive) { try await changed.mutate($0, operations: 30) }
            let clone = try await context.clone(VolumeReference(source, snapshot: "base"))
            try await context.verify(VolumeReference(clone), model, "of the snapshot's clone")
            try await context.verify(VolumeReference(source), changed, "of the source")
        },
        ConformanceTest(
            "sharing/template", "A template appears whole, is cloned, and stays while clones exist.", perFormat: false
        ) {
            context in
            let pool = context.pool
            let name = context.newTemplateName()
            let staged = try await context.stage(name)
            try await VolumeModel(size: context.size, seed: 0).verify(staged.volume, "of a template not yet written")
            var model = VolumeModel(size: context.size, seed: context.seed)
            try await model.mutate(staged.volume, operations: 40)
            let early = try await pool.listTemplates() + pool.listVolumes()
            try expect(!early.contains { $0.name == name }, "a template is visible before it is published")
            let published = try await staged.publish()
            try expect(published.isTemplate && published.name == name, "what is published is not that template")
            try expectEqual(try await pool.listTemplates().filter { $0.name == name }.count, 1, "listed templates")
            try expect(try await !pool.listVolumes().contains { $0.name == name }, "the template is listed as a volume")
            await staged.discard()
            try await context.verify(VolumeReference(name), model, "of the template")
            try await expectError(.readOnly, .invalidArgument, .busy, from: "opening a template for writing") {
                try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            }
            guard pool.can(.linkedClone) else { return }
            let clone = try await context.clone(VolumeReference(name))
            try expectEqual(try await pool.describeVolume(clone).template?.name, name, "template of the clone")
            var changed = model
            try await context.with(VolumeReference(clone), .exclusive) { try await changed.mutate($0, operations: 40) }
            try await context.verify(VolumeReference(clone), changed, "of the template's clone")
            try await context.verify(VolumeReference(name), model, "of the template after its clone was written")
            do {
                try await pool.deleteTemplate(name)
                throw ConformanceFailure("deleting a template that has a clone must throw busy, but succeeds")
            } catch let error as StorageError {
                try expectEqual(error.code, .busy, "code of deleting a template that has a clone")
                try expect(error.description.contains(clone), "the refusal does not name the clone: \(error)")
            }
            try await context.verify(VolumeReference(clone), changed, "of the clone after a refused deletion")
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteTemplate(name)
            try await expectError(.notFound, from: "describing a deleted template") {
                try await pool.describeVolume(name)
            }
        },
        ConformanceTest(
            "sharing/template-discarded", "A discarded template leaves no trace; of two, one is published.",
            perFormat: false
        ) {
            context in
            let pool = context.pool
            let name = context.newTemplateName()
            let discarded = try await context.stage(name)
            await discarded.discard()
            try await expectError(.notFound, from: "describing a discarded template") {
                try await pool.describeVolume(name)
            }
            let first = try await context.stage(name)
            let second = try await context.stage(name)
            var model = VolumeModel(size: context.size, seed: context.seed)
            try await model.mutate(first.volume, operations: 20)
            _ = try await first.publish()
            try await expectError(.alreadyExists, from: "publishing a second template of one name") {
                try await second.publish()
            }
            await second.discard()
            try await context.verify(VolumeReference(name), model, "of the template published first")
            try await expectError(.alreadyExists, from: "creating a volume with the name of a template") {
                try await pool.createVolume(name, context.request())
            }
        },
    ]
}
