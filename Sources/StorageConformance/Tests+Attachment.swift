import BlockStorage
import IORuntime

extension ConformanceTest {
    static let attachment: [ConformanceTest] = [
        ConformanceTest("attachment/exclusive", "One writer, alone.", needs: [.exclusiveAttach]) { context in
            let reference = VolumeReference(try await context.create())
            let writer = try await context.open(reference, .exclusive)
            for mode in [OpenMode.exclusive, .readOnly] {
                try await expectError(.busy, from: "opening \(mode) a volume that has a writer") {
                    try await context.pool.openVolume(reference, mode: mode)
                }
            }
            try await writer.close()
            let next = try await context.open(reference, .exclusive)
            try await next.close()
        },
        ConformanceTest("attachment/readers", "Many readers, and no writer beside them.", needs: [.exclusiveAttach]) {
            context in
            let (name, model) = try await context.createFilled()
            let reference = VolumeReference(name)
            let readers = [try await context.open(reference, .readOnly), try await context.open(reference, .readOnly)]
            for reader in readers { try await model.verify(reader, "of one of two readers") }
            try await expectError(.busy, from: "opening exclusively a volume that has readers") {
                try await context.pool.openVolume(reference, mode: .exclusive)
            }
            try await readers[0].close()
            try await expectError(.busy, from: "opening exclusively a volume that has a reader") {
                try await context.pool.openVolume(reference, mode: .exclusive)
            }
            try await readers[1].close()
            try await context.with(reference, .exclusive) { _ in }
        },
        ConformanceTest("attachment/read-only", "A volume opened for reading refuses every change.") { context in
            let (name, model) = try await context.createFilled()
            try await context.with(VolumeReference(name), .readOnly) { volume in
                try expect(volume.geometry.isReadOnly, "the volume does not say that it is read-only")
                let bytes = [UInt8](repeating: 1, count: 4096)
                try await expectError(.readOnly, from: "writing") { try await volume.write(bytes.rawBytes, at: 0) }
                try await expectError(.readOnly, from: "writing zeros") { try await volume.writeZeroes(0..<4096) }
                try await expectError(.readOnly, from: "discarding") { try await volume.discard(0..<4096) }
                try await volume.flush()
                try await model.verify(volume, "after refused writes")
            }
        },
        ConformanceTest(
            "attachment/open-volume-stays", "What is open is not deleted, renamed or reverted.",
            needs: [.exclusiveAttach]
        ) {
            context in
            let pool = context.pool
            let (name, filled) = try await context.createFilled()
            var model = filled
            if pool.can(.snapshot, context.format) { _ = try await pool.createSnapshot("first", of: name) }
            try await context.with(VolumeReference(name), .exclusive) { volume in
                try await model.mutate(volume, operations: 20)
                try await expectError(.busy, from: "deleting an open volume") {
                    try await pool.deleteVolume(name, policy: .refuse)
                }
                try await expectError(.busy, from: "renaming an open volume") {
                    try await pool.renameVolume(name, to: context.newName())
                }
                if pool.can(.revert, context.format) {
                    try await expectError(.busy, from: "reverting an open volume") {
                        try await pool.revert(name, to: "first")
                    }
                }
                try await model.verify(volume, "after refused operations")
                try await model.mutate(volume, operations: 20)
            }
            try await context.verify(VolumeReference(name), model, "after refused operations, reopened")
        },
        ConformanceTest("attachment/race", "Of writers at once, one gets the volume.", needs: [.exclusiveAttach]) {
            context in
            let reference = VolumeReference(try await context.create())
            for _ in 0..<5 {
                let attempts = await withTaskGroup(of: Attempt.self) { group in
                    for _ in 0..<8 { group.addTask { await Attempt(reference, in: context.pool) } }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                var opened = 0
                for attempt in attempts {
                    guard let volume = attempt.volume else { continue }
                    opened += 1
                    try await volume.close()
                }
                let wrong = attempts.compactMap(\.error).first { ($0 as? StorageError)?.code != .busy }
                if let wrong { throw wrong }
                try expect(opened <= 1, "\(opened) writers had the volume at once")
            }
            try await context.with(reference, .exclusive) { _ in }
        },
        ConformanceTest("attachment/flush", "Flushes and durable writes succeed, beside other requests too.") {
            context in
            let name = try await context.create()
            var model = VolumeModel(size: context.size, seed: context.seed)
            try await context.with(VolumeReference(name), .exclusive) { volume in
                try await volume.flush()
                try await model.mutate(volume, operations: 20)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 { group.addTask { try await volume.flush() } }
                    try await group.waitForAll()
                }
                let bytes = model.pattern(4096)
                try await volume.write(bytes.rawBytes, at: 0, options: .forceUnitAccess)
                let written = try await volume.bytes(at: 0, count: 4096)
                try expect(written == bytes, "a durable write does not read back")
                try await volume.writeZeroes(0..<4096, options: .forceUnitAccess)
                let zeros = try await volume.bytes(at: 0, count: 4096)
                try expect(zeros.rawBytes.isZero, "zeros do not read back")
            }
        },
    ]
}

/// An attempt to open a volume for writing.
private struct Attempt: Sendable {
    var volume: (any Volume)?
    var error: (any Error)?

    init(_ reference: VolumeReference, in pool: any StoragePool) async {
        do {
            volume = try await pool.openVolume(reference, mode: .exclusive)
        } catch {
            self.error = error
        }
    }
}
