import BlockStorage
import Foundation
import Testing

@testable import QCOW2

@Suite("Opening images")
struct OpeningTests {
    private func image(_ change: (inout [UInt8]) -> Void) async throws -> MemoryVolume {
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, QCOW2CreateOptions(size: 1 << 20))
        var bytes = base.contents
        change(&bytes)
        return MemoryVolume(bytes)
    }

    private func code(_ base: MemoryVolume, isReadOnly: Bool = false) async -> StorageError.Code? {
        var options = QCOW2OpenOptions()
        options.isReadOnly = isReadOnly
        do {
            _ = try await QCOW2Volume.open(base, options)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("what no header can say is corrupt, and what a later version may say is not supported")
    func hostileHeaders() async throws {
        let cases: [(offset: Int, value: UInt64, bytes: Int, code: StorageError.Code)] = [
            (0, 0, 4, .corrupt), (4, 1, 4, .notSupported), (4, 4, 4, .notSupported), (20, 8, 4, .corrupt),
            (20, 22, 4, .corrupt), (24, 1 << 60, 8, .corrupt), (24, 1 << 50, 8, .corrupt), (32, 1, 4, .notSupported),
            (36, 0, 4, .corrupt), (36, UInt64(UInt32.max), 4, .corrupt), (40, 0, 8, .corrupt), (40, 65537, 8, .corrupt),
            (40, 1 << 40, 8, .corrupt), (40, .max, 8, .corrupt), (40, 65536, 8, .corrupt), (48, 0, 8, .corrupt),
            (48, .max & ~65535, 8, .corrupt), (56, 0, 4, .corrupt), (56, 1 << 20, 4, .corrupt),
            (60, 65537, 4, .corrupt), (60, 1, 4, .corrupt), (72, 1 << 7, 8, .notSupported), (72, 1 << 3, 8, .corrupt),
            (72, 2, 8, .corrupt), (72, 4, 8, .invalidArgument), (96, 7, 4, .corrupt), (100, 96, 4, .corrupt),
            (100, 105, 4, .corrupt), (100, 1 << 20, 4, .corrupt), (8, 60000, 8, .corrupt), (8, 1 << 63, 8, .corrupt),
        ]
        for (offset, value, count, expected) in cases {
            let base = try await image { bytes in
                if count == 4 {
                    bytes.setBigEndian(UInt32(value), at: offset)
                } else {
                    bytes.setBigEndian(value, at: offset)
                }
                if offset == 8 { bytes.setBigEndian(UInt32(1023), at: 16) }
                if offset == 8 && value == 60000 { bytes.setBigEndian(UInt32(9000), at: 16) }
            }
            #expect(await code(base) == expected, "byte \(offset) set to \(value)")
        }
    }

    @Test("an image that is cut short is refused with a reason", arguments: [0, 3, 100, 511, 65535, 70_000, 131_072])
    func truncated(_ count: Int) async throws {
        let whole = try await image { _ in }
        #expect(await code(MemoryVolume(Array(whole.contents.prefix(count)))) == .corrupt)
    }

    @Test(
        "random damage to an image never traps, and never makes reads run past their memory",
        arguments: 1...40 as ClosedRange<UInt64>)
    func randomDamage(_ seed: UInt64) async throws {
        let shape = ImageShape.all.filter { !$0.hasExternalData && $0.clusterSize < 65536 }[Int(seed) % 7]
        let model = try await ImageModel(shape, seed: seed)
        for _ in 0..<20 { try await model.step() }
        if shape.refcountBits > 1 { try await model.volume.createSnapshot("one") }
        for _ in 0..<10 { try await model.step() }
        try await model.volume.close()
        var bytes = model.base.contents
        for _ in 0..<Int.random(in: 1...40, using: &model.generator) {
            let limit = Bool.random(using: &model.generator) ? min(bytes.count, 16384) : bytes.count
            let index = Int.random(in: 0..<limit, using: &model.generator)
            bytes[index] = UInt8.random(in: .min ... .max, using: &model.generator)
        }
        let base = MemoryVolume(bytes)
        var options = QCOW2OpenOptions()
        options.backing = shape.backingSize > 0 ? MemoryVolume(model.backingContents, isReadOnly: true) : nil
        guard let volume = try? await QCOW2Volume.open(base, options) else { return }
        let size = min(volume.geometry.size, 4 << 20)
        for start in stride(from: 0, to: size, by: 65536) {
            _ = try? await volume.bytes(start..<min(size, start + 65536))
            try? await volume.store([1, 2, 3], at: start)
            try? await volume.discard(start..<min(size, start + 65536))
        }
        _ = try? await volume.extents(in: 0..<size)
        try? await volume.flush()
        _ = try? await volume.createSnapshot("two")
        try? await volume.applySnapshot("one")
        try? await volume.deleteSnapshot("one")
        try? await volume.resize(to: size + 100_000)
        try? await volume.close()
    }

    @Test("QEMU's image with the dirty bit is repaired by a writable open")
    func dirty() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("lazy.qcow2")
        let steps = [
            ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", path, "8M"],
            ["qemu-io", "-f", "qcow2", "-c", "write -P 5 1M 2M", "-c", "flush", "-c", "abort", path],
        ]
        for step in steps { try await QEMU.run(step[0], Array(step.dropFirst())) }
        let base = MemoryVolume(Array(try Data(contentsOf: URL(fileURLWithPath: path))))
        #expect(try await QCOW2Header.read(from: base).incompatibleFeatures.contains(.dirty))
        let volume = try await QCOW2Volume.open(base)
        #expect(try await volume.bytes(1 << 20..<3 << 20).allSatisfy { $0 == 5 })
        try await volume.store([9], at: 0)
        try await volume.close()
        let after = try directory.write(base.contents, to: "after.qcow2")
        try await QEMU.expectClean(after, "repaired")
        #expect(try await QCOW2Header.read(from: MemoryVolume(base.contents)).compatibleFeatures == .lazyRefcounts)
    }

    @Test(
        "unknown extensions and header fields are kept, and unknown autoclear features are cleared by the first write")
    func unknownParts() async throws {
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, QCOW2CreateOptions(size: 1 << 20))
        var header = try await QCOW2Header.read(from: base)
        header.extensions.append(QCOW2HeaderExtension(.init(rawValue: 0x1234_5678), data: [1, 2, 3]))
        header.unknownFields = [UInt8](repeating: 7, count: 16)
        header.autoclearFeatures = .init(rawValue: 1 << 5)
        try await base.writeBytes(header.encoded(), at: 0)
        let volume = try await QCOW2Volume.open(base.copy())
        #expect(volume.header == header)
        let copy = base.copy()
        let writer = try await QCOW2Volume.open(copy)
        try await writer.store([1], at: 0)
        try await writer.close()
        header.autoclearFeatures = []
        #expect(try await QCOW2Header.read(from: copy.copy()) == header)
    }
}
