import BlockStorage
import IORuntime

@testable import QCOW2

/// Small images that use every part of the format, for tests that damage them.
enum SampleImage: String, CaseIterable, Sendable {
    case plain, smallClusters, version2, snapshots, extended, zlib, zstd

    /// The image's bytes.
    func bytes() async throws -> [UInt8] {
        var options = QCOW2CreateOptions(size: 300 << 10)
        var generator = SeededGenerator(seed: 7)
        let text = (0..<200 << 10).map { _ in UInt8(truncatingIfNeeded: generator.next() % 5) }
        switch self {
        case .plain: options.clusterSize = 4096
        case .smallClusters: (options.clusterSize, options.refcountBits) = (512, 1)
        case .version2: (options.clusterSize, options.version) = (1024, 2)
        case .snapshots: options.clusterSize = 1024
        case .extended: (options.clusterSize, options.hasExtendedL2) = (16 << 10, true)
        case .zlib: options.clusterSize = 4096
        case .zstd: (options.clusterSize, options.compressionType) = (4096, .zstd)
        }
        let base = MemoryVolume(size: 0)
        if self == .zlib || self == .zstd {
            try await QCOW2CompressedWriter.write(MemoryVolume(text), on: base, options)
            return base.contents
        }
        try await QCOW2Volume.create(on: base, options)
        let volume = try await QCOW2Volume.open(base)
        try await volume.write(Array(text.prefix(30_000)).rawBytes, at: 1000)
        try await volume.writeZeroes(10_000..<20_000)
        if self == .snapshots || self == .version2 {
            _ = try await volume.createSnapshot("one")
            try await volume.write(Array(text.prefix(5000)).rawBytes, at: 3000)
            _ = try await volume.createSnapshot("two")
        }
        try await volume.write(Array(text.prefix(3000)).rawBytes, at: 100_000)
        try await volume.close()
        return base.contents
    }
}
