import IORuntime
import Metrics

/// A volume that keeps a part of its metadata in memory.
public protocol CachingVolume: Volume {
    /// Since the volume was opened.
    var cacheLookups: CacheLookups { get }
}

/// How often metadata was found in memory, and how often it had to be read first.
public struct CacheLookups: Equatable, Sendable {
    public var hits: UInt64
    public var misses: UInt64

    public init(hits: UInt64 = 0, misses: UInt64 = 0) {
        self.hits = hits
        self.misses = misses
    }

    public static func + (one: CacheLookups, other: CacheLookups) -> CacheLookups {
        CacheLookups(
            hits: one.hits.addingSaturating(other.hits), misses: one.misses.addingSaturating(other.misses))
    }
}

/// Publishes the lookups of a volume as they have grown since the last time.
final class CacheMeter: Sendable {
    private let volume: any CachingVolume
    private let hits: Counter
    private let misses: Counter
    private let published = Locked(CacheLookups())

    init(_ volume: any CachingVolume, volume name: String, _ factory: any MetricsFactory) {
        self.volume = volume
        func counter(_ result: String) -> Counter {
            Counter(
                label: "sluice_volume_cache_lookups_total", dimensions: [("volume", name), ("result", result)],
                factory: factory)
        }
        (hits, misses) = (counter("hit"), counter("miss"))
    }

    func publish() {
        published.withLock { published in
            let now = volume.cacheLookups
            hits.increment(by: Int64(clamping: now.hits - min(now.hits, published.hits)))
            misses.increment(by: Int64(clamping: now.misses - min(now.misses, published.misses)))
            published = now
        }
    }

    func unpublish() {
        hits.destroy()
        misses.destroy()
    }
}
