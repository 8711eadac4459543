import BlockStorage
import IORuntime
import Testing

@testable import QCOW2

@Suite("Check and repair")
struct QCOW2RepairTests {
    /// The bytes of an image with wrong refcounts, chosen by `seed`, in its first refcount block.
    private func damaged(_ image: SampleImage, seed: UInt64, isLeaking: Bool) async throws -> [UInt8] {
        let bytes = try await image.bytes()
        let header = try await QCOW2Header.read(from: MemoryVolume(bytes))
        return damaged(bytes, header, seed: seed, isLeaking: isLeaking)
    }

    private func damaged(_ image: [UInt8], _ header: QCOW2Header, seed: UInt64, isLeaking: Bool) -> [UInt8] {
        var bytes = image
        let layout = header.layout
        let offset = Int(bytes.bigEndian(at: Int(header.refcountTableOffset), as: UInt64.self))
        var block = Array(bytes[offset..<offset + Int(layout.clusterSize)])
        var generator = SeededGenerator(seed: seed)
        let count = min(bytes.count >> layout.clusterBits, Int(layout.clustersPerRefcountBlock))
        for _ in 0..<8 {
            let index = Int.random(in: 0..<count, using: &generator)
            let old = RefcountFields.value(at: index, in: block, order: layout.refcountOrder)
            var new: UInt64 = 0
            if isLeaking { new = min(old + 1, layout.largestRefcount) }
            RefcountFields.set(new, at: index, in: &block, order: layout.refcountOrder)
        }
        if isLeaking {
            // Clusters behind the end, as a power loss leaves them.
            let end = min(count + 5, Int(layout.clustersPerRefcountBlock))
            for index in count..<end {
                RefcountFields.set(1, at: index, in: &block, order: layout.refcountOrder)
            }
            bytes += [UInt8](repeating: 0, count: 5 << layout.clusterBits)
        }
        bytes.replaceSubrange(offset..<offset + block.count, with: block)
        return bytes
    }

    private func contents(_ base: MemoryVolume) async throws -> [UInt8] {
        var options = QCOW2OpenOptions()
        options.isReadOnly = true
        return try await QCOW2Volume.open(base.copy(), options).allBytes()
    }

    @Test("sound images are clean with any memory limit", arguments: SampleImage.allCases)
    func clean(_ image: SampleImage) async throws {
        let base = MemoryVolume(try await image.bytes())
        for memoryLimit in [0, 16 << 10, QCOW2Checker.defaultMemoryLimit] {
            let report = try await QCOW2Checker.check(base, memoryLimit: memoryLimit)
            #expect(report.outcome == .clean, "\(report.findings)")
        }
    }

    @Test("a repair leaves a clean image with the same disk", arguments: SampleImage.allCases, [true, false])
    func repair(_ image: SampleImage, isLeaking: Bool) async throws {
        for seed in 0..<6 as Range<UInt64> {
            let base = MemoryVolume(try await damaged(image, seed: seed, isLeaking: isLeaking))
            let before = try await contents(base)
            let found = try await QCOW2Checker.check(base)
            #expect(found.outcome != .clean)
            let report = try await QCOW2Checker.check(base, repair: .all)
            #expect(report.outcome == .clean, "\(report.findings)")
            #expect(report.corruptionsFixed == found.corruptions)
            let after = try await contents(base)
            #expect(after == before)
        }
    }

    @Test("a dirty image is rebuilt and clean afterwards")
    func dirty() async throws {
        var bytes = try await damaged(.plain, seed: 3, isLeaking: false)
        let position = QCOW2Header.FieldOffset.incompatibleFeatures
        bytes.setBigEndian(QCOW2IncompatibleFeatures.dirty.rawValue, at: position)
        let base = MemoryVolume(bytes)
        #expect(try await QCOW2Checker.check(base, repair: .all).outcome == .clean)
        #expect(try await QCOW2Header.read(from: base).incompatibleFeatures.isEmpty)
    }

    @Test(
        "a power loss during a repair makes nothing worse", arguments: SampleImage.allCases, [CheckRepair.leaks, .all])
    func powerLoss(_ image: SampleImage, _ repair: CheckRepair) async throws {
        let base = MemoryVolume(try await damaged(image, seed: 1, isLeaking: repair == .leaks))
        let before = try await QCOW2Checker.check(base)
        let disk = try await contents(base)
        let recording = RecordingVolume(base.copy())
        _ = try await QCOW2Checker.check(recording, repair: repair)
        let states = CrashStates(of: recording.log, startingFrom: base)
        var problems: [String] = []
        let count = try await states.forEach(sampleCount: 4) { (state) async throws in
            let report = try await QCOW2Checker.check(state.volume)
            if report.corruptions > before.corruptions { problems.append("\(state.description): \(report.findings)") }
            if try await contents(state.volume) != disk { problems.append("\(state.description): another disk") }
        }
        #expect(problems.isEmpty)
        #expect(count > 3)
    }

    @Test("a repair that cannot write throws, and the image can still be repaired", arguments: 1...3)
    func writeFailure(_ call: Int) async throws {
        let faulty = FaultInjectingVolume(MemoryVolume(try await damaged(.plain, seed: 2, isLeaking: false)))
        faulty.fail(.write, call: call, with: StorageError(.noSpace, "write"))
        let error = await #expect(throws: StorageError.self) {
            _ = try await QCOW2Checker.check(faulty, repair: .all)
        }
        #expect(error?.code == .noSpace)
        let report = try await QCOW2Checker.check(faulty, repair: .all)
        #expect(report.outcome == .clean)
    }
}
