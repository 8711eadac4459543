import IORuntime
import Metrics

/// Counts and times the requests of a volume, for this process (`counts`) and for the metrics backend.
///
/// Published as `sluice_volume_operations_total`, `sluice_volume_bytes_total`, `sluice_volume_errors_total` and
/// `sluice_volume_operation_seconds`, each with the dimensions `volume` and `operation` (`read`, `write`, `flush`,
/// `discard`, `zero`).
public final class MeteredVolume: Volume {
    private let base: any Volume
    private let reads: OperationMeter
    private let writes: OperationMeter
    private let flushes: OperationMeter
    private let discards: OperationMeter
    private let zeroes: OperationMeter

    /// Meters `base` under the name `volume`. `metrics` is where the numbers are published; nil for the factory of the
    /// process.
    public init(_ base: any Volume, volume: String, metrics: (any MetricsFactory)? = nil) {
        self.base = base
        let factory = metrics ?? MetricsSystem.factory
        reads = OperationMeter("read", of: volume, factory)
        writes = OperationMeter("write", of: volume, factory)
        flushes = OperationMeter("flush", of: volume, factory)
        discards = OperationMeter("discard", of: volume, factory)
        zeroes = OperationMeter("zero", of: volume, factory)
    }

    /// What was done so far.
    public var counts: VolumeCounts {
        VolumeCounts(
            reads: reads.counts, writes: writes.counts, flushes: flushes.counts, discards: discards.counts,
            zeroes: zeroes.counts)
    }

    public var geometry: VolumeGeometry { base.geometry }
    public var stack: String { "metered(\(base.stack))" }

    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.read(into: &buffer, at: offset)
            reads.record(buffer.byteCount, since: start)
        } catch {
            throw reads.failed(error, since: start)
        }
    }

    public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.write(bytes, at: offset, options: options)
            writes.record(bytes.byteCount, since: start)
        } catch {
            throw writes.failed(error, since: start)
        }
    }

    public func readv(_ vector: IOVector) async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.readv(vector)
            reads.record(vector.byteCount, since: start)
        } catch {
            throw reads.failed(error, since: start)
        }
    }

    public func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.writev(vector, options: options)
            writes.record(vector.byteCount, since: start)
        } catch {
            throw writes.failed(error, since: start)
        }
    }

    public func flush() async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.flush()
            flushes.record(0, since: start)
        } catch {
            throw flushes.failed(error, since: start)
        }
    }

    public func discard(_ range: Range<UInt64>) async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.discard(range)
            discards.record(range.count, since: start)
        } catch {
            throw discards.failed(error, since: start)
        }
    }

    public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        let start = ContinuousClock.now
        do {
            try await base.writeZeroes(range, options: options)
            zeroes.record(range.count, since: start)
        } catch {
            throw zeroes.failed(error, since: start)
        }
    }

    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await base.extents(in: range)
    }

    /// Closes the base and takes the volume's metrics out of the backend; `counts` stay readable.
    public func close() async throws(StorageError) {
        try await base.close()
        for meter in [reads, writes, flushes, discards, zeroes] { meter.unpublish() }
    }
}

/// How often each kind of request was made of a volume, and with what result.
public struct VolumeCounts: Equatable, Sendable {
    public var reads: OperationCounts
    public var writes: OperationCounts
    public var flushes: OperationCounts
    public var discards: OperationCounts
    public var zeroes: OperationCounts
}

/// The requests of one kind that have ended.
public struct OperationCounts: Equatable, Sendable {
    /// Those that succeeded.
    public var operations: UInt64
    /// Moved by those that succeeded.
    public var bytes: UInt64
    /// Those that failed.
    public var errors: UInt64
    /// The time that all of them took together, in nanoseconds; requests in parallel count each for itself.
    public var nanoseconds: UInt64
}
