import BlockStorage
import IORuntime
import VolumeQoS

let second: UInt64 = 1_000_000_000

/// What came back of a load, second by second.
final class Tally: Sendable {
    struct Counts {
        /// In hundredths of a 4 KiB operation.
        var perSecond: [Int64]
        var total: Int64 = 0
    }

    private let counts: Locked<Counts>

    init(seconds: Int) { counts = Locked(Counts(perSecond: Array(repeating: 0, count: seconds))) }

    func add(_ cost: Int64, after nanoseconds: UInt64) {
        counts.withLock { counts in
            let index = Int(nanoseconds / second)
            guard index < counts.perSecond.count else { return }
            counts.perSecond[index] += cost
            counts.total += cost
        }
    }

    var result: Counts { counts.withLock { $0 } }
}

/// Keeps `depth` reads in flight on one executor for some seconds, each of one of the sizes.
func load(_ volume: any Volume, depth: Int, sizes: [Int], seconds: Int, seed: UInt64 = 1) async -> Tally.Counts {
    let tally = Tally(seconds: seconds)
    let start = MonotonicTime.nanoseconds()
    let end = start + UInt64(seconds) * second
    await IOExecutorGroup.shared.run {
        await withDiscardingTaskGroup { group in
            for worker in 0..<depth {
                group.addTask {
                    var random = SeededGenerator(seed: seed &+ UInt64(worker))
                    var buffer = IOBuffer(byteCount: sizes.max() ?? 4096)
                    while MonotonicTime.nanoseconds() < end {
                        let size = sizes.randomElement(using: &random) ?? 4096
                        var all = buffer.mutableBytes
                        var bytes = all._mutatingExtracting(0..<size)
                        do { try await volume.read(into: &bytes, at: 0) } catch { return }
                        tally.add(CostCurve.element.cost(of: UInt64(size)), after: MonotonicTime.nanoseconds() - start)
                    }
                }
            }
            // What waits at the end would wait for long.
            group.addTask {
                await IOExecutor.sleep(for: .seconds(seconds))
                try? await volume.close()
            }
        }
    }
    return tally.result
}

/// Takes and gives nothing, at once.
struct NothingVolume: Volume {
    var geometry: VolumeGeometry { VolumeGeometry(size: 1 << 30) }
    var stack: String { "nothing" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {}
    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {}
    func flush() async throws(StorageError) {}
    func discard(_ range: Range<UInt64>) async throws(StorageError) {}
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {}
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] { [] }
    func close() async throws(StorageError) {}
}

/// A device that serves one request after the other, in the order in which they come, each in a time that its cost takes.
final class DeviceVolume: Volume {
    private let rate: UInt64
    private let free = Locked<(time: UInt64, busy: UInt64)>((0, 0))

    /// So many 4 KiB operations a second.
    init(capacity: UInt64) { rate = capacity * UInt64(CostCurve.unit) }

    /// Nanoseconds of work that it was given.
    var busy: UInt64 { free.withLock { $0.busy } }

    var geometry: VolumeGeometry { VolumeGeometry(size: 1 << 30) }
    var stack: String { "device" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let work = UInt64(CostCurve.element.cost(of: UInt64(buffer.byteCount))) * second / rate
        let now = MonotonicTime.nanoseconds()
        let end = free.withLock { free in
            free.time = max(free.time, now) + work
            free.busy += work
            return free.time
        }
        await IOExecutor.sleep(for: .nanoseconds(Int64(end - now)))
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {}
    func flush() async throws(StorageError) {}
    func discard(_ range: Range<UInt64>) async throws(StorageError) {}
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {}
    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] { [] }
    func close() async throws(StorageError) {}
}
