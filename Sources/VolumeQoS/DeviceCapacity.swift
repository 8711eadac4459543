import BlockStorage
import IORuntime

/// How many 4 KiB operations a second a device can do, found out by asking it for as many as it will.
public enum DeviceCapacity {
    /// Reads 4 KiB at random places of the volume, `depth` at once, for `duration`, and returns what came back a second.
    ///
    /// A figure for an idle device that is otherwise as it will be used: what caches answer counts too, and writes may cost
    /// more than reads. Throws what a read throws, and `invalidArgument` for a volume without 4 KiB.
    public static func measure(
        _ volume: any Volume, duration: Duration = .seconds(3), depth: Int = 32, seed: UInt64 = 1
    ) async throws(StorageError) -> UInt64 {
        let blocks = volume.geometry.size / 4096
        guard blocks > 0 else {
            throw StorageError(.invalidArgument, "measure capacity", why: "the volume has no 4 KiB")
        }
        let start = MonotonicTime.nanoseconds()
        let length = UInt64(clamping: Int64(max(duration, .milliseconds(1)) / .nanoseconds(1)))
        let end = start.addingSaturating(length)
        let outcome = await withTaskGroup(of: Result<UInt64, StorageError>.self) { group in
            for worker in 0..<max(1, depth) {
                group.addTask {
                    var random = SeededGenerator(seed: seed &+ UInt64(worker))
                    var buffer = IOBuffer(byteCount: 4096)
                    var count: UInt64 = 0
                    do throws(StorageError) {
                        // Once at least: a busy host may let a worker begin when the time is over.
                        repeat {
                            var bytes = buffer.mutableBytes
                            try await volume.read(
                                into: &bytes, at: UInt64.random(in: 0..<blocks, using: &random) * 4096)
                            count += 1
                        } while MonotonicTime.nanoseconds() < end
                    } catch { return .failure(error) }
                    return .success(count)
                }
            }
            var total: UInt64 = 0
            for await result in group {
                switch result {
                case .success(let count): total += count
                case .failure(let error):
                    group.cancelAll()
                    return Result<UInt64, StorageError>.failure(error)
                }
            }
            return .success(total)
        }
        let elapsed = Double(max(1, MonotonicTime.nanoseconds() - start)) / 1e9
        return max(1, UInt64(Double(try outcome.get()) / elapsed))
    }
}
