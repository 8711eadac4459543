import IORuntime

/// A volume that fails chosen requests, for tests of what happens then.
///
/// A failed request does nothing to the volume underneath.
public final class FaultInjectingVolume: ResizableVolume {
    /// The kinds of request that are counted apart.
    public enum Request: String, Sendable, CaseIterable {
        case read, write, flush, discard, writeZeroes, extents, resize
    }

    /// A failure that is waiting for its request.
    private struct Fault {
        let request: Request
        /// Calls that still succeed.
        var callsBefore: Int
        let isPersistent: Bool
        let error: StorageError
    }

    private struct State {
        var faults: [Fault] = []
        var calls: [Request: Int] = [:]
    }

    private let base: any ResizableVolume
    private let state = Locked(State())

    /// Passes everything on to `base` until a failure is asked for.
    public init(_ base: any ResizableVolume) { self.base = base }

    /// Makes the `call`-th `request` from now on fail with `error`, counted from 1; with `fromThenOn`, every later one
    /// too.
    public func fail(
        _ request: Request, call: Int = 1, fromThenOn: Bool = false,
        with error: StorageError = StorageError(.inputOutput, "access volume", why: "a failure was injected")
    ) {
        let fault = Fault(request: request, callsBefore: max(call, 1) - 1, isPersistent: fromThenOn, error: error)
        state.withLock { $0.faults.append(fault) }
    }

    /// Forgets every failure that was asked for.
    public func heal() {
        state.withLock { $0.faults.removeAll() }
    }

    /// How many requests of a kind there were, failed ones included.
    public func callCount(_ request: Request) -> Int {
        state.withLock { $0.calls[request] ?? 0 }
    }

    public var geometry: VolumeGeometry { base.geometry }

    public var stack: String { "faults(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try count(.read)
        try await base.read(into: &buffer, at: offset)
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try count(.write)
        try await base.write(bytes, at: offset, options: options)
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        try count(.read)
        try await base.readv(vector)
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        try count(.write)
        try await base.writev(vector, options: options)
    }

    public func flush() async throws(StorageError) {
        try count(.flush)
        try await base.flush()
    }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try count(.discard)
        try await base.discard(range)
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try count(.writeZeroes)
        try await base.writeZeroes(range, options: options)
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try count(.extents)
        return try await base.extents(in: range)
    }

    public func resize(to size: UInt64) async throws(StorageError) {
        try count(.resize)
        try await base.resize(to: size)
    }

    /// Never fails by injection: closing releases what the test holds.
    public func close() async throws(StorageError) {
        try await base.close()
    }

    private func count(_ request: Request) throws(StorageError) {
        let error: StorageError? = state.withLock { state in
            state.calls[request, default: 0] += 1
            var failure: StorageError?
            for index in state.faults.indices.reversed() where state.faults[index].request == request {
                if state.faults[index].callsBefore > 0 {
                    state.faults[index].callsBefore -= 1
                    continue
                }
                failure = state.faults[index].error
                if !state.faults[index].isPersistent { state.faults.remove(at: index) }
            }
            return failure
        }
        if let error { throw error }
    }
}
