import BlockStorage
import IORuntime
import Testing

@testable import QCOW2

@Suite("Rebase and commit")
struct QCOW2RebaseTests {
    static let shapes: [(clusterSize: UInt64, version: UInt32)] = [(512, 3), (4096, 2), (4096, 3), (65536, 3)]

    /// Runs of random bytes and of zeros.
    private func disk(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count / 1024).flatMap { _ -> [UInt8] in
            let byte = UInt8(generator.next() % 4)
            return [UInt8](repeating: byte == 0 ? 0 : byte + UInt8(seed), count: 1024)
        }
    }

    /// A clone of `backing` with some writes of its own, and what its disk shows.
    private func clone(
        of backing: MemoryVolume, _ clusterSize: UInt64, _ version: UInt32
    ) async throws -> (base: MemoryVolume, contents: [UInt8]) {
        var options = QCOW2CreateOptions(size: 300 << 10)
        options.clusterSize = clusterSize
        options.version = version
        (options.backingFile, options.backingFormat) = ("template.raw", "raw")
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, options)
        let volume = try await open(base, backing)
        try await volume.write([UInt8](repeating: 0xee, count: 5000).rawBytes, at: 70_000)
        try await volume.writeZeroes(120_000..<150_000)
        let contents = try await volume.allBytes()
        try await volume.close()
        return (base.copy(), contents)
    }

    private func open(_ base: MemoryVolume, _ backing: MemoryVolume?) async throws -> QCOW2Volume {
        var options = QCOW2OpenOptions()
        options.backing = backing?.copy()
        return try await QCOW2Volume.open(base, options)
    }

    private func shows(_ base: MemoryVolume, on backing: MemoryVolume?, _ contents: [UInt8]) async throws -> Bool {
        let bytes = try await open(base.copy(), backing).allBytes()
        return areSame(bytes, contents)
    }

    private func areSame(_ first: [UInt8], _ second: [UInt8]) -> Bool {
        first.rawBytes.hasSameBytes(as: second.rawBytes)
    }

    @Test("a rebased image shows the same disk on another backing file", arguments: shapes)
    func rebase(_ clusterSize: UInt64, _ version: UInt32) async throws {
        let old = MemoryVolume(disk(250 << 10, seed: 1)), new = MemoryVolume(disk(350 << 10, seed: 2))
        let (base, contents) = try await clone(of: old, clusterSize, version)
        try await QCOW2Volume.rebase(base, from: old, to: new, name: "other.raw", format: "raw")
        #expect(try await shows(base, on: new, contents))
        let header = try await QCOW2Header.read(from: base)
        #expect(header.backingFile == "other.raw" && header.backingFormat == "raw")
        #expect(try await QCOW2Checker.check(base).outcome == .clean)
    }

    @Test("an image that is rebased to nothing needs no backing file", arguments: shapes)
    func flatten(_ clusterSize: UInt64, _ version: UInt32) async throws {
        let old = MemoryVolume(disk(250 << 10, seed: 3))
        let (base, contents) = try await clone(of: old, clusterSize, version)
        try await QCOW2Volume.rebase(base, from: old, to: nil, name: nil, format: nil)
        #expect(try await shows(base, on: nil, contents))
        let header = try await QCOW2Header.read(from: base)
        #expect(header.backingFile == nil && header.backingFormat == nil)
        #expect(try await QCOW2Checker.check(base).outcome == .clean)
    }

    @Test("a committed disk is what its backing file shows", arguments: shapes)
    func commit(_ clusterSize: UInt64, _ version: UInt32) async throws {
        let backing = MemoryVolume(disk(250 << 10, seed: 4))
        let (base, contents) = try await clone(of: backing, clusterSize, version)
        let volume = try await open(base, backing)
        try await volume.commit(into: backing)
        #expect(areSame(backing.contents, contents))
    }

    @Test("names of any length that fits are there after the change, and a power loss leaves one of the two")
    func names() async throws {
        let names = ["a", String(repeating: "b", count: 300), String(repeating: "c", count: 1023), "d"]
        let (start, _) = try await clone(of: MemoryVolume(size: 1024), 4096, 3)
        var base = start
        for name in names {
            let before = try await QCOW2Header.read(from: base)
            let recording = RecordingVolume(base.copy())
            try await QCOW2Volume.setBacking(of: recording, name: name, format: "qcow2")
            var last: MemoryVolume?
            try await CrashStates(of: recording.log, startingFrom: base).forEach(sampleCount: 20) { state in
                let header = try await QCOW2Header.read(from: state.volume)
                #expect(
                    header.backingFile == name && header.backingFormat == "qcow2"
                        || header.backingFile == before.backingFile && header.backingFormat == before.backingFormat)
                #expect(try await QCOW2Checker.check(state.volume).outcome == .clean)
                last = state.volume
            }
            base = try #require(last)
            #expect(try await QCOW2Header.read(from: base).backingFile == name)
        }
    }

    @Test("a name without room is refused, and nothing changes")
    func noRoom() async throws {
        let (base, _) = try await clone(of: MemoryVolume(size: 1024), 512, 3)
        let before = base.contents
        let error = await #expect(throws: StorageError.self) {
            try await QCOW2Volume.setBacking(of: base, name: String(repeating: "x", count: 1000), format: "raw")
        }
        #expect(error?.code == .invalidArgument)
        #expect(areSame(base.contents, before))
    }

    @Test("an image with snapshots is not rebased")
    func snapshots() async throws {
        let old = MemoryVolume(size: 4096)
        let (base, _) = try await clone(of: old, 4096, 3)
        let volume = try await open(base, old)
        try await volume.createSnapshot("s")
        try await volume.close()
        let error = await #expect(throws: StorageError.self) {
            try await QCOW2Volume.rebase(base.copy(), from: old, to: nil, name: nil, format: nil)
        }
        #expect(error?.code == .notSupported)
    }
}
