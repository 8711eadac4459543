import BlockStorage
import IORuntime

/// A volume in memory that notes what it is asked, can hold requests back, and can fail them.
final class ProbeVolume: ResizableVolume {
    enum Call: Equatable {
        case read(Range<UInt64>), write(Range<UInt64>, WriteOptions), flush, discard(Range<UInt64>)
        case zero(Range<UInt64>, ZeroOptions)
    }

    private struct State {
        var calls: [Call] = []
        var failure: StorageError?
        var isHeld = false
        var held: [CheckedContinuation<Void, Never>] = []
        var watchers: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
    }

    let memory: MemoryVolume
    private let state = Locked(State())

    init(size: UInt64) { memory = MemoryVolume(size: size) }

    var calls: [Call] { state.withLock { $0.calls } }
    var heldCount: Int { state.withLock { $0.held.count } }

    /// Every request throws this from now on.
    func fail(with error: StorageError?) { state.withLock { $0.failure = error } }

    /// Requests wait until `release`.
    func hold() { state.withLock { $0.isHeld = true } }

    func release() {
        let held = state.withLock { state in
            state.isHeld = false
            defer { state.held = [] }
            return state.held
        }
        for continuation in held { continuation.resume() }
    }

    /// Returns when `count` requests are held back.
    func waitUntilHeld(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isReached = state.withLock { state in
                if state.held.count < count { state.watchers.append((count, continuation)) }
                return state.held.count >= count
            }
            if isReached { continuation.resume() }
        }
    }

    private func begin(_ call: Call) async throws(StorageError) {
        let (isHeld, failure) = state.withLock { state in
            state.calls.append(call)
            return (state.isHeld, state.failure)
        }
        if let failure { throw failure }
        if !isHeld { return }
        await withCheckedContinuation { continuation in
            let (passes, reached) = state.withLock { state in
                if !state.isHeld { return (true, [] as [CheckedContinuation<Void, Never>]) }
                state.held.append(continuation)
                let count = state.held.count
                let reached = state.watchers.filter { $0.count <= count }.map(\.continuation)
                state.watchers.removeAll { $0.count <= count }
                return (false, reached)
            }
            if passes { continuation.resume() }
            for watcher in reached { watcher.resume() }
        }
    }

    var geometry: VolumeGeometry { memory.geometry }
    var stack: String { "probe(\(memory.stack))" }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await begin(.read(offset..<offset + UInt64(buffer.byteCount)))
        try await memory.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try await begin(.write(offset..<offset + UInt64(bytes.byteCount), options))
        try await memory.write(bytes, at: offset, options: options)
    }

    func flush() async throws(StorageError) { try await begin(.flush) }

    func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try await begin(.discard(range))
        try await memory.discard(range)
    }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await begin(.zero(range, options))
        try await memory.writeZeroes(range, options: options)
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await memory.extents(in: range)
    }

    func resize(to size: UInt64) async throws(StorageError) { try await memory.resize(to: size) }
    func close() async throws(StorageError) { try await memory.close() }
}
