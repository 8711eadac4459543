import BlockStorage
import IORuntime

/// Writes an image that comes from beginning to end into a volume that reads as zeros, several chunks at a time, and
/// makes the volume as large as the image.
///
/// Not safe for concurrent calls.
final class ImageWriter {
    /// The size of a volume for an image whose size nobody knows yet, in bytes.
    static let firstSize: UInt64 = 64 << 20
    private static let sparseUnit = 4096
    private static let chunksInFlight = 4

    private let volume: any ResizableVolume
    private var running: [Task<Result<Void, StorageError>, Never>] = []

    init(_ volume: any ResizableVolume) { self.volume = volume }

    /// Begins to write a chunk; zeros in it stay holes. Throws what an earlier one failed with.
    func write(_ chunk: UnpackedChunk) async throws(StorageError) {
        let size = volume.geometry.size
        if chunk.end > size {
            try await settle()
            // Each change of the size is made durable: there are to be few.
            try await volume.resize(to: max(chunk.end, size.addingSaturating(size)))
        }
        if running.count >= Self.chunksInFlight { try await running.removeFirst().value.get() }
        running.append(Self.start(chunk, volume))
    }

    private static func start(
        _ chunk: UnpackedChunk, _ volume: any ResizableVolume
    ) -> Task<Result<Void, StorageError>, Never> {
        Task(executorPreference: IOExecutorGroup.shared.next()) {
            do throws(StorageError) {
                return .success(try await write(chunk, to: volume))
            } catch {
                return .failure(error)
            }
        }
    }

    private static func write(_ chunk: UnpackedChunk, to volume: any ResizableVolume) async throws(StorageError) {
        for run in chunk.bytes.runs(granularity: sparseUnit) where run.isData {
            try await volume.write(
                chunk.bytes.extracting(run.range), at: chunk.offset + UInt64(run.range.lowerBound))
        }
    }

    /// Waits until all is written, and gives the volume its size.
    func finish(size: UInt64) async throws(StorageError) {
        try await settle()
        if volume.geometry.size != size { try await volume.resize(to: size) }
    }

    private func settle() async throws(StorageError) {
        while !running.isEmpty { try await running.removeFirst().value.get() }
    }

    /// Waits until nothing is being written any more.
    func stop() async {
        for task in running { task.cancel() }
        for task in running { _ = await task.value }
        running = []
    }
}
