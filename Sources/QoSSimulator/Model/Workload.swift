/// Requests that a volume gets.
public struct Workload: Sendable {
    public enum Source: Sendable {
        /// `depth` requests are under way all the time; each is followed by another after the time to think, at random
        /// with that mean.
        case closed(depth: Int, think: UInt64)
        /// Requests come at a rate, whatever becomes of them.
        case open(Rate)
        /// Requests come when a trace says.
        case trace(TraceSource)
    }

    /// How often requests come.
    public struct Rate: Sendable, Equatable {
        /// In thousandths of a request a second.
        public var milliIOPS: UInt64
        /// At random, independent of each other, instead of at equal distances.
        public var isPoisson = true
        /// How much the rate goes up and down in a period, in percent of the mean.
        public var swingPercent: UInt64 = 0
        public var period: UInt64 = 86_400_000_000_000
        /// When in the period the rate is highest.
        public var peak: UInt64 = 0

        /// A Poisson process with this mean.
        public init(iops: UInt64) { milliIOPS = iops * 1000 }
    }

    /// A size of requests and how many of a hundred thousand have it.
    public struct SizeShare: Sendable, Equatable {
        public var byteCount: UInt64
        public var share: UInt64

        /// A part of all requests.
        public init(byteCount: UInt64, share: UInt64 = 100_000) { (self.byteCount, self.share) = (byteCount, share) }
    }

    public var source: Source
    public var sizes = [SizeShare(byteCount: 4096)]
    /// How many of a hundred requests read.
    public var readPercent: UInt64 = 100
    public var start: UInt64 = 0
    /// The volume starts at a random time within this after `start`.
    public var spread: UInt64 = 0
    public var stop: UInt64 = .max
    /// Of each `cycle`, the workload is active for the first `active`; nil for always.
    public var activity: Activity?
    /// The workload ends after this many requests, in each cycle; nil for never.
    public var limit: UInt64?

    public struct Activity: Sendable, Equatable {
        public var active: UInt64
        public var cycle: UInt64

        /// `active` is at most `cycle`.
        public init(active: UInt64, cycle: UInt64) { (self.active, self.cycle) = (active, cycle) }
    }

    /// Reads of 4 KiB for the whole time.
    public init(_ source: Source) { self.source = source }
}

/// A trace to replay.
public struct TraceSource: Sendable, Equatable {
    public var path: String
    public var format: TraceFormat
    /// Only the requests of this volume of the trace; nil for all.
    public var volume: String?
    /// How many times as fast as it was recorded, in percent.
    public var speedPercent: UInt64 = 100
    /// The length of the trace's unit of time in nanoseconds, where the format leaves it open.
    public var timeUnit: UInt64 = 1

    /// All requests, as fast as they were recorded.
    public init(path: String, format: TraceFormat) { (self.path, self.format) = (path, format) }
}
