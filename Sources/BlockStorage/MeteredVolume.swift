import IORuntime
import Metrics

/// Counts and times the requests of a volume for the metrics backend of the process.
///
/// Published with the dimension `volume`, and all but the first and the last with `operation` (`read`, `write`,
/// `flush`, `discard`, `zero`):
///
/// | metric | kind | |
/// | --- | --- | --- |
/// | `sluice_volume_queue_depth` | meter | requests in flight |
/// | `sluice_volume_operation_seconds` | timer | how long each request took, failed ones included |
/// | `sluice_volume_bytes_total` | counter | bytes of those that succeeded |
/// | `sluice_volume_errors_total` | counter | failures, by their `code` |
/// | `sluice_volume_cache_lookups_total` | counter | lookups of metadata, by `result`: `hit` or `miss` |
///
/// To measure a request takes two readings of the clock and four additions; see `isMeasured` for when to do without.
public final class MeteredVolume: Volume {
    private let base: any Volume
    private let depth: Meter
    private let reads: OperationMeter
    private let writes: OperationMeter
    private let flushes: OperationMeter
    private let discards: OperationMeter
    private let zeroes: OperationMeter
    private let cache: CacheMeter?
    private let isPublished = Locked(true)

    /// Meters `base` under the name `volume`. `metrics` is where the numbers are published; nil for the factory of the
    /// process. `caching` is the volume whose lookups are counted, where that is not `base` itself.
    public init(
        _ base: any Volume, volume: String, metrics: (any MetricsFactory)? = nil, caching: (any CachingVolume)? = nil
    ) {
        self.base = base
        let factory = metrics ?? MetricsSystem.factory
        depth = Meter(label: "sluice_volume_queue_depth", dimensions: [("volume", volume)], factory: factory)
        reads = OperationMeter("read", of: volume, depth: depth, factory)
        writes = OperationMeter("write", of: volume, depth: depth, factory)
        flushes = OperationMeter("flush", of: volume, movesBytes: false, depth: depth, factory)
        discards = OperationMeter("discard", of: volume, depth: depth, factory)
        zeroes = OperationMeter("zero", of: volume, depth: depth, factory)
        cache = (caching ?? base as? any CachingVolume).map { CacheMeter($0, volume: volume, factory) }
    }

    /// Whether anyone gets what is published to `metrics`: without a backend a volume is better left bare.
    public static func isMeasured(by metrics: any MetricsFactory) -> Bool { !(metrics is NOOPMetricsHandler) }

    /// Publishes what is not published with each request: the lookups in caches. Call it before metrics are collected.
    public func publish() { cache?.publish() }

    public var geometry: VolumeGeometry { base.geometry }
    public var stack: String { "metered(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let start = reads.begin()
        do {
            try await base.read(into: &buffer, at: offset)
            reads.end(buffer.byteCount, since: start)
        } catch {
            throw reads.end(error, since: start)
        }
    }

    public func read(
        into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64
    ) async throws(StorageError) {
        let start = reads.begin()
        do {
            try await base.read(into: &buffer, part, at: offset)
            reads.end(part.count, since: start)
        } catch {
            throw reads.end(error, since: start)
        }
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        let start = writes.begin()
        do {
            try await base.write(bytes, at: offset, options: options)
            writes.end(bytes.byteCount, since: start)
        } catch {
            throw writes.end(error, since: start)
        }
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        let start = reads.begin()
        do {
            try await base.readv(vector)
            reads.end(vector.byteCount, since: start)
        } catch {
            throw reads.end(error, since: start)
        }
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        let start = writes.begin()
        do {
            try await base.writev(vector, options: options)
            writes.end(vector.byteCount, since: start)
        } catch {
            throw writes.end(error, since: start)
        }
    }

    public func flush() async throws(StorageError) {
        let start = flushes.begin()
        do {
            try await base.flush()
            flushes.end(0, since: start)
        } catch {
            throw flushes.end(error, since: start)
        }
    }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        let start = discards.begin()
        do {
            try await base.discard(range)
            discards.end(range.count, since: start)
        } catch {
            throw discards.end(error, since: start)
        }
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        let start = zeroes.begin()
        do {
            try await base.writeZeroes(range, options: options)
            zeroes.end(range.count, since: start)
        } catch {
            throw zeroes.end(error, since: start)
        }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }

    /// Closes the base and takes the volume's metrics out of the backend.
    public func close() async throws(StorageError) {
        defer { unpublish() }
        try await base.close()
    }

    private func unpublish() {
        // Another volume of that name may share the series: they are given back once.
        let wasPublished = isPublished.withLock { isPublished in
            defer { isPublished = false }
            return isPublished
        }
        guard wasPublished else { return }
        cache?.unpublish()
        for meter in [reads, writes, flushes, discards, zeroes] { meter.unpublish() }
        depth.destroy()
    }
}
