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
}
