import BlockStorage
import Foundation
import IORuntime
import Testing

@Suite struct CopyTests {
    @Test("a copy has the bytes of the source, whatever the sizes and block sizes", arguments: 0..<24)
    func equalsSource(seed: UInt64) async throws {
        var randomness = SeededGenerator(seed: seed)
        let sourceBlock = [1, 512, 4096].randomElement(using: &randomness) ?? 1
        let targetBlock = [1, 512, 4096, 65536].randomElement(using: &randomness) ?? 1
        let byteCount = Int.random(in: 0...1_500_000, using: &randomness) / sourceBlock * sourceBlock
        let contents = randomness.sparseBytes(byteCount)
        let extra = Int.random(in: 0...200_000, using: &randomness)
        let targetSize = (byteCount + extra + targetBlock - 1) / targetBlock * targetBlock
        let isKnownZero = Bool.random(using: &randomness)
        let source = StrictVolume(contents, blockSize: UInt32(sourceBlock), isReadOnly: true)
        let old = isKnownZero ? [UInt8](repeating: 0, count: targetSize) : randomness.bytes(targetSize)
        let target = StrictVolume(old, blockSize: UInt32(targetBlock))
        var options = CopyOptions(destinationReadsZero: isKnownZero, verifies: true)
        options.requestSize = [4096, 100_000, 1 << 20].randomElement(using: &randomness) ?? 4096
        options.requestsInFlight = Int.random(in: 1...20, using: &randomness)
        let summary = try await source.copy(to: target, options)

        let isSame = target.memory.contents == contents + [UInt8](repeating: 0, count: targetSize - byteCount)
        #expect(isSame)
        #expect(summary.bytesTotal == UInt64(byteCount))
        #expect(target.count(of: .flush) == 1)
    }

    @Test("holes and zeros of the source are neither read nor written to a destination that reads as zeros")
    func skipsZeros() async throws {
        let source = StrictVolume(size: 64 << 20)
        let bytes = [UInt8](repeating: 0, count: 1 << 20)
        try await source.write(bytes, at: 8 << 20)
        try await source.write([UInt8](repeating: 1, count: 10), at: 40 << 20)
        let target = StrictVolume(size: 64 << 20)
        var options = CopyOptions(destinationReadsZero: true)
        options.requestSize = 1 << 20
        let summary = try await source.copy(to: target, options)
        #expect(source.count(of: .read) == 2)
        #expect(target.count(of: .write) == 1)
        #expect(target.count(of: .zero) == 0)
        #expect(summary.bytesWritten == 64 << 10)
    }

    @Test("a smaller destination is refused before anything is written")
    func refusesSmallerDestination() async throws {
        let source = MemoryVolume([UInt8](repeating: 1, count: 4097))
        let target = StrictVolume([UInt8](repeating: 9, count: 4096))
        let error = await #expect(throws: StorageError.self) { try await source.copy(to: target) }
        #expect(error?.code == .outOfRange)
        #expect(target.memory.contents == [UInt8](repeating: 9, count: 4096))
    }

