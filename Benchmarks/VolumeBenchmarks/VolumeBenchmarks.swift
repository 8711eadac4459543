import Benchmark
import BlockStorage
import IORuntime
import QCOW2

/// What a 4 KiB request costs in each layer of a stack: the memory below is the same for all, so the differences are
/// the layers' own time.
let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], warmupIterations: 10, scalingFactor: .kilo,
        maxDuration: .seconds(3), maxIterations: 10_000)

    Benchmark("Memory: read") { benchmark in
        try await readEachBlock(of: try await filled(MemoryVolume(size: diskSize)), benchmark)
    }
    Benchmark("QCOW2: read, mapping cached") { benchmark in
        try await readEachBlock(of: try await filled(try await image()), benchmark)
    }
    Benchmark("QCOW2: read of a hole") { benchmark in
        try await readEachBlock(of: try await image(), benchmark)
    }
    Benchmark("QCOW2: read through a backing file") { benchmark in
        let backing = try await filled(MemoryVolume(size: diskSize))
        try await readEachBlock(of: try await image(backing: backing), benchmark)
    }
    Benchmark("QCOW2: rewrite in place") { benchmark in
        try await writeEachBlock(of: try await filled(try await image()), benchmark)
    }
    Benchmark("QCOW2: flush with nothing changed") { benchmark in
        let volume = try await filled(try await image())
        try await volume.flush()
        try await IOExecutorGroup.shared.run {
            benchmark.startMeasurement()
            for _ in benchmark.scaledIterations { try await volume.flush() }
            benchmark.stopMeasurement()
        }
    }
}

private let diskSize: UInt64 = 16 << 20
private let blockSize = 4096

/// A new image in memory.
private func image(backing: (any Volume)? = nil) async throws(StorageError) -> QCOW2Volume {
    let base = MemoryVolume(size: 0)
    try await QCOW2Volume.create(on: base, QCOW2CreateOptions(size: diskSize))
    var options = QCOW2OpenOptions()
    options.backing = backing
    return try await QCOW2Volume.open(base, options)
}

/// The volume with every block written.
private func filled(_ volume: any Volume) async throws(StorageError) -> any Volume {
    let contents = [UInt8](repeating: 0xA5, count: 1 << 20)
    for offset in stride(from: 0, to: diskSize, by: 1 << 20) {
        try await volume.write(contents.span.bytes, at: offset)
    }
    return volume
}

/// The offset of request `index`, in an order that is not sequential.
private func offset(_ index: Int) -> UInt64 {
    UInt64(index * 1021 % (Int(diskSize) / blockSize) * blockSize)
}

private func readEachBlock(of volume: any Volume, _ benchmark: Benchmark) async throws {
    try await IOExecutorGroup.shared.run {
        var buffer = IOBuffer(byteCount: blockSize)
        benchmark.startMeasurement()
        for index in benchmark.scaledIterations {
            var bytes = buffer.mutableBytes
            try await volume.read(into: &bytes, at: offset(index))
        }
        benchmark.stopMeasurement()
    }
}

private func writeEachBlock(of volume: any Volume, _ benchmark: Benchmark) async throws {
    try await IOExecutorGroup.shared.run {
        let buffer = IOBuffer(byteCount: blockSize)
        benchmark.startMeasurement()
        for index in benchmark.scaledIterations {
            try await volume.write(buffer.bytes, at: offset(index))
        }
        benchmark.stopMeasurement()
    }
}
