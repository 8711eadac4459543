/// How a volume is copied.
public struct CopyOptions: Sendable {
    /// The most that one request reads or writes, in bytes.
    public var requestSize = 256 << 10
    /// How many requests run at once. Memory in use is at most this many times `requestSize`, twice that to
    /// verify, and twice that again on volumes with a deadline, which work on memory of their own.
    public var requestsInFlight = 4
    /// Says that all of the destination reads as zeros already, so that no zeros need to be written.
    public var destinationReadsZero = false
    /// Reads both volumes again after the copy and compares them.
    public var verifies = false
    /// Called now and then, and when all is done; never twice at once.
    public var progress: (@Sendable (CopyProgress) -> Void)?

    public init(
        destinationReadsZero: Bool = false, verifies: Bool = false,
        progress: (@Sendable (CopyProgress) -> Void)? = nil
    ) {
        self.destinationReadsZero = destinationReadsZero
        self.verifies = verifies
        self.progress = progress
    }
}

/// How far a copy is.
public struct CopyProgress: Equatable, Sendable {
    public enum Phase: String, Sendable { case copying, verifying }

    public var phase: Phase
    /// Bytes of the source that are dealt with in this phase, holes included.
    public var bytesDone: UInt64
    /// The size of the source, in bytes.
    public var bytesTotal: UInt64
    /// The rate of the last few seconds.
    public var bytesPerSecond: Double

    public init(phase: Phase, bytesDone: UInt64, bytesTotal: UInt64, bytesPerSecond: Double) {
        self.phase = phase
        self.bytesDone = bytesDone
        self.bytesTotal = bytesTotal
        self.bytesPerSecond = bytesPerSecond
    }
}

/// What a copy did.
public struct CopySummary: Equatable, Sendable {
    /// The size of the source, in bytes.
    public var bytesTotal: UInt64
    /// Written as data; the rest were zeros.
    public var bytesWritten: UInt64
    public var elapsed: Duration

    public init(bytesTotal: UInt64, bytesWritten: UInt64, elapsed: Duration) {
        self.bytesTotal = bytesTotal
        self.bytesWritten = bytesWritten
        self.elapsed = elapsed
    }
}

/// Says when it is time to report progress, and how fast things go.
package struct ProgressMeter: Sendable {
    private let phase: CopyProgress.Phase
    private let total: UInt64
    private var done: UInt64 = 0
    private var lastReport: ContinuousClock.Instant
    /// Where the copy was at the last reports, oldest first: the rate is taken over all of them.
    private var samples: [(time: ContinuousClock.Instant, done: UInt64)]

    static let interval = Duration.milliseconds(100)
    private static let sampleCount = 30

    package init(_ phase: CopyProgress.Phase, total: UInt64, start: ContinuousClock.Instant) {
        (self.phase, self.total, lastReport, samples) = (phase, total, start, [(start, 0)])
    }

    /// Notes that `done` bytes are done. The result is what to report, nil while the last report is younger than `interval`.
    package mutating func reach(_ done: UInt64, at now: ContinuousClock.Instant) -> CopyProgress? {
        self.done = done
        guard now - lastReport >= Self.interval || done == total else { return nil }
        lastReport = now
        let oldest = samples[0]
        samples.append((now, done))
        if samples.count > Self.sampleCount { samples.removeFirst() }
        let seconds = (now - oldest.time) / .seconds(1)
        let rate = seconds > 0 ? Double(done - oldest.done) / seconds : 0
        return CopyProgress(phase: phase, bytesDone: done, bytesTotal: total, bytesPerSecond: rate)
    }
}
