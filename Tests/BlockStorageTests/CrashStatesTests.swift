import BlockStorage
import IORuntime
import Testing

@Suite("States after a power loss")
struct CrashStatesTests {
    /// The byte that fills sector `index`.
    private func sectors(_ state: CrashStates.State) -> [UInt8] {
        stride(from: 0, to: state.volume.contents.count, by: 512).map { state.volume.contents[$0] }
    }

    private func write(_ value: UInt8, sectors: Range<Int>, to volume: RecordingVolume) async throws {
        let bytes = [UInt8](repeating: value, count: sectors.count * 512)
        try await volume.write(bytes.rawBytes, at: UInt64(sectors.lowerBound * 512))
    }

    private func states(of volume: RecordingVolume, size: UInt64) async -> [(entryCount: Int, sectors: [UInt8])] {
        var states: [(entryCount: Int, sectors: [UInt8])] = []
        await CrashStates(of: volume.log, startingFrom: MemoryVolume(size: size)).forEach { state in
            states.append((state.entryCount, sectors(state)))
        }
        return states
    }

    @Test("unflushed writes are there, lost and out of order; flushed ones are always there")
    func subsets() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 1536))
        try await write(1, sectors: 0..<1, to: volume)
        try await volume.flush()
        try await write(2, sectors: 1..<2, to: volume)
        try await write(3, sectors: 2..<3, to: volume)

        let states = await states(of: volume, size: 1536)
        #expect(Set(states.map(\.sectors)) == [[0, 0, 0], [1, 0, 0], [1, 2, 0], [1, 0, 3], [1, 2, 3]])
        #expect(states.allSatisfy { $0.entryCount < 2 || $0.sectors[0] == 1 })
    }

    @Test("a write is torn between sectors and never within one")
    func tearing() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 1024))
        try await write(7, sectors: 0..<2, to: volume)
        let states = await states(of: volume, size: 1024)
        #expect(Set(states.map(\.sectors)) == [[0, 0], [7, 0], [0, 7], [7, 7]])
    }

    @Test("a sector that is written in part brings what was written to it before")
    func partialSectors() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 512))
        try await volume.write([UInt8](repeating: 1, count: 256).rawBytes, at: 0)
        try await volume.write([UInt8](repeating: 2, count: 256).rawBytes, at: 256)
        var contents: Set<[UInt8]> = []
        await CrashStates(of: volume.log, startingFrom: MemoryVolume(size: 512)).forEach { state in
            contents.insert([state.volume.contents[0], state.volume.contents[256]])
        }
        #expect(contents == [[0, 0], [1, 0], [1, 2]])
    }

    @Test("overlapping writes keep their order")
    func order() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 512))
        try await write(1, sectors: 0..<1, to: volume)
        try await write(2, sectors: 0..<1, to: volume)
        try await volume.flush()
        #expect(await states(of: volume, size: 512).last?.sectors == [2])
    }

    @Test("a resize is durable when it returns, and cut off before")
    func resize() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 512))
        try await write(1, sectors: 0..<1, to: volume)
        try await volume.resize(to: 1024)
        let states = await states(of: volume, size: 512)
        #expect(Set(states.filter { $0.entryCount == 1 }.map(\.sectors.count)) == [1])
        #expect(Set(states.filter { $0.entryCount == 2 }.map(\.sectors.count)) == [2])
        #expect(Set(states.filter { $0.entryCount == 3 }.map(\.sectors)) == [[0, 0], [1, 0]])
    }

    @Test("a write with forced unit access is durable when it returns")
    func forcedUnitAccess() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 1024))
        try await write(1, sectors: 0..<1, to: volume)
        try await volume.write([UInt8](repeating: 2, count: 512).rawBytes, at: 512, options: .forceUnitAccess)
        let final = await states(of: volume, size: 1024).filter { $0.entryCount == 3 }
        #expect(Set(final.map(\.sectors)) == [[0, 2], [1, 2]])
    }

    @Test("a discard may never take effect")
    func discard() async throws {
        let base = MemoryVolume([UInt8](repeating: 9, count: 512))
        let initial = base.copy()
        let volume = RecordingVolume(base)
        try await volume.discard(0..<512)
        try await volume.flush()
        for (takesEffect, expected) in [(true, [0]), (false, [9])] as [(Bool, [UInt8])] {
            var last: [UInt8] = []
            let states = CrashStates(
                of: volume.log, startingFrom: initial, discardsTakeEffect: takesEffect)
            await states.forEach { last = sectors($0) }
            #expect(last == expected)
        }
    }

    @Test("the same seed gives the same states")
    func seeded() async throws {
        let volume = RecordingVolume(MemoryVolume(size: 8192))
        for index in 0..<8 { try await write(UInt8(index + 1), sectors: index..<min(index + 3, 16), to: volume) }
        var runs: [[String]] = [[], [], []]
        for (run, seed) in zip(0..., [5, 5, 6] as [UInt64]) {
            let states = CrashStates(of: volume.log, startingFrom: MemoryVolume(size: 8192))
            let count = await states.forEach(sampleCount: 20, seed: seed) { runs[run].append($0.description) }
            #expect(count == runs[run].count)
        }
        #expect(runs[0] == runs[1])
        #expect(runs[0] != runs[2])
        #expect(Set(runs[0]).count == runs[0].count)
    }
}
