#if Downloads
    import BlockStorage
    import IORuntime

    /// What is remembered of a download from one attempt to the next: whom to trust, and what was sent by whom.
    struct DownloadHistory: Sendable {
        let file: DownloadFile
        /// When all of it must be done.
        let deadline: ContinuousClock.Instant
        var table: LocationTable
        /// What each location says of its file, from its first answer on.
        var versions: [SourceVersion?]
        /// Where each location redirects to.
        var targets: [DownloadLocation?]
        /// Who sent what in the attempt that runs.
        var sent: [Int: SentSegment] = [:]
        /// Who took part in it.
        var contributors: Set<Int> = []
        /// Several locations together sent something that does not add up: from then on one is asked alone.
        private var isUnmixed = false
        /// Who sent what in that attempt.
        private var suspects: [Int: SentSegment] = [:]

        struct SentSegment: Sendable, Equatable {
            var location: Int
            var checksum: Checksum
        }

        init(_ file: DownloadFile, _ limits: DownloadLimits, deadline: ContinuousClock.Instant) {
            self.file = file
            self.deadline = deadline
            table = LocationTable(file.locations.map(\.description), limits)
            versions = Array(repeating: nil, count: file.locations.count)
            targets = Array(repeating: nil, count: file.locations.count)
        }

        mutating func beginAttempt(canMix: Bool) {
            (sent, contributors) = ([:], [])
            if !canMix || isUnmixed { table.only = table.mostTrusted }
        }

        /// The bytes of an attempt add up, or do not. Returns whether another attempt makes sense.
        mutating func finishAttempt(matches: Bool, _ why: String) -> Bool {
            if matches {
                blame()
                return false
            }
            // Where every piece was checked on its own, nobody sends anything else the next time.
            guard file.pieces == nil else { return false }
            if contributors.count > 1 {
                // Any of them may be to blame: the next attempts take one alone, and tell.
                (isUnmixed, suspects) = (true, sent)
            } else if let only = contributors.first {
                table.countChecksumFailure(only, why)
            }
            return table.mostTrusted != nil && ContinuousClock.now < deadline
        }

        /// Notes that a location failed; when no time is left for another attempt, it was its last. `target` is where the location redirected to before, if that was asked.
        mutating func fail(_ index: Int, _ error: StorageError, target: DownloadLocation?) {
            let now = ContinuousClock.now
            // It may be what failed: such addresses are often good for a while only.
            if targets[index] == target { targets[index] = nil }
            let wasRedirected = target != nil
            let isRefused = [.permissionDenied, .authenticationFailed, .notFound].contains(error.code)
            let mayPass = error.mayPass || wasRedirected && isRefused
            table.fail(index, error, at: now, mayPass: mayPass && now < deadline)
        }

        /// Finds, once it is known what is right, who sent something else.
        private mutating func blame() {
            var wrong: [Int: Int] = [:]
            for (segment, suspect) in suspects where sent[segment].map({ $0.checksum != suspect.checksum }) ?? false {
                wrong[suspect.location, default: 0] += 1
            }
            for (location, count) in wrong.sorted(by: { $0.key < $1.key }) {
                table.countChecksumFailure(location, "\(count) of its segments were wrong")
            }
        }

        var report: DownloadReport { DownloadReport(locations: table.entries.map(\.report)) }
    }
#endif
