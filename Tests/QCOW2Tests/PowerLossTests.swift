import BlockStorage
import IORuntime
import Testing

@testable import QCOW2

@Suite("Power loss")
struct PowerLossTests {
    struct Configuration: CustomTestStringConvertible, Sendable {
        var clusterSize: UInt64
        var version: UInt32 = 3
        var refcountBits = 16
        var hasExtendedL2 = false
        var hasBacking = false
        var size: UInt64
        /// Written before the recording, from the start of the disk, in bytes.
        var filled: UInt64 = 0
        var runs = 8

        var testDescription: String {
            "version \(version), clusters of \(clusterSize), \(refcountBits)-bit refcounts"
                + (hasExtendedL2 ? ", extended L2" : "") + (hasBacking ? ", backing" : "")
                + (filled > 0 ? ", \(filled) bytes filled" : "")
        }
    }

    static let configurations: [Configuration] = [
        Configuration(clusterSize: 512, version: 2, size: 100 << 10),
        Configuration(clusterSize: 512, version: 2, hasBacking: true, size: 80 << 10),
        Configuration(clusterSize: 512, size: 120 << 10),
        Configuration(clusterSize: 512, hasBacking: true, size: 80 << 10),
        // A refcount block counts 32 KiB here, and a cluster of the refcount table leads to 2 MiB.
        Configuration(clusterSize: 512, refcountBits: 64, size: 160 << 10),
        Configuration(clusterSize: 512, refcountBits: 64, size: 2 << 20, filled: 1900 << 10, runs: 3),
        Configuration(clusterSize: 512, refcountBits: 2, size: 64 << 10),
        Configuration(clusterSize: 1024, refcountBits: 8, hasBacking: true, size: 256 << 10),
        Configuration(clusterSize: 4096, size: 256 << 10),
        Configuration(clusterSize: 4096, version: 2, hasBacking: true, size: 256 << 10),
        Configuration(clusterSize: 16 << 10, hasExtendedL2: true, size: 256 << 10, runs: 4),
        Configuration(clusterSize: 16 << 10, hasExtendedL2: true, hasBacking: true, size: 256 << 10, runs: 4),
        Configuration(clusterSize: 64 << 10, size: 1 << 20, runs: 2),
        Configuration(clusterSize: 64 << 10, version: 2, hasBacking: true, size: 1 << 20, runs: 2),
    ]

    private static let total = Locked(0)

    @Test("leaves every flushed byte, no corruption and nothing to repair", arguments: configurations)
    func anyCut(_ configuration: Configuration) async throws {
        var stateCount = 0
        for run in 0..<configuration.runs {
            let disk = try await Self.disk(configuration, seed: UInt64(run))
            var generator = SeededGenerator(seed: UInt64(run) &* 1000 &+ configuration.clusterSize)
            for _ in 0..<30 { try await Self.step(disk, configuration, &generator) }
            try await disk.close()

            let states = CrashStates(
                of: disk.recording.log, startingFrom: disk.initial, discardsTakeEffect: run % 2 == 0)
            var failure: String?
            var index: UInt64 = 0
            let count = await states.forEach(sampleCount: 5, seed: UInt64(run)) { state in
                index += 1
                guard failure == nil else { return }
                do {
                    failure = try await disk.problem(with: state)
                    if failure == nil && index % 16 == 0 {
                        failure = try await disk.problemAfterUse(of: state, seed: index)
                    }
                } catch {
                    failure = "\(error)"
                }
                if let problem = failure { failure = "run \(run), state \(index), \(state.description): \(problem)" }
            }
            #expect(failure == nil)
            stateCount += count
        }
        let total = Self.total.withLock { [stateCount] total in
            total += stateCount
            return total
        }
        print("power loss: \(configuration.testDescription): \(stateCount) states, \(total) in all so far")
    }

    /// An image with something on it already, closed cleanly.
    private static func disk(_ configuration: Configuration, seed: UInt64) async throws -> RecordedDisk {
        var generator = SeededGenerator(seed: seed)
        var backing: MemoryVolume?
        if configuration.hasBacking {
            // Shorter than the disk, so that its end has no backing.
            let bytes = (0..<Int(configuration.size * 3 / 4)).map { _ in UInt8.random(in: 1...255, using: &generator) }
            backing = MemoryVolume(bytes)
        }
        let base = MemoryVolume(size: 0)
        var options = QCOW2CreateOptions(size: configuration.size)
        options.version = configuration.version
        options.clusterSize = configuration.clusterSize
        options.refcountBits = configuration.refcountBits
        options.hasExtendedL2 = configuration.hasExtendedL2
        if configuration.hasBacking { options.backingFile = "backing.raw" }
        try await QCOW2Volume.create(on: base, options)
        let volume = try await RecordedDisk.open(base, backing: backing)
        let filled = max(configuration.filled, configuration.clusterSize * 3)
        try await volume.write([UInt8](repeating: 0xf1, count: Int(filled)).rawBytes, at: 0)
        try await volume.close()
        return try await RecordedDisk(base.copy(), backing: backing)
    }

