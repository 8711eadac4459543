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
        for _ in 0..<150 { try await model.step() }
        try await model.verify("seed \(seed)")
    }
}
