/// Decides when a server is too slow or silent: a value, asked with the time.
struct RateGuard: Sendable {
    enum Verdict: Equatable, Sendable {
        case good
        /// Nothing came for this long.
        case silent(Duration)
        /// The bytes that came in the last window.
        case slow(UInt64, over: Duration)
    }

    private let lowestRate: UInt64
    private let window: Duration
    private let idleTime: Duration
    private var windowStart: ContinuousClock.Instant
    private var windowBytes: UInt64 = 0
    private var lastBytes: ContinuousClock.Instant
    private var pausedAt: ContinuousClock.Instant?

    init(_ limits: DownloadLimits, at now: ContinuousClock.Instant) {
        lowestRate = limits.lowestRate
        window = limits.rateWindow
        idleTime = limits.idleTime
        (windowStart, lastBytes) = (now, now)
    }

    mutating func receive(_ byteCount: Int, at now: ContinuousClock.Instant) {
        windowBytes += UInt64(byteCount)
        lastBytes = now
    }

    /// It is this host that is busy: time stands still until `resume`.
    mutating func pause(at now: ContinuousClock.Instant) { pausedAt = pausedAt ?? now }

    mutating func resume(at now: ContinuousClock.Instant) {
        guard let pausedAt else { return }
        windowStart += now - pausedAt
        lastBytes += now - pausedAt
        self.pausedAt = nil
    }

    /// What to think of the server. Ask several times in a window.
    mutating func check(at now: ContinuousClock.Instant) -> Verdict {
        if pausedAt != nil { return .good }
        if now - lastBytes >= idleTime { return .silent(idleTime) }
        let elapsed = now - windowStart
        guard elapsed >= window else { return .good }
        let bytes = windowBytes
        (windowStart, windowBytes) = (now, 0)
        return Double(bytes) < Double(lowestRate) * (elapsed / .seconds(1)) ? .slow(bytes, over: elapsed) : .good
    }

    /// How often `check` is to be called.
    var interval: Duration { max(.milliseconds(10), min(.seconds(1), min(window, idleTime) / 4)) }
}
