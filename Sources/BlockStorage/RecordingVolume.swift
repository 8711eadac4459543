import IORuntime

/// A volume that passes everything on and keeps a log of what changes its bytes, contents included, and of flushes.
///
/// What a power loss could have left behind is read off the log: see `CrashStates`.
public final class RecordingVolume: ResizableVolume {
    /// One request, in the order in which requests were made.
    public struct Entry: Sendable {
        /// What the request did.
        public enum Operation: Sendable {
            /// Bytes were written at an offset.
            case write(offset: UInt64, bytes: [UInt8])
            /// A range was made to read as zeros.
            case writeZeroes(Range<UInt64>)
            /// A range was no longer needed.
            case discard(Range<UInt64>)
            /// The size was set to this many bytes.
            case resize(UInt64)
            /// Everything before became durable, except the requests with these indices in the log, which had not
            /// completed when the flush began.
            case flush(stillPending: [Int])
            /// The request with this index, a resize or one with forced unit access, completed and is durable.
            case durable(Int)
        }

        /// What the request did.
        public let operation: Operation
    }

    private struct State {
        var entries: [Entry] = []
        var inFlight: Set<Int> = []
    }

    private let base: any ResizableVolume
    private let state = Locked(State())

    /// Records what is done to `base` from now on.
    public init(_ base: any ResizableVolume) { self.base = base }

    /// Everything so far. A request that changes bytes is added when it begins, because a power loss may find any part
    /// of it done; what makes requests durable is added when it has succeeded.
    public var log: [Entry] { state.withLock { $0.entries } }

    /// The number of entries in `log`.
    public var entryCount: Int { state.withLock { $0.entries.count } }

    public var geometry: VolumeGeometry { base.geometry }

    public var stack: String { "recording(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await base.read(into: &buffer, at: offset)
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try geometry.check(offset, bytes.byteCount)
        var copy = [UInt8](repeating: 0, count: bytes.byteCount)
        var copied = copy.mutableRawBytes
        copied.copy(from: bytes)
        let entry = begin(.write(offset: offset, bytes: copy))
        defer { end(entry) }
        try await base.write(bytes, at: offset, options: options)
        if options.contains(.forceUnitAccess) { markDurable(entry) }
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        try await base.readv(vector)
    }

    /// Segments that follow each other on the volume are recorded as one write, as storage gets them.
    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        var entries: [Int] = []
        defer { for entry in entries { end(entry) } }
        var start: UInt64 = 0
        var bytes: [UInt8] = []
        for index in 0..<vector.count {
            let segment = vector[index]
            try geometry.check(segment.offset, segment.byteCount)
            if segment.offset != start + UInt64(bytes.count), !bytes.isEmpty {
                entries.append(begin(.write(offset: start, bytes: bytes)))
                bytes.removeAll()
            }
            if bytes.isEmpty { start = segment.offset }
            await vector.withBytes(of: index) { span in
                let count = bytes.count
                bytes += repeatElement(0, count: span.byteCount)
                var copied = bytes.mutableRawBytes
                copied.copy(from: span.bytes, to: count)
            }
        }
        if !bytes.isEmpty { entries.append(begin(.write(offset: start, bytes: bytes))) }
        try await base.writev(vector, options: options)
        if options.contains(.forceUnitAccess) { entries.forEach { markDurable($0) } }
    }

    public func flush() async throws(StorageError) {
        let pending = state.withLock { ($0.inFlight.sorted(), $0.entries.count) }
        try await base.flush()
        state.withLock { state in
            let since = Array(pending.1..<state.entries.count)
            let stillPending = (pending.0 + since).filter { state.entries[$0].changesBytes }
            state.entries.append(Entry(operation: .flush(stillPending: stillPending)))
        }
    }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        try geometry.check(range)
        let entry = begin(.discard(range))
        defer { end(entry) }
        try await base.discard(range)
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try geometry.check(range)
        let entry = begin(.writeZeroes(range))
        defer { end(entry) }
        try await base.writeZeroes(range, options: options)
        if options.contains(.forceUnitAccess) { markDurable(entry) }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }

    public func resize(to size: UInt64) async throws(StorageError) {
        let entry = begin(.resize(size))
        defer { end(entry) }
        try await base.resize(to: size)
        markDurable(entry)
    }

    public func close() async throws(StorageError) {
        try await flush()
        try await base.close()
    }

    private func begin(_ operation: Entry.Operation) -> Int {
        state.withLock { state in
            state.entries.append(Entry(operation: operation))
            state.inFlight.insert(state.entries.count - 1)
            return state.entries.count - 1
        }
    }

    private func end(_ entry: Int) {
        state.withLock { _ = $0.inFlight.remove(entry) }
    }

    private func markDurable(_ entry: Int) {
        state.withLock { $0.entries.append(Entry(operation: .durable(entry))) }
    }
}

extension RecordingVolume.Entry {
    /// Whether the entry is a request that a power loss can undo, and not a promise about others.
    var changesBytes: Bool {
        switch operation {
        case .write, .writeZeroes, .discard, .resize: true
        case .flush, .durable: false
        }
    }
}
