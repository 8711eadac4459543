import BlockStorage
import Testing

@testable import QCOW2

@Suite("Images against a model and against QEMU")
struct ImageModelTests {
    @Test("a new image is clean and reads as its backing file, or zeros", arguments: ImageShape.all)
    func fresh(_ shape: ImageShape) async throws {
        let model = try await ImageModel(shape, seed: 1)
        try await model.verify("fresh")
    }

    @Test("random requests read back, and QEMU agrees", arguments: ImageShape.all, [1, 2] as [UInt64])
    func randomRequests(_ shape: ImageShape, seed: UInt64) async throws {
        let model = try await ImageModel(shape, seed: seed)
        for _ in 0..<100 { try await model.step() }
        try await model.verify("seed \(seed)")
    }

    @Test("resizing keeps what stays and shows zeros where the disk grew", arguments: ImageShape.all)
    func resizing(_ shape: ImageShape) async throws {
        let model = try await ImageModel(shape, seed: 3)
        for round in 0..<6 {
            for _ in 0..<15 { try await model.step() }
            let largest = shape.size * 3
            let size = UInt64.random(in: 1...(round % 2 == 0 ? largest : shape.size), using: &model.generator)
            try await model.resize(to: size.addingSaturatingMask(511))
        }
        try await model.verify("resized")
    }

    @Test(
        "snapshots keep what the disk was, and can be applied and deleted",
        arguments: ImageShape.all.filter { !$0.hasExternalData && $0.refcountBits > 1 })
    func snapshots(_ shape: ImageShape) async throws {
        let model = try await ImageModel(shape, seed: 4)
        var kept: [(name: String, contents: [UInt8])] = []
        for round in 0..<8 {
            for _ in 0..<12 { try await model.step() }
            switch Int.random(in: 0..<4, using: &model.generator) {
            case 0 where !kept.isEmpty:
                let snapshot = kept.remove(at: Int.random(in: 0..<kept.count, using: &model.generator))
                try await model.volume.deleteSnapshot(snapshot.name)
            case 1 where !kept.isEmpty:
                let snapshot = kept[Int.random(in: 0..<kept.count, using: &model.generator)]
                try await model.volume.applySnapshot(snapshot.name)
                model.contents = snapshot.contents
            default:
                if kept.count < 2 {
                    try await model.volume.createSnapshot("snapshot-\(round)")
                    kept.append(("snapshot-\(round)", model.contents))
                }
            }
            #expect(model.volume.snapshots.map(\.name) == kept.map(\.name))
        }
        for snapshot in kept { try await model.verifySnapshot(snapshot.name, snapshot.contents) }
        try await model.verify("with snapshots")
    }

    @Test("a disk of no size can be made, checked, grown and used")
    func empty() async throws {
        let directory = try TemporaryDirectory()
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, QCOW2CreateOptions(size: 0))
        try await QEMU.expectClean(try directory.write(base.contents, to: "empty.qcow2"), "empty")
        let volume = try await QCOW2Volume.open(base)
        try await volume.createSnapshot("nothing")
        try await volume.resize(to: 1 << 20)
        try await volume.store([1, 2, 3], at: 500_000)
        try await volume.applySnapshot("nothing")
        #expect(volume.geometry.size == 0)
        try await volume.resize(to: 2 << 20)
        #expect(try await volume.bytes(0..<2 << 20).allSatisfy { $0 == 0 })
        try await volume.deleteSnapshot("nothing")
        try await volume.close()
        try await QEMU.expectClean(try directory.write(base.contents, to: "grown.qcow2"), "grown")
    }

    @Test("requests outside the disk, on a read-only image and after closing are refused and change nothing")
    func refusals() async throws {
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, QCOW2CreateOptions(size: 1 << 20))
        let volume = try await QCOW2Volume.open(base.copy())
        func code(_ body: () async throws -> Void) async -> StorageError.Code? {
            do {
                try await body()
                return nil
            } catch {
                return (error as? StorageError)?.code
            }
        }
        #expect(await code { try await volume.store([1, 2], at: (1 << 20) - 1) } == .outOfRange)
        #expect(await code { _ = try await volume.bytes(1 << 20..<(1 << 20) + 1) } == .outOfRange)
        #expect(await code { try await volume.discard(0..<1 << 21) } == .outOfRange)
        #expect(await code { try await volume.writeZeroes(1 << 60..<1 << 61) } == .outOfRange)
        #expect(await code { _ = try await volume.extents(in: 0..<1 << 21) } == .outOfRange)
        #expect(await code { try await volume.deleteSnapshot("none") } == .notFound)
        try await volume.flush()
        try await volume.close()
        try await volume.close()
        #expect(await code { _ = try await volume.bytes(0..<1) } == .notAttached)
        #expect(await code { try await volume.store([1], at: 0) } == .notAttached)
        #expect(await code { try await volume.flush() } == .notAttached)

        var options = QCOW2OpenOptions()
        options.isReadOnly = true
        let reader = try await QCOW2Volume.open(base, options)
        let before = base.contents
        #expect(await code { try await reader.store([1], at: 0) } == .readOnly)
        #expect(await code { try await reader.discard(0..<1 << 20) } == .readOnly)
        #expect(await code { try await reader.resize(to: 1 << 21) } == .readOnly)
        #expect(await code { try await reader.createSnapshot("one") } == .readOnly)
        try await reader.close()
        #expect(base.contents == before)
    }
}
