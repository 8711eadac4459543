import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import QCOW2

@Suite("Death of the process")
struct JournalTests {
    static let shapes = ImageShape.all.filter { $0.clusterSize < 2 << 20 }

    @Test("every acknowledged change is there after a death between requests", arguments: shapes)
    func deathBetweenRequests(_ shape: ImageShape) async throws {
        let model = try await ImageModel(shape, seed: 5, hasJournal: true)
        for round in 0..<5 {
            for _ in 0..<10 { try await model.step() }
            let image = try model.directory.write(model.base.contents, to: "dead.qcow2")
            if let data = model.dataFile { _ = try model.directory.write(data.contents, to: "data.raw") }
            try await QEMU.expectClean(image, "death \(round)", allowsLeaks: true)
            try await model.openCopy()
        }
        try await model.verify("after deaths", allowsLeaks: true)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: model.directory.path).allSatisfy {
                !$0.hasSuffix("journal")
            })
    }

    @Test(
        "every acknowledged change is there after a death with requests under way",
        arguments: 1...12 as ClosedRange<UInt64>)
    func deathUnderLoad(_ seed: UInt64) async throws {
        var generator = SeededGenerator(seed: seed)
        let shape = Self.shapes.filter { !$0.hasExternalData }.randomElement(using: &generator)!
        let model = try await ImageModel(shape, seed: seed)
        try await model.volume.close()
        var base = model.base.copy()
        let journal = QCOW2Journal(directory: model.directory.path, identity: "image")
        let backing = model.backingContents
        var parts = PartModel.parts(6, of: model.contents, seed: seed)

        for death in 0..<4 {
            let faults = FaultInjectingVolume(base)
            var options = QCOW2OpenOptions()
            options.cacheByteCount = 1
            options.journal = journal
            options.backing = shape.backingSize > 0 ? MemoryVolume(backing, isReadOnly: true) : nil
            let volume = try await QCOW2Volume.open(YieldingVolume(faults, seed: seed), options)
            for part in parts { try await part.expectHeld(by: volume, "\(shape.testDescription) death \(death)") }
            let call = Int.random(in: 1...60, using: &generator)
            faults.fail(.write, call: call, fromThenOn: true)
            faults.fail(.flush, call: Int.random(in: 1...12, using: &generator), fromThenOn: true)
            parts = await PartModel.run(parts, on: volume, count: 20)
            base = base.copy()
            let image = try model.directory.write(base.contents, to: "dead.qcow2")
            try await QEMU.expectClean(image, "\(shape.testDescription) death \(death)", allowsLeaks: true)
        }
        var options = QCOW2OpenOptions()
        options.journal = journal
        options.backing = shape.backingSize > 0 ? MemoryVolume(backing, isReadOnly: true) : nil
        let volume = try await QCOW2Volume.open(base, options)
        for part in parts { try await part.expectHeld(by: volume, "\(shape.testDescription) at last") }
        try await volume.close()
        let image = try model.directory.write(base.contents, to: "last.qcow2")
        try await QEMU.expectClean(image, "at last", allowsLeaks: true)
    }

    @Test("a reader sees what the dead session had acknowledged and changes nothing")
    func overlay() async throws {
        let model = try await ImageModel(ImageShape(clusterSize: 4096, size: 1 << 20), seed: 6, hasJournal: true)
        for _ in 0..<40 { try await model.step() }
        let base = model.base.copy()
        let before = base.contents
        var options = QCOW2OpenOptions()
        options.isReadOnly = true
        options.journal = model.journal
        let reader = try await QCOW2Volume.open(base, options)
        #expect(try await reader.bytes(0..<UInt64(model.contents.count)) == model.contents)
        try await reader.close()
        #expect(base.contents == before)
    }

    @Test("a journal is not used once another program has written the image")
    func stale() async throws {
        let model = try await ImageModel(ImageShape(clusterSize: 65536, size: 1 << 20), seed: 7, hasJournal: true)
        try await model.volume.store([1, 2, 3], at: 100_000)
        let image = try model.directory.write(model.base.contents, to: "image.qcow2")
        let written = try await QEMU.run("qemu-io", ["-f", "qcow2", "-c", "write -P 7 0 1M", image])
        #expect(written.status == 0, "\(written.output)")
        let base = MemoryVolume(Array(try Data(contentsOf: URL(fileURLWithPath: image))))
        var options = QCOW2OpenOptions()
        options.journal = model.journal
        let volume = try await QCOW2Volume.open(base, options)
        #expect(try await volume.bytes(0..<(1 << 20)).allSatisfy { $0 == 7 })
        try await volume.close()
        let after = try model.directory.write(base.contents, to: "after.qcow2")
        try await QEMU.expectClean(after, "stale journal")
    }

    @Test("a journal that is full makes the tables be written, and nothing is lost")
    func full() async throws {
        let model = try await ImageModel(ImageShape(clusterSize: 512, size: 2 << 20), seed: 8)
        try await model.volume.close()
        let base = model.base.copy()
        var journal = QCOW2Journal(directory: model.directory.path, identity: "image")
        journal.byteCount = 16384
        var options = QCOW2OpenOptions()
        options.journal = journal
        let volume = try await QCOW2Volume.open(base, options)
        let bytes = ImageModel.random(1 << 20, &model.generator)
        for start in stride(from: 0, to: bytes.count, by: 65536) {
            try await volume.store(Array(bytes[start..<start + 65536]), at: UInt64(start))
        }
        let after = base.copy()
        let again = try await QCOW2Volume.open(after, options)
        #expect(try await again.bytes(0..<UInt64(bytes.count)) == bytes)
        try await again.close()
    }

    @Test("recovery takes time by the records, not by the size of the image")
    func recoveryTime() async throws {
        let directory = try TemporaryDirectory()
        let base = MemoryVolume(size: 0)
        var create = QCOW2CreateOptions(size: 64 << 20)
        create.clusterSize = 512
        create.preallocation = .metadata
        try await QCOW2Volume.create(on: base, create)
        var options = QCOW2OpenOptions()
        options.journal = QCOW2Journal(directory: directory.path, identity: "image")
        let volume = try await QCOW2Volume.open(base, options)
        try await volume.resize(to: 128 << 20)
        for index in 0..<2000 as Range<UInt64> { try await volume.store([1], at: (64 << 20) + index * 32768 + 7) }
        let duration = try await ContinuousClock().measure {
            let again = try await QCOW2Volume.open(base.copy(), options)
            for index in stride(from: UInt64(0), to: 2000, by: 37) {
                #expect(
                    try await again.bytes((64 << 20) + index * 32768 + 6..<(64 << 20) + index * 32768 + 8) == [0, 1])
            }
            try await again.close()
        }
        // Far more than it takes, and far less than when every table that is made looks at every cluster.
        #expect(duration < .seconds(60))
    }
}
