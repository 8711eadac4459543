import IORuntime

/// Keeps requests apart whose ranges touch: an exclusive one runs alone on its range, shared ones run together.
///
/// First come, first served: a request also waits for earlier waiters that it would have to wait for, so a stream of
/// shared requests cannot starve an exclusive one.
final class RangeLock: Sendable {
    enum Mode { case shared, exclusive }

    struct Hold: Sendable {
        fileprivate let id: UInt64
        fileprivate let range: Range<UInt64>
        fileprivate let mode: Mode

        fileprivate func excludes(_ other: Hold) -> Bool {
            (mode == .exclusive || other.mode == .exclusive) && range.overlaps(other.range)
        }
    }

    private struct State {
        var active: [Hold] = []
        var waiting: [(hold: Hold, continuation: CheckedContinuation<Void, Never>)] = []
        var lastID: UInt64 = 0

        mutating func request(_ range: Range<UInt64>, _ mode: Mode) -> (hold: Hold, isGranted: Bool) {
            lastID &+= 1
            let hold = Hold(id: lastID, range: range, mode: mode)
            guard !isBlocked(hold, behind: waiting.count) else { return (hold, false) }
            active.append(hold)
            return (hold, true)
        }

        func isBlocked(_ hold: Hold, behind count: Int) -> Bool {
            active.contains { $0.excludes(hold) } || waiting.prefix(count).contains { $0.hold.excludes(hold) }
        }

        /// Moves every waiter that need not wait any longer to the active ones.
        mutating func admit() -> [CheckedContinuation<Void, Never>] {
            var admitted: [CheckedContinuation<Void, Never>] = []
            var index = 0
            while index < waiting.count {
                if isBlocked(waiting[index].hold, behind: index) {
                    index += 1
                } else {
                    let (hold, continuation) = waiting.remove(at: index)
                    active.append(hold)
                    admitted.append(continuation)
                }
            }
            return admitted
        }
    }

    private let state = Locked(State())

    /// Waits until `range` is free for `mode`; pass the result to `release`.
    func acquire(_ range: Range<UInt64>, _ mode: Mode) async -> Hold {
        let (hold, isGranted) = state.withLock { $0.request(range, mode) }
        if isGranted { return hold }
        await withCheckedContinuation { continuation in
            // What it waited for may have ended in between: `admit` then lets it in at once.
            let admitted = state.withLock { state in
                state.waiting.append((hold, continuation))
                return state.admit()
            }
            for continuation in admitted { continuation.resume() }
        }
        return hold
    }

    func release(_ hold: Hold) {
        let admitted = state.withLock { state in
            if let index = state.active.firstIndex(where: { $0.id == hold.id }) {
                state.active.swapAt(index, state.active.count - 1)
                state.active.removeLast()
            }
            return state.waiting.isEmpty ? [] : state.admit()
        }
        for continuation in admitted { continuation.resume() }
    }
}
