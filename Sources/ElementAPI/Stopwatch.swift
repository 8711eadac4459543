#if ISCSI
    /// The time since it was started, on whatever clock.
    struct Stopwatch: Sendable {
        private let measure: @Sendable () -> Duration

        fileprivate init(_ measure: @escaping @Sendable () -> Duration) { self.measure = measure }

        var elapsed: Duration { measure() }
    }

    extension Clock where Duration == Swift.Duration {
        func startStopwatch() -> Stopwatch {
            let start = now
            return Stopwatch { start.duration(to: now) }
        }
    }
#endif