    @Test("a read-only destination is refused")
    func refusesReadOnlyDestination() async throws {
        let target = StrictVolume([UInt8](repeating: 9, count: 4096), isReadOnly: true)
        let error = await #expect(throws: StorageError.self) {
            try await MemoryVolume(size: 4096).copy(to: target)
        }
        #expect(error?.code == .readOnly)
    }

    @Test(
        "the first failure stops the copy, and it returns when nothing is in flight any more",
        arguments: [StrictVolume.Operation.read, .write, .zero, .extents, .flush], [0, 1, 5])
    func stopsAtFailure(operation: StrictVolume.Operation, after count: Int) async throws {
        // Units of data and of zeros in turn.
        let source = StrictVolume((0..<40 << 16).map { ($0 >> 16) % 2 == 0 ? 1 : 0 })
        let target = StrictVolume(size: 40 << 16)
        if operation == .extents || operation == .flush {
            guard count == 0 else { return }
        }
        let failing = operation == .read || operation == .extents ? source : target
        failing.fail(operation, after: count)
        var options = CopyOptions()
        options.requestSize = 65536
        options.requestsInFlight = 4
        let copyOptions = options
        let error = await #expect(throws: StorageError.self) { try await source.copy(to: target, copyOptions) }
        #expect(error?.code == .inputOutput)
        #expect(error?.what == "injected")
        #expect(source.running == 0)
        #expect(target.running == 0)
        if operation == .read || operation == .write {
            #expect(failing.count(of: operation) <= count + 2 * options.requestsInFlight)
        }
    }

    @Test("a cancelled copy throws cancelled and leaves nothing in flight")
    func cancels() async throws {
        let source = SyntheticVolume(size: 1 << 40)
        let (started, start) = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            try await source.copy(
                to: SyntheticVolume(size: 1 << 40), CopyOptions(progress: { _ in start.yield() }))
        }
        for await _ in started { break }
        task.cancel()
        let error = await #expect(throws: StorageError.self) { try await task.value }
        #expect(error?.code == .cancelled)
    }

    @Test("progress never goes back and ends at the total, for both phases")
    func reportsProgress() async throws {
        let reports = Locked<[CopyProgress]>([])
        let size: UInt64 = (300 << 20) + 12345
        let volume = SyntheticVolume(size: size)
        try await volume.copy(
            to: SyntheticVolume(size: size),
            CopyOptions(
                destinationReadsZero: true, verifies: true,
                progress: { progress in reports.withLock { $0.append(progress) } }))
        for phase in [CopyProgress.Phase.copying, .verifying] {
            let done = reports.withLock { $0.filter { $0.phase == phase } }
            #expect(done.last?.bytesDone == size)
            #expect(done.allSatisfy { $0.bytesTotal == size && $0.bytesPerSecond >= 0 })
            #expect(zip(done, done.dropFirst()).allSatisfy { $0.bytesDone < $1.bytesDone })
        }
    }

    @Test("requests run in parallel, up to the limit")
    func isParallel() async throws {
        let source = SyntheticVolume(size: 100 << 20, expectedInFlight: 8)
        var options = CopyOptions(destinationReadsZero: true)
        options.requestsInFlight = 8
        try await source.copy(to: SyntheticVolume(size: 100 << 20), options)
        #expect(source.mostInFlight == 8)
    }

    @Test("a single changed byte anywhere is found by verification", arguments: 0..<12)
    func findsDifference(seed: UInt64) async throws {
        var randomness = SeededGenerator(seed: seed)
        let contents = randomness.sparseBytes(500_000)
        let source = MemoryVolume(contents)
        let target = MemoryVolume(size: 520_000)
        try await source.copy(to: target)
        try await source.verifyCopy(in: target)
        let place = Int.random(in: 0..<520_000, using: &randomness)
        let old = place < contents.count ? contents[place] : 0
        try await target.write([old ^ 1], at: UInt64(place))
        let error = await #expect(throws: StorageError.self) { try await source.verifyCopy(in: target) }
        #expect(error?.code == .corrupt)
    }

    @Test("a 10 GiB volume is copied and intact, in less than 64 MiB of resident memory")
    func boundsMemory() async {
        // In a process of its own, so that what other tests use is not counted.
        await #expect(processExitsWith: .success) {
            let size: UInt64 = 10 << 30
            let target = SyntheticVolume(size: size)
            let summary = try await SyntheticVolume(size: size)
                .copy(to: target, CopyOptions(destinationReadsZero: true))
            #expect(target.isIntact)
            #expect(target.bytesWritten == size / 8 * 5)
            #expect(summary.bytesWritten == size / 8 * 5)
            #expect(try largestResidentSize() < 64 << 20)
        }
    }
}

/// The most memory that this process ever had in RAM, in bytes.
private func largestResidentSize() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
    return try #require(Int(line.split { !$0.isNumber }[0])) << 10
}
