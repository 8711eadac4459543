#if ISCSI
    /// How often one call was tried, and how long it has taken.
    struct ElementAttempts {
        private let clock: any Clock<Duration>
        private let stopwatch: Stopwatch
        private let limit: Duration
        private var left: Int
        private var delay: Duration

        init(_ options: ElementOptions, on clock: any Clock<Duration>, within limit: Duration) {
            self.clock = clock
            stopwatch = clock.startStopwatch()
            self.limit = limit
            left = options.tries
            delay = options.retryDelay
        }

        /// Of the time that the call may take.
        var remaining: Duration { max(.zero, limit - stopwatch.elapsed) }

        /// Waits before the next try; false when there is none, because the tries or the time are used up or the task is
        /// cancelled.
        mutating func pause() async -> Bool {
            left -= 1
            guard left > 0, delay < remaining else { return false }
            do {
                try await clock.sleep(for: delay)
            } catch {
                return false
            }
            delay *= 2
            return true
        }
    }
#endif