    /// One random operation.
    private static func step(
        _ disk: RecordedDisk, _ configuration: Configuration, _ generator: inout SeededGenerator
    ) async throws {
        switch Int.random(in: 0..<20, using: &generator) {
        case 0..<8:
            let (offset, bytes) = randomWrite(disk, configuration, &generator)
            try await disk.perform { try await $0.write(bytes.rawBytes, at: offset) }
        case 8..<10:
            let range = randomRange(disk, configuration, &generator)
            let options: ZeroOptions = Bool.random(using: &generator) ? .keepAllocated : []
            try await disk.perform { try await $0.writeZeroes(range, options: options) }
        case 10..<12:
            let range = randomRange(disk, configuration, &generator)
            try await disk.perform { try await $0.discard(range) }
        case 12..<15: try await disk.perform(isDurable: true) { try await $0.flush() }
        case 15:
            let (offset, bytes) = randomWrite(disk, configuration, &generator)
            try await disk.perform(isDurable: true) {
                // What was written before may still be lost, but not bytes that were written with this request; the
                // disk under test notes whole contents, so flush them all.
                try await $0.write(bytes.rawBytes, at: offset, options: .forceUnitAccess)
                try await $0.flush()
            }
        case 16:
            let writes = (0..<4).map { _ in randomWrite(disk, configuration, &generator) }
            try await disk.perform { volume in
                try await withThrowingTaskGroup { group in
                    for (offset, bytes) in disjoint(writes) {
                        group.addTask { try await volume.write(bytes.rawBytes, at: offset) }
                    }
                    try await group.waitForAll()
                }
            }
        case 17: try await resize(disk, configuration, &generator)
        default: try await changeSnapshots(disk, configuration, &generator)
        }
    }

    /// Those writes that touch no sector of an earlier one: a sector holds what one request left.
    private static func disjoint(_ writes: [(UInt64, [UInt8])]) -> [(UInt64, [UInt8])] {
        var chosen: [(UInt64, [UInt8])] = []
        func sectors(_ write: (UInt64, [UInt8])) -> ClosedRange<UInt64> {
            write.0 / 512...(write.0 + UInt64(write.1.count) - 1) / 512
        }
        for write in writes where !chosen.contains(where: { sectors($0).overlaps(sectors(write)) }) {
            chosen.append(write)
        }
        return chosen
    }

    private static func randomRange(
        _ disk: RecordedDisk, _ configuration: Configuration, _ generator: inout SeededGenerator
    ) -> Range<UInt64> {
        let size = UInt64(disk.current.contents.count)
        let longest = min(size, configuration.clusterSize * 6)
        // Now and then not a multiple of a sector.
        let unit: UInt64 = generator.next() % 4 == 0 ? 1 : 512
        let length = max(UInt64.random(in: 1...longest, using: &generator) / unit * unit, unit)
        // New clusters come into play when the disk has been filled.
        let lowest = generator.next() % 2 == 0 ? min(configuration.filled, size - length) : 0
        let offset = UInt64.random(in: lowest...(size - length), using: &generator) / unit * unit
        return offset..<offset + length
    }

    private static func randomWrite(
        _ disk: RecordedDisk, _ configuration: Configuration, _ generator: inout SeededGenerator
    ) -> (UInt64, [UInt8]) {
        let range = randomRange(disk, configuration, &generator)
        let bytes = range.map { _ in UInt8.random(in: 1...255, using: &generator) }
        return (range.lowerBound, bytes)
    }

    private static func resize(
        _ disk: RecordedDisk, _ configuration: Configuration, _ generator: inout SeededGenerator
    ) async throws {
        let size = configuration.size
        let new = UInt64.random(in: size / 2...size * 2, using: &generator) / 512 * 512
        let isShrinking = new < UInt64(disk.current.contents.count)
        // A version 2 image does not say how long the disk was at a snapshot, so it keeps its size.
        if (isShrinking || configuration.version == 2) && !disk.current.snapshots.isEmpty { return }
        try await disk.perform(isDurable: true) { try await $0.resize(to: new) }
    }

    private static func changeSnapshots(
        _ disk: RecordedDisk, _ configuration: Configuration, _ generator: inout SeededGenerator
    ) async throws {
        let names = disk.current.snapshots.keys.sorted()
        switch Int.random(in: 0..<4, using: &generator) {
        case 0, 1:
            // A snapshot shares every cluster once more: refcounts of few bits allow no more of them.
            guard names.count < min(3, (1 << min(configuration.refcountBits, 8)) - 2) else { return }
            let name = "s\(generator.next() % 1000)"
            if names.contains(name) { return }
            try await disk.perform(isDurable: true, snapshots: { $0[name] = $1 }) {
                _ = try await $0.createSnapshot(name)
            }
        case 2:
            guard let name = names.randomElement(using: &generator) else { return }
            try await disk.perform(isDurable: true, snapshots: { snapshots, _ in snapshots[name] = nil }) {
                try await $0.deleteSnapshot(name)
            }
        default:
            guard let name = names.randomElement(using: &generator) else { return }
            try await disk.perform(isDurable: true) { try await $0.applySnapshot(name) }
        }
    }
}
