import BlockStorage
import IORuntime
import Testing

@Suite struct MeteredVolumeTests {
    @Test("requests are counted by kind, with their bytes, failures and time")
    func counts() async throws {
        let base = StrictVolume(size: 65536)
        let volume = MeteredVolume(base, volume: "pool/web")
        try await volume.write([1, 2, 3], at: 10)
        try await volume.write([1], at: 0)
        _ = try await volume.read(0..<100)
        try await volume.flush()
        try await volume.writeZeroes(0..<4096)
        try await volume.discard(4096..<8192)
        base.fail(.read, after: 0)
        await #expect(throws: StorageError.self) { try await volume.read(0..<1) }
        let counts = volume.counts
        #expect(counts.writes.operations == 2 && counts.writes.bytes == 4 && counts.writes.errors == 0)
        #expect(counts.reads.operations == 1 && counts.reads.bytes == 100 && counts.reads.errors == 1)
        #expect(counts.flushes.operations == 1)
        #expect(counts.zeroes.operations == 1 && counts.zeroes.bytes == 4096)
        #expect(counts.discards.operations == 1 && counts.discards.bytes == 4096)
        #expect(counts.writes.nanoseconds > 0)
        try await volume.close()
        #expect(volume.counts == counts)
    }
}
