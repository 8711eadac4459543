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
/// Without a backend nothing is measured, and a request costs one call more.
public final class MeteredVolume: Volume {
    private let base: any Volume
    private let meters: Meters?

    private struct Meters {
        let depth: Meter
        let reads: OperationMeter
        let writes: OperationMeter
        let flushes: OperationMeter
        let discards: OperationMeter
        let zeroes: OperationMeter
        let cache: CacheMeter?

        var operations: [OperationMeter] { [reads, writes, flushes, discards, zeroes] }
    }

    /// Meters `base` under the name `volume`. `metrics` is where the numbers are published; nil for the factory of the
    /// process.
    public init(_ base: any Volume, volume: String, metrics: (any MetricsFactory)? = nil) {
        self.base = base
        let factory = metrics ?? MetricsSystem.factory
        guard !(factory is NOOPMetricsHandler) else {
            meters = nil
            return
        }
        let depth = Meter(label: "sluice_volume_queue_depth", dimensions: [("volume", volume)], factory: factory)
        meters = Meters(
            depth: depth, reads: OperationMeter("read", of: volume, depth: depth, factory),
            writes: OperationMeter("write", of: volume, depth: depth, factory),
            flushes: OperationMeter("flush", of: volume, movesBytes: false, depth: depth, factory),
            discards: OperationMeter("discard", of: volume, depth: depth, factory),
            zeroes: OperationMeter("zero", of: volume, depth: depth, factory),
            cache: (base as? any CachingVolume).map { CacheMeter($0, volume: volume, factory) })
    }

    /// Publishes what is not published with each request: the lookups in caches. Call it before metrics are collected.
    public func publish() { meters?.cache?.publish() }

    public var geometry: VolumeGeometry { base.geometry }
    public var stack: String { "metered(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        guard let meter = meters?.reads else { return try await base.read(into: &buffer, at: offset) }
        let start = meter.begin()
        do {
            try await base.read(into: &buffer, at: offset)
            meter.end(buffer.byteCount, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        guard let meter = meters?.writes else { return try await base.write(bytes, at: offset, options: options) }
        let start = meter.begin()
        do {
            try await base.write(bytes, at: offset, options: options)
            meter.end(bytes.byteCount, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        guard let meter = meters?.reads else { return try await base.readv(vector) }
        let start = meter.begin()
        do {
            try await base.readv(vector)
            meter.end(vector.byteCount, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        guard let meter = meters?.writes else { return try await base.writev(vector, options: options) }
        let start = meter.begin()
        do {
            try await base.writev(vector, options: options)
            meter.end(vector.byteCount, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func flush() async throws(StorageError) {
        guard let meter = meters?.flushes else { return try await base.flush() }
        let start = meter.begin()
        do {
            try await base.flush()
            meter.end(0, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        guard let meter = meters?.discards else { return try await base.discard(range) }
        let start = meter.begin()
        do {
            try await base.discard(range)
            meter.end(range.count, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        guard let meter = meters?.zeroes else { return try await base.writeZeroes(range, options: options) }
        let start = meter.begin()
        do {
            try await base.writeZeroes(range, options: options)
            meter.end(range.count, since: start)
        } catch {
            throw meter.end(error, since: start)
        }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }

    /// Closes the base and takes the volume's metrics out of the backend.
    public func close() async throws(StorageError) {
        try await base.close()
        guard let meters else { return }
        meters.cache?.unpublish()
        for meter in meters.operations { meter.unpublish() }
        meters.depth.destroy()
    }
}
