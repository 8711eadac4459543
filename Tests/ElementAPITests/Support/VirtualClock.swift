import IORuntime

/// A clock whose time passes when somebody waits for it, at once.
final class VirtualClock: Clock {
    struct Instant: InstantProtocol {
        var offset: Duration

        func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - offset }
        static func < (left: Instant, right: Instant) -> Bool { left.offset < right.offset }
    }

    private struct State {
        var time = Instant(offset: .zero)
        var pauses: [Duration] = []
        var onPause: (@Sendable () -> Void)?
    }

    private let state = Locked(State())

    var now: Instant { state.withLock { $0.time } }
    var minimumResolution: Duration { .nanoseconds(1) }

    /// How long it was waited, each time.
    var pauses: [Duration] { state.withLock { $0.pauses } }
    var elapsed: Duration { now.offset }

    /// Called whenever somebody waits.
    func onPause(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onPause = body } }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let hook = state.withLock { state in
            state.pauses.append(state.time.duration(to: deadline))
            state.time = max(state.time, deadline)
            return state.onPause
        }
        hook?()
        try Task.checkCancellation()
    }
}
