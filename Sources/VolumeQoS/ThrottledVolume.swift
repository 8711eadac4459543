import BlockStorage
import IORuntime
import Metrics

/// A volume that is held to its policy.
///
/// A read or a write waits until it may go, costs what the group's curve says of its bytes, and is never split. A discard
/// counts as one operation, since it moves no data, and so does a zeroing, unless its zeros have to be written. A flush, a
/// map and a resize are free.
///
/// Cancelling the task of a waiting request ends it with `cancelled`, and one that waits longer than the group's deadline
/// ends with `timedOut`: neither has reached the volume below, so a write of which that is thrown here has not happened.
public final class ThrottledVolume: Volume {
    private let base: any Volume
    private let group: ThrottleGroup
    private let member: ThrottleMember
    private let meter: ThrottleMeter?
    /// Requests that were released by `close`, and are under way.
    private let drain = Locked(Drain())

    private struct Drain {
        var count = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
        var last: ThrottleStatistics?
    }

    /// Holds `base` to a policy, in a group of its own unless one is given.
    ///
    /// `credit` is burst saved before, as `statistics.credit` gives it. With `metrics` and a name the volume's counters are
    /// published, until it is closed.
    public init(
        _ base: any Volume, _ policy: QoSPolicy, in group: ThrottleGroup = ThrottleGroup(), credit: Int64 = 0,
        volume name: String = "", metrics: (any MetricsFactory)? = nil
    ) {
        (self.base, self.group) = (base, group)
        meter = metrics.map { ThrottleMeter(volume: name, $0) }
        member = group.join(policy, credit: credit, meter: meter)
    }

    /// Another policy, from now on, for waiting requests too; nil for none. Burst credit is kept as far as it allows.
    public func setPolicy(_ policy: QoSPolicy?) { group.setPolicy(policy ?? .unlimited, of: member) }

    /// What the volume has had; as of its closing once it is closed.
    public var statistics: ThrottleStatistics { drain.withLock { $0.last } ?? group.statistics(of: member) }

    /// Books what other schedulers have served of the volume since this was last called.
    public func serveElsewhere(_ service: ServiceElsewhere) { group.serveElsewhere(service, of: member) }

    /// Publishes what is not published with each request. Call it before metrics are collected.
    public func publish() { meter?.publish { statistics } }

    public var geometry: VolumeGeometry { base.geometry }
    public var stack: String { "throttled(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let outcome = try await admit(buffer.byteCount)
        defer { finish(outcome) }
        try await base.read(into: &buffer, at: offset)
    }

    public func read(
        into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64
    ) async throws(StorageError) {
        let outcome = try await admit(part.count)
        defer { finish(outcome) }
        try await base.read(into: &buffer, part, at: offset)
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        let outcome = try await admit(bytes.byteCount)
        defer { finish(outcome) }
        try await base.write(bytes, at: offset, options: options)
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        let outcome = try await admit(vector.byteCount)
        defer { finish(outcome) }
        try await base.readv(vector)
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        let outcome = try await admit(vector.byteCount)
        defer { finish(outcome) }
        try await base.writev(vector, options: options)
    }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        let outcome = try await admit(0)
        defer { finish(outcome) }
        try await base.discard(range)
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        do throws(StorageError) {
            let outcome = try await admit(0)
            defer { finish(outcome) }
            return try await base.writeZeroes(range, options: member.isThrottled ? options.union(.fastOnly) : options)
        } catch {
            guard error.code == .notSupported, !options.contains(.fastOnly) else { throw error }
        }
        // They are bytes that are written.
        let outcome = try await admit(range.count)
        defer { finish(outcome) }
        try await base.writeZeroes(range, options: options)
    }

    public func flush() async throws(StorageError) { try await base.flush() }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }

    /// Lets go what waits, and holds up nothing any more: before the volume is closed, or whoever waits for its requests
    /// to end would wait for its limits.
    public func release() {
        let last = group.leave(member) { released in drain.withLock { $0.count = released } }
        guard let last else { return }
        drain.withLock { $0.last = last }
        meter?.publish { last }
        meter?.unpublish()
    }

    /// Releases what waits, and closes the volume below when that has ended.
    public func close() async throws(StorageError) {
        release()
        await released()
        try await base.close()
    }

    @inline(__always)
    private func admit(_ byteCount: Int) async throws(StorageError) -> ThrottleWaiters.Outcome {
        let cost = group.curve.cost(of: UInt64(byteCount))
        member.count(cost)
        guard member.isThrottled else { return .granted(isCounted: false) }
        return try await group.admit(member, cost: cost, byteCount: byteCount)
    }

    @inline(__always)
    private func finish(_ outcome: ThrottleWaiters.Outcome) {
        switch outcome {
        case .granted(isCounted: false), .cancelled, .timedOut: break
        case .granted(isCounted: true): group.finish()
        case .released:
            let waiters = drain.withLock { drain in
                drain.count -= 1
                guard drain.count == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { drain.waiters = [] }
                return drain.waiters
            }
            for waiter in waiters { waiter.resume() }
        }
    }

    /// Waits for the requests that were released.
    private func released() async {
        await withCheckedContinuation { continuation in
            let isDone = drain.withLock { drain in
                if drain.count > 0 { drain.waiters.append(continuation) }
                return drain.count == 0
            }
            if isDone { continuation.resume() }
        }
    }
}
