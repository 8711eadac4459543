import BlockStorage
import IORuntime
import Testing

@testable import QCOW2

@Suite("Compressed clusters")
struct ClusterCompressionTests {
    /// Text-like bytes: compressible, not trivial.
    private func cluster(_ byteCount: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<byteCount).map { _ in UInt8(truncatingIfNeeded: generator.next() % 17) }
    }

    private func compressed(_ cluster: [UInt8], _ type: QCOW2CompressionType) throws -> [UInt8]? {
        var data = [UInt8](repeating: 0xee, count: cluster.count - 1)
        var room = data.mutableRawBytes
        guard let count = try type.compress(cluster.rawBytes, into: &room) else { return nil }
        return Array(data.prefix(count))
    }

    private func expanded(_ data: [UInt8], _ byteCount: Int, _ type: QCOW2CompressionType) throws -> [UInt8] {
        var cluster = [UInt8](repeating: 0xee, count: byteCount)
        var room = cluster.mutableRawBytes
        try type.decompress(data.rawBytes, into: &room)
        return cluster
    }

    @Test("what is compressed expands to the same bytes", arguments: QCOW2CompressionType.allCases, [9, 12, 16, 21])
    func roundTrip(_ type: QCOW2CompressionType, clusterBits: Int) throws {
        let original = cluster(1 << clusterBits, seed: UInt64(clusterBits))
        let data = try #require(try compressed(original, type))
        #expect(data.count < original.count)
        #expect(try expanded(data, original.count, type) == original)
        // An entry only tells in which sector the data ends.
        #expect(try expanded(data + [UInt8](repeating: 0xa5, count: 511), original.count, type) == original)
    }

    @Test("random bytes do not fit", arguments: QCOW2CompressionType.allCases)
    func incompressible(_ type: QCOW2CompressionType) throws {
        var generator = SeededGenerator(seed: 3)
        let original = (0..<4096).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        #expect(try compressed(original, type) == nil)
    }

    @Test("data of more or less than a cluster is refused", arguments: QCOW2CompressionType.allCases)
    func wrongLength(_ type: QCOW2CompressionType) throws {
        let data = try #require(try compressed(cluster(8192, seed: 1), type))
        for (byteCount, reason) in [(4096, "more"), (8191, "more"), (8193, "less"), (16384, "less")] {
            let error = #expect(throws: StorageError.self) { try expanded(data, byteCount, type) }
            #expect(error?.code == .corrupt)
            #expect(error?.why.contains(reason) == true)
        }
    }

    @Test("cut and altered data expands to a cluster or is refused", arguments: QCOW2CompressionType.allCases)
    func damaged(_ type: QCOW2CompressionType) throws {
        let data = try #require(try compressed(cluster(4096, seed: 2), type))
        for length in stride(from: 0, to: data.count - 1, by: 7) {
            #expect(throws: StorageError.self) { try expanded(Array(data.prefix(length)), 4096, type) }
        }
        var generator = SeededGenerator(seed: 4)
        for _ in 0..<2000 {
            var mutant = data
            for _ in 0...Int(generator.next() % 4) {
                mutant[Int(generator.next() % UInt64(data.count))] = UInt8(truncatingIfNeeded: generator.next())
            }
            do {
                #expect(try expanded(mutant, 4096, type).count == 4096)
            } catch let error as StorageError {
                #expect(error.code == .corrupt)
            }
        }
    }

    @Test("a cluster of zeros takes almost no space", arguments: QCOW2CompressionType.allCases)
    func zeros(_ type: QCOW2CompressionType) throws {
        let data = try #require(try compressed([UInt8](repeating: 0, count: 1 << 20), type))
        #expect(data.count < 2048)
    }
}
