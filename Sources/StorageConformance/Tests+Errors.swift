import BlockStorage
import IORuntime

extension ConformanceTest {
    /// None of them is a name, and some are paths out of a pool.
    private static let badNames = [
        "", ".", "..", ".hidden", "-option", "a/b", "/etc/passwd", "../escape", "a b", "a@b", "a:b", "a\u{0}b", "a\nb",
        "größe", String(repeating: "x", count: 201),
    ]

    static let errors: [ConformanceTest] = [
        ConformanceTest("errors/names", "A bad name is refused everywhere, before anything happens.", perFormat: false)
        {
            context in
            let pool = context.pool
            let good = try await context.create()
            for name in badNames {
                let what = "the name '\(name)'"
                try await expectError(.invalidArgument, from: "creating with \(what)") {
                    try await pool.createVolume(name, context.request())
                }
                try await expectError(.invalidArgument, from: "renaming to \(what)") {
                    try await pool.renameVolume(good, to: name)
                }
                try await expectError(.invalidArgument, .notSupported, from: "cloning to \(what)") {
                    try await pool.cloneVolume(VolumeReference(good), as: name, CloneRequest())
                }
                try await expectError(.invalidArgument, from: "deleting with \(what)") {
                    try await pool.deleteVolume(name, policy: .refuse)
                }
                try await expectError(.invalidArgument, from: "opening with \(what)") {
                    try await pool.openVolume(VolumeReference(name), mode: .readOnly)
                }
                try await expectError(.invalidArgument, .notSupported, from: "staging a template with \(what)") {
                    try await pool.stageTemplate(name, size: context.size)
                }
                try await expectError(.invalidArgument, .notSupported, from: "a snapshot with \(what)") {
                    try await pool.createSnapshot(name, of: good)
                }
            }
        },
        ConformanceTest("errors/longest-name", "A name of 200 bytes with every allowed sign works.") { context in
            let base = context.newName()
            let name = base + "_A.z+9-" + String(repeating: "x", count: max(0, 193 - base.utf8.count))
            do {
                _ = try await context.pool.createVolume(name, context.request())
                let listed = try await context.pool.listVolumes()
                try expect(listed.contains { $0.name == name }, "\(name) is not listed")
            } catch {
                try? await context.pool.deleteVolume(name, policy: .refuse)
                throw error
            }
            try await context.pool.deleteVolume(name, policy: .refuse)
        },
        ConformanceTest("errors/sizes", "A size that cannot be is refused and leaves nothing behind.") { context in
            for size: UInt64 in [0, .max, .max - 511, 1 << 63, (1 << 63) - 512] {
                let name = context.newName()
                try await expectError(
                    .invalidArgument, .outOfRange, .noSpace, .quotaExceeded, from: "creating a volume of \(size) bytes"
                ) {
                    try await context.pool.createVolume(name, context.request(size: size))
                }
                try await expectError(.notFound, from: "describing a volume that could not be created") {
                    try await context.pool.describeVolume(name)
                }
            }
            let name = try await context.create()
            for size: UInt64 in [0, .max, 1 << 63] {
                try await expectError(
                    .invalidArgument, .outOfRange, .noSpace, .quotaExceeded, .notSupported,
                    from: "resizing a volume to \(size) bytes"
                ) {
                    try await context.pool.resizeVolume(name, to: size, allowShrink: false)
                }
            }
            try expectEqual(try await context.pool.describeVolume(name).virtualSize, context.size, "size of \(name)")
        },
        ConformanceTest("errors/missing-volume", "What needs a volume says that it is not there.", perFormat: false) {
            context in
            let (pool, name, other) = (context.pool, context.newName(), context.newName())
            try await expectError(.notFound, from: "describing") { try await pool.describeVolume(name) }
            try await expectError(.notFound, from: "opening to read") {
                try await pool.openVolume(VolumeReference(name), mode: .readOnly)
            }
            try await expectError(.notFound, from: "opening exclusively") {
                try await pool.openVolume(VolumeReference(name), mode: .exclusive)
            }
            try await expectError(.notFound, from: "resizing") {
                try await pool.resizeVolume(name, to: context.size, allowShrink: false)
            }
            try await expectError(.notFound, from: "renaming") { try await pool.renameVolume(name, to: other) }
            try await expectError(.notFound, from: "checking") { try await pool.checkVolume(name, repair: .none) }
            try await expectError(.notFound, from: "adopting") {
                try await pool.adoptVolume(name, format: context.format)
            }
            try await expectError(.notFound, .notSupported, from: "cloning") {
                try await pool.cloneVolume(VolumeReference(name), as: other, CloneRequest())
            }
            try await expectError(.notFound, .notSupported, from: "flattening") { try await pool.flattenVolume(name) }
            try await expectError(.notFound, .notSupported, from: "creating a snapshot") {
                try await pool.createSnapshot("s", of: name)
            }
            try await expectError(.notFound, .notSupported, from: "listing snapshots") {
                try await pool.listSnapshots(of: name)
            }
            try await expectError(.notFound, .notSupported, from: "reverting") { try await pool.revert(name, to: "s") }
            try await expectError(.notFound, from: "describing the target of a failed clone or rename") {
                try await pool.describeVolume(other)
            }
        },
        ConformanceTest(
            "errors/missing-snapshot", "What needs a snapshot says that it is not there.", needs: [.snapshot]
        ) { context in
            let (pool, name) = (context.pool, try await context.create())
            try await expectError(.notFound, from: "opening") {
                try await pool.openVolume(VolumeReference(name, snapshot: "none"), mode: .readOnly)
            }
            try await expectError(.notFound, .notSupported, from: "reverting") {
                try await pool.revert(name, to: "none")
            }
            try await expectError(.notFound, .notSupported, from: "cloning") {
                let source = VolumeReference(name, snapshot: "none")
                return try await pool.cloneVolume(source, as: context.newName(), CloneRequest(isFull: true))
            }
            try await pool.deleteSnapshot("none", of: name)
        },
        ConformanceTest("errors/bounds", "A request past the end is refused and changes nothing.") { context in
            let (name, model) = try await context.createFilled()
            try await context.with(VolumeReference(name), .exclusive) { volume in
                let block = Int(volume.geometry.blockSize)
                let ones = [UInt8](repeating: 1, count: 2 * max(block, 512))
                let half = UInt64(ones.count / 2)
                for offset in [context.size - half, context.size, context.size * 4, UInt64.max - half + 1] {
                    try await expectError(.outOfRange, from: "writing at \(offset)") {
                        try await volume.write(ones.rawBytes, at: offset)
                    }
                    try await expectError(.outOfRange, from: "reading at \(offset)") {
                        try await volume.bytes(at: offset, count: ones.count)
                    }
                }
                let range = (context.size - half)..<(context.size + half)
                try await expectError(.outOfRange, from: "zeroing \(range)") { try await volume.writeZeroes(range) }
                try await expectError(.outOfRange, from: "discarding \(range)") { try await volume.discard(range) }
                try await model.verify(volume, "after requests past the end")
                _ = try await volume.bytes(at: context.size, count: 0)
            }
            try await context.verify(VolumeReference(name), model, "after reopening it")
        },
        ConformanceTest("errors/closed-volume", "A closed volume answers nothing; closing it again succeeds.") {
            context in
            let name = try await context.create()
            let volume = try await context.open(VolumeReference(name), .exclusive)
            try await volume.close()
            try await volume.close()
            let bytes = [UInt8](repeating: 1, count: 4096)
            try await expectError(.notAttached, from: "reading") { try await volume.bytes(at: 0, count: 4096) }
            try await expectError(.notAttached, from: "writing") { try await volume.write(bytes.rawBytes, at: 0) }
            try await expectError(.notAttached, from: "flushing") { try await volume.flush() }
            try await context.verify(
                VolumeReference(name), VolumeModel(size: context.size, seed: 0), "after writing to a closed volume")
        },
        ConformanceTest("errors/undeclared", "What the pool does not declare, it refuses as not supported.") {
            context in
            let pool = context.pool
            let name = try await context.create()
            if !pool.can(.snapshot, context.format) {
                try await expectError(.notSupported, from: "creating a snapshot") {
                    try await pool.createSnapshot("s", of: name)
                }
            }
            if !pool.can(.changedExtents, context.format) {
                try await expectError(.notSupported, from: "asking what has changed") {
                    try await pool.changedExtents(of: VolumeReference(name), since: "s")
                }
            }
            if !pool.can(.linkedClone, context.format) {
                try await expectError(.notSupported, from: "a linked clone") {
                    try await pool.cloneVolume(VolumeReference(name), as: context.newName(), CloneRequest())
                }
            }
            if !pool.can(.shrink, context.format) {
                let larger = try await context.create(size: 2 * context.size)
                try await expectError(.notSupported, from: "shrinking") {
                    try await pool.resizeVolume(larger, to: context.size, allowShrink: true)
                }
            }
            if !pool.can(.trash, context.format) {
                try await expectError(.notSupported, from: "deleting to the trash") {
                    try await pool.deleteVolume(name, policy: .trash)
                }
            }
        },
    ]
}
