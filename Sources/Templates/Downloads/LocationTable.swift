import BlockStorage

/// Who of several locations is asked next, and who is not asked any more: a value without I/O.
///
/// Failures to answer and wrong bytes are counted apart. A location is left after `attempts` failures in a row, after
/// as many times wrong bytes, and at once when its answer cannot change.
struct LocationTable: Sendable {
    struct Entry: Sendable {
        var report: DownloadReport.Location
        /// Since it last did what it should.
        var failuresInARow = 0
        /// How many requests it works on.
        var requests = 0
        /// It is left alone until then.
        var restsUntil: ContinuousClock.Instant?
        /// What it failed with last.
        var failure: StorageError?
    }

    private(set) var entries: [Entry]
    private let attempts: Int
    private let retryDelay: Duration
    private let requestsPerLocation: Int
    private let parallelLocations: Int
    /// The only one to ask, where they must not be mixed.
    var only: Int?

    init(_ names: [String], _ limits: DownloadLimits, requestsPerLocation: Int = 2) {
        entries = names.map { Entry(report: DownloadReport.Location(name: $0)) }
        attempts = max(1, limits.attempts)
        retryDelay = limits.retryDelay
        parallelLocations = max(1, limits.parallelMirrors)
        self.requestsPerLocation = requestsPerLocation
    }

    /// Those that may be asked, best first.
    private var usable: [Int] {
        entries.indices.filter { !entries[$0].report.isLeft && (only ?? $0) == $0 }
    }

    var isExhausted: Bool { usable.isEmpty }

    /// The next to ask, which counts as asked; nil while all are busy or resting. One other than `avoided` if there is
    /// a choice.
    mutating func take(avoiding avoided: Int? = nil, at now: ContinuousClock.Instant) -> Int? {
        let rested = usable.filter { entries[$0].restsUntil.map { $0 <= now } ?? true }
        let free = rested.prefix(parallelLocations).filter { entries[$0].requests < requestsPerLocation }
        // The least busy first, so that all work; the better one among those.
        let best = free.min {
            (entries[$0].requests, $0 == avoided ? 1 : 0, $0) < (entries[$1].requests, $1 == avoided ? 1 : 0, $1)
        }
        guard let best else { return nil }
        // Waits for another one rather than to ask this again at once.
        if best == avoided, rested.contains(where: { $0 != avoided }) { return nil }
        entries[best].requests += 1
        return best
    }

    /// When the next one is rested; nil where none rests.
    func nextRested(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        usable.compactMap { entries[$0].restsUntil }.filter { $0 > now }.min()
    }

    mutating func succeed(_ index: Int, byteCount: Int) {
        entries[index].requests -= 1
        entries[index].failuresInARow = 0
        entries[index].report.bytesReceived += UInt64(byteCount)
    }

    /// Gives back what `take` gave, without an opinion.
    mutating func giveBack(_ index: Int) { entries[index].requests -= 1 }

    /// `mayPass` says whether another attempt makes sense; where it is not given, the error decides.
    mutating func fail(
        _ index: Int, _ error: StorageError, at now: ContinuousClock.Instant, mayPass: Bool? = nil
    ) {
        entries[index].requests -= 1
        // Requests that ran beside the last failure say nothing new.
        if entries[index].report.isLeft { return }
        entries[index].failuresInARow += 1
        entries[index].report.failures += 1
        entries[index].report.reason = error.why.isEmpty ? error.code.rawValue : error.why
        entries[index].failure = error
        if entries[index].failuresInARow >= attempts || !(mayPass ?? error.mayPass) {
            entries[index].report.isLeft = true
        } else {
            entries[index].restsUntil = now + retryDelay * (1 << min(10, entries[index].failuresInARow - 1))
        }
    }

    /// Notes that bytes of this location are wrong.
    mutating func countChecksumFailure(_ index: Int, _ why: String) {
        if entries[index].report.isLeft { return }
        entries[index].report.checksumFailures += 1
        entries[index].report.reason = why
        entries[index].failure = StorageError(.checksumMismatch, "download", at: entries[index].report.name, why: why)
        if entries[index].report.checksumFailures >= attempts { entries[index].report.isLeft = true }
    }

    /// The one to trust next where one has to do alone: the one that sent the fewest wrong bytes.
    var mostTrusted: Int? {
        entries.indices.filter { !entries[$0].report.isLeft }
            .min { (entries[$0].report.checksumFailures, $0) < (entries[$1].report.checksumFailures, $1) }
    }

    /// What to throw when all are left: what became of each, under the code of the best one's failure.
    func summary(_ what: String, at place: String) -> StorageError {
        let failed = entries.filter { $0.failure != nil }
        let code = failed.first?.failure?.code ?? .connectionLost
        let reasons = failed.map { entry in
            let times = entry.report.failures + entry.report.checksumFailures
            let attempts = times > 1 ? " (\(times) attempts)" : ""
            return "\(entry.report.name): \(entry.report.reason ?? "")\(attempts)"
        }
        guard reasons.count > 1 else {
            let times = failed.first.map { $0.report.failures + $0.report.checksumFailures } ?? 0
            let why = failed.first?.report.reason ?? "no location is left"
            return StorageError(
                code, what, at: failed.first?.report.name ?? place,
                why: times > 1 ? "\(why) (\(times) attempts)" : why)
        }
        return StorageError(code, what, at: place, why: "no location is left: " + reasons.joined(separator: "; "))
    }
}

extension StorageError {
    /// Whether the same request to the same server is worth another attempt.
    var mayPass: Bool {
        switch code {
        case .timedOut, .connectionLost, .busy, .inputOutput: true
        default: false
        }
    }
}
