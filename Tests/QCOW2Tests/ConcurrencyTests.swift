import BlockStorage
import IORuntime
import Testing

@testable import QCOW2

@Suite("Concurrent requests and failures")
struct ConcurrencyTests {
    @Test("concurrent writers that share clusters lose nothing", arguments: ImageShape.all, [1, 2] as [UInt64])
    func sharedClusters(_ shape: ImageShape, seed: UInt64) async throws {
        let model = try await ImageModel(shape, seed: seed, yields: true)
        let parts = await PartModel.run(
            PartModel.parts(7, of: model.contents, seed: seed), on: model.volume, count: 20)
        for part in parts {
            #expect(part.failures == 0)
            try await part.expectHeld(by: model.volume, "seed \(seed)")
        }
        model.contents = parts.flatMap(\.bytes)
        try await model.verify("concurrent, seed \(seed)")
    }

    @Test("requests on several executors lose nothing", arguments: [IOExecutor.Engine.threadPool, .ring])
    func severalExecutors(_ engine: IOExecutor.Engine) async throws {
        let shape = ImageShape(clusterSize: 4096, refcountBits: 8, backingSize: 500_000, size: 1_000_448)
        let model = try await ImageModel(shape, seed: 9, yields: true)
        let group = IOExecutorGroup(count: 3, engine: engine)
        let volume = model.volume
        let parts = await withTaskGroup(of: (Int, PartModel).self) { tasks in
            for (index, part) in PartModel.parts(9, of: model.contents, seed: 9).enumerated() {
                tasks.addTask(executorPreference: group.next()) {
                    var part = part
                    await part.run(on: volume, count: 40)
                    return (index, part)
                }
            }
            var results: [Int: PartModel] = [:]
            for await (index, part) in tasks { results[index] = part }
            return (0..<9).compactMap { results[$0] }
        }
        for part in parts {
            #expect(part.failures == 0)
            try await part.expectHeld(by: volume, "executors")
        }
        model.contents = parts.flatMap(\.bytes)
        try await model.verify("executors")
    }

    @Test("structural changes while requests run lose nothing")
    func structureUnderLoad() async throws {
        let shape = ImageShape(clusterSize: 4096, backingSize: 300_000, size: 1_000_448)
        let model = try await ImageModel(shape, seed: 10, yields: true)
        let volume = model.volume
        async let running = PartModel.run(PartModel.parts(6, of: model.contents, seed: 10), on: volume, count: 60)
        for round in 0..<4 {
            try await volume.createSnapshot("round-\(round)")
            try await volume.resize(to: 1_000_448 + UInt64(round + 1) * 512 * 100)
            if round > 0 { try await volume.deleteSnapshot("round-\(round - 1)") }
        }
        let parts = await running
        for part in parts {
            #expect(part.failures == 0)
            try await part.expectHeld(by: volume, "under load")
        }
        model.contents = parts.flatMap(\.bytes)
        model.contents += [UInt8](repeating: 0, count: 512 * 400)
        try await model.verify("under load")
    }

    @Test("after a failed flush every later one fails until the image is opened again")
    func stickyFlush() async throws {
        let model = try await ImageModel(ImageShape(clusterSize: 4096, size: 1 << 20), seed: 11)
        try await model.volume.close()
        let faults = FaultInjectingVolume(model.base.copy())
        let volume = try await QCOW2Volume.open(faults)
        try await volume.store([1], at: 5000)
        faults.fail(.flush)
        await #expect(throws: StorageError.self) { try await volume.flush() }
        try await volume.store([2], at: 9000)
        await #expect(throws: StorageError.self) { try await volume.flush() }
        await #expect(throws: StorageError.self) { try await volume.flush() }
        await #expect(throws: StorageError.self) { try await volume.close() }
    }

    @Test(
        "one failure below leaves the image sound and every other request right",
        arguments: [FaultInjectingVolume.Request.read, .write, .resize, .discard], 1...8)
    func oneFailure(_ request: FaultInjectingVolume.Request, call: Int) async throws {
        let shape = ImageShape.all[call % 8]
        let model = try await ImageModel(shape, seed: UInt64(call))
        try await model.volume.close()
        let base = model.base.copy()
        let faults = FaultInjectingVolume(base)
        var options = QCOW2OpenOptions()
        options.cacheByteCount = 1
        options.backing = shape.backingSize > 0 ? MemoryVolume(model.backingContents, isReadOnly: true) : nil
        let volume = try await QCOW2Volume.open(YieldingVolume(faults, seed: UInt64(call)), options)
        faults.fail(request, call: call * call)
        let parts = await PartModel.run(
            PartModel.parts(4, of: model.contents, seed: UInt64(call)), on: volume, count: 30)
        faults.heal()
        for part in parts { try await part.expectHeld(by: volume, "while open") }
        try? await volume.close()
        let image = try model.directory.write(base.contents, to: "image.qcow2")
        try await QEMU.expectClean(image, "\(shape.testDescription) \(request) \(call)", allowsLeaks: true)
    }

    @Test("cancelled requests leave nothing behind")
    func cancellation() async throws {
        let shape = ImageShape(clusterSize: 4096, backingSize: 400_000, size: 1_000_448)
        let model = try await ImageModel(shape, seed: 12, yields: true)
        let volume = model.volume
        let parts = PartModel.parts(12, of: Array(model.contents[..<500_000]), seed: 12)
        await withTaskGroup(of: Void.self) { group in
            for part in parts {
                group.addTask {
                    var part = part
                    await part.run(on: volume, count: 200)
                }
            }
            for _ in 0..<2000 { await Task.yield() }
            group.cancelAll()
        }
        var part = PartModel(500_000..<1_000_448, model.contents, seed: 13)
        await part.run(on: volume, count: 40)
        #expect(part.failures == 0)
        try await part.expectHeld(by: volume, "after cancellation")
        try await volume.close()
        let image = try model.directory.write(model.base.contents, to: "image.qcow2")
        try await QEMU.expectClean(image, "cancelled")
    }
}
