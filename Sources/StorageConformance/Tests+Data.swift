import BlockStorage
import IORuntime

extension ConformanceTest {
    static let data: [ConformanceTest] = [
        ConformanceTest("data/read-what-was-written", "Writes, zero writes and discards read back, reopened too.") {
            context in
            let name = try await context.create()
            var model = VolumeModel(size: context.size, seed: context.seed)
            for round in 1...3 {
                try await context.with(VolumeReference(name), .exclusive) { volume in
                    try await model.mutate(volume, operations: 60)
                    try await model.verify(volume, "while it is open in round \(round)")
                }
                try await context.verify(VolumeReference(name), model, "reopened after round \(round)")
            }
        },
        ConformanceTest("data/parallel-writes", "Requests in flight together do not disturb each other.") { context in
            let name = try await context.create()
            let chunk = 20 << 10
            let count = Int(min(context.size, 4 << 20)) / chunk
            try await context.with(VolumeReference(name), .exclusive) { volume in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for worker in 0..<8 {
                        group.addTask {
                            for index in stride(from: worker, to: count, by: 8) {
                                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: index | 1), count: chunk)
                                try await volume.write(bytes.rawBytes, at: UInt64(index * chunk))
                                let found = try await volume.bytes(at: UInt64(index * chunk), count: chunk)
                                try expect(found == bytes, "chunk \(index) does not read back at once")
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                try await volume.flush()
            }
            try await context.with(VolumeReference(name), .readOnly) { volume in
                for index in 0..<count {
                    let found = try await volume.bytes(at: UInt64(index * chunk), count: chunk)
                    let expected = [UInt8](repeating: UInt8(truncatingIfNeeded: index | 1), count: chunk)
                    try expect(found == expected, "chunk \(index) was lost")
                }
            }
        },
        ConformanceTest(
            "data/extents", "Extents cover the volume in order, and only data is not zeros.", needs: [.extents]
        ) {
            context in
            let (name, _) = try await context.createFilled()
            try await context.with(VolumeReference(name), .readOnly) { volume in
                let whole = 0..<volume.geometry.size
                var position = whole.lowerBound
                for extent in try await volume.extents(in: whole) {
                    try expectEqual(extent.range.lowerBound, position, "start of the next extent")
                    try expect(!extent.range.isEmpty, "an extent at \(position) is empty")
                    position = extent.range.upperBound
                    guard extent.kind != .data else { continue }
                    for start in stride(from: extent.range.lowerBound, to: extent.range.upperBound, by: 1 << 20) {
                        let end = min(start + 1 << 20, extent.range.upperBound)
                        let bytes = try await volume.bytes(at: start, count: Int(end - start))
                        try expect(bytes.rawBytes.isZero, "a \(extent.kind) at \(start) holds data")
                    }
                }
                try expectEqual(position, whole.upperBound, "end of the last extent")
                try await expectError(.outOfRange, from: "asking for extents past the end") {
                    try await volume.extents(in: 0..<whole.upperBound + 4096)
                }
            }
        },
        ConformanceTest("data/grow", "Growing keeps the data and adds zeros.") { context in
            let (name, filled) = try await context.createFilled()
            var model = filled
            for wanted in [context.size + 64 << 10, context.size * 3] {
                try await context.pool.resizeVolume(name, to: wanted, allowShrink: false)
                // Arrays round sizes up.
                let newSize = try await context.pool.describeVolume(name).virtualSize
                try expect(newSize >= wanted && newSize - wanted <= 1 << 20, "\(wanted) bytes became \(newSize)")
                model.grow(to: newSize)
                try await context.verify(VolumeReference(name), model, "after growing to \(newSize)")
                try await context.with(VolumeReference(name), .exclusive) { try await model.mutate($0, operations: 20) }
                try await context.verify(VolumeReference(name), model, "after writing to the grown volume")
            }
            try await context.pool.resizeVolume(name, to: model.size, allowShrink: false)
            try await expectError(.invalidArgument, .notSupported, from: "shrinking without saying so") {
                try await context.pool.resizeVolume(name, to: context.size, allowShrink: false)
            }
            try await context.verify(VolumeReference(name), model, "after a refused shrink")
        },
        ConformanceTest("data/shrink", "What a shrink cut off reads as zeros when grown again.", needs: [.shrink]) {
            context in
            let (name, filled) = try await context.createFilled()
            var model = filled
            let half = context.size / 2 + 512
            try await context.pool.resizeVolume(name, to: half, allowShrink: true)
            model.shrink(to: half)
            try await context.verify(VolumeReference(name), model, "after shrinking")
            try await context.pool.resizeVolume(name, to: context.size, allowShrink: false)
            model.grow(to: context.size)
            try await context.verify(VolumeReference(name), model, "after shrinking and growing")
        },
        ConformanceTest(
            "data/grow-online", "An open volume grows, and the one who has it open sees it.", needs: [.resizeOnline]
        ) {
            context in
            let name = try await context.create()
            var model = VolumeModel(size: context.size, seed: context.seed)
            try await context.with(VolumeReference(name), .exclusive) { volume in
                try await model.mutate(volume, operations: 20)
                try await context.pool.resizeVolume(name, to: context.size * 2, allowShrink: false)
                model.grow(to: context.size * 2)
                try await model.verify(volume, "grown while it is open")
                try await model.mutate(volume, operations: 20)
            }
            try await context.verify(VolumeReference(name), model, "grown while it was open, reopened")
        },
        ConformanceTest("data/full-copy", "A full copy has the data and no tie to its source.") { context in
            let (name, model) = try await context.createFilled()
            let copy = try await context.clone(VolumeReference(name), full: true)
            try expect(try await context.pool.describeVolume(copy).template == nil, "a full copy has a template")
            try await context.verify(VolumeReference(copy), model, "of the copy")
            var changed = model
            try await context.with(VolumeReference(name), .exclusive) { try await changed.mutate($0, operations: 20) }
            try await context.verify(VolumeReference(copy), model, "of the copy after a change to its source")
            try await context.pool.deleteVolume(name, policy: .refuse)
            try await context.verify(VolumeReference(copy), model, "of the copy after its source was deleted")
        },
        ConformanceTest("data/snapshot", "A snapshot keeps its data while the volume changes.", needs: [.snapshot]) {
            context in
            let pool = context.pool
            let (name, first) = try await context.createFilled()
            let made = try await pool.createSnapshot("first", of: name)
            try expectEqual(made.size, context.size, "size of the snapshot")
            var current = first
            try await context.with(VolumeReference(name), .exclusive) { volume in
                try await current.mutate(volume, operations: 40)
                _ = try await pool.createSnapshot("second", of: name)
            }
            let second = current
            try await context.with(VolumeReference(name), .exclusive) { try await current.mutate($0, operations: 40) }
            let names = try await pool.listSnapshots(of: name).map(\.name).sorted()
            try expectEqual(names, ["first", "second"], "snapshots")
            try expectEqual(try await pool.describeVolume(name).snapshots.sorted(), names, "described snapshots")
            try await context.verify(VolumeReference(name, snapshot: "first"), first, "of the first snapshot")
            try await context.verify(VolumeReference(name, snapshot: "second"), second, "of the second snapshot")
            try await context.verify(VolumeReference(name), current, "beside its snapshots")
            try await pool.deleteSnapshot("first", of: name)
            try await pool.deleteSnapshot("first", of: name)
            try await context.verify(VolumeReference(name, snapshot: "second"), second, "of the snapshot that is left")
            try await context.verify(VolumeReference(name), current, "after deleting a snapshot")
            try expectEqual(
                try await pool.listSnapshots(of: name).map(\.name), ["second"], "snapshots after deleting one")
            let report = try await pool.checkVolume(name, repair: .none)
            try expectEqual(report.outcome, .clean, "check after snapshots \(report.findings)")
        },
        ConformanceTest("data/snapshot-is-idempotent", "A snapshot that exists is not taken again.", needs: [.snapshot])
        {
            context in
            let (name, model) = try await context.createFilled()
            _ = try await context.pool.createSnapshot("once", of: name)
            var changed = model
            try await context.with(VolumeReference(name), .exclusive) { try await changed.mutate($0, operations: 20) }
            _ = try await context.pool.createSnapshot("once", of: name)
            try await context.verify(VolumeReference(name, snapshot: "once"), model, "of the snapshot")
            try expectEqual(try await context.pool.listSnapshots(of: name).count, 1, "number of snapshots")
            try await expectError(.readOnly, .invalidArgument, from: "opening a snapshot for writing") {
                try await context.pool.openVolume(VolumeReference(name, snapshot: "once"), mode: .exclusive)
            }
        },
        ConformanceTest("data/revert", "Reverting brings back the data of any snapshot.", needs: [.snapshot, .revert]) {
            context in
            let pool = context.pool
            let (name, first) = try await context.createFilled()
            _ = try await pool.createSnapshot("first", of: name)
            var second = first
            try await context.with(VolumeReference(name), .exclusive) { try await second.mutate($0, operations: 40) }
            _ = try await pool.createSnapshot("second", of: name)
            var third = second
            try await context.with(VolumeReference(name), .exclusive) { try await third.mutate($0, operations: 40) }
            for (snapshot, model) in [("first", first), ("second", second), ("first", first)] {
                try await pool.revert(name, to: snapshot)
                try await context.verify(VolumeReference(name), model, "after reverting to \(snapshot)")
                var changed = model
                try await context.with(VolumeReference(name), .exclusive) {
                    try await changed.mutate($0, operations: 10)
                }
                try await context.verify(VolumeReference(name), changed, "written after reverting to \(snapshot)")
                try await context.verify(
                    VolumeReference(name, snapshot: snapshot), model, "of \(snapshot), reverted to")
            }
            try await context.verify(VolumeReference(name, snapshot: "second"), second, "of the second snapshot")
            let report = try await pool.checkVolume(name, repair: .none)
            try expectEqual(report.outcome, .clean, "check after reverts \(report.findings)")
        },
        ConformanceTest("data/copy-of-snapshot", "A full copy of a snapshot has its data.", needs: [.snapshot]) {
            context in
            let (name, model) = try await context.createFilled()
            _ = try await context.pool.createSnapshot("first", of: name)
            var changed = model
            try await context.with(VolumeReference(name), .exclusive) { try await changed.mutate($0, operations: 40) }
            let copy = try await context.clone(VolumeReference(name, snapshot: "first"), full: true)
            try await context.verify(VolumeReference(copy), model, "of the snapshot's copy")
        },
        ConformanceTest(
            "data/changed-extents", "What is not reported as changed since a snapshot is as it was then.",
            needs: [.snapshot, .changedExtents]
        ) { context in
            let pool = context.pool
            let (name, filled) = try await context.createFilled(size: context.size * 4)
            _ = try await pool.createSnapshot("first", of: name)
            try expectEqual(
                try await pool.changedExtents(of: VolumeReference(name), since: "first"), [], "changes at once")
            var model = filled
            try await context.with(VolumeReference(name), .exclusive) { try await model.mutate($0, operations: 5) }
            let changes = try await pool.changedExtents(of: VolumeReference(name), since: "first")
            let old = try await context.open(VolumeReference(name, snapshot: "first"), .readOnly)
            let new = try await context.open(VolumeReference(name), .readOnly)
            var position: UInt64 = 0
            for range in changes.map(\.range) + [new.geometry.size..<new.geometry.size] {
                try expect(range.lowerBound >= position, "the changes are not in order: \(changes)")
                for start in stride(from: position, to: range.lowerBound, by: 1 << 20) {
                    let count = Int(min(range.lowerBound - start, 1 << 20))
                    let (before, after) = (
                        try await old.bytes(at: start, count: count), try await new.bytes(at: start, count: count)
                    )
                    try expect(before == after, "what has changed at \(start) is not reported")
                }
                position = range.upperBound
            }
            try await old.close()
            try await new.close()
            try await expectError(.notFound, from: "changes since a snapshot that is not there") {
                try await pool.changedExtents(of: VolumeReference(name), since: "none")
            }
        },
        ConformanceTest(
            "data/protected-snapshot", "A protected snapshot is not deleted.", needs: [.snapshot, .protect]
        ) {
            context in
            let (name, model) = try await context.createFilled()
            _ = try await context.pool.createSnapshot("kept", of: name)
            try await context.pool.setProtected(true, snapshot: "kept", of: name)
            try expectEqual(try await context.pool.listSnapshots(of: name).map(\.isProtected), [true], "protection")
            try await expectError(.busy, from: "deleting a protected snapshot") {
                try await context.pool.deleteSnapshot("kept", of: name)
            }
            try await context.verify(VolumeReference(name, snapshot: "kept"), model, "of the protected snapshot")
            try await context.pool.setProtected(false, snapshot: "kept", of: name)
            try await context.pool.deleteSnapshot("kept", of: name)
        },
    ]
}
