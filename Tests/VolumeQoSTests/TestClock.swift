import IORuntime
import VolumeQoS

/// A clock that stands until it is told to go on.
final class TestClock: ThrottleClock {
    private struct State {
        var now: UInt64 = 1_000_000_000
        var sleepers: [(id: Int, time: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
        var cancelled: Set<Int> = []
        var nextID = 0
        /// Who waits for there to be sleepers.
        var watchers: [(time: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Locked(State())

    func now() -> UInt64 { state.withLock { $0.now } }

    func sleep(until time: UInt64) async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (isOver, watchers) = state.withLock { state in
                    if time <= state.now || state.cancelled.remove(id) != nil {
                        return (true, [CheckedContinuation<Void, Never>]())
                    }
                    state.sleepers.append((id, time, continuation))
                    let watchers = state.watchers.filter { time <= $0.time }.map(\.continuation)
                    state.watchers.removeAll { time <= $0.time }
                    return (false, watchers)
                }
                if isOver { continuation.resume() }
                for watcher in watchers { watcher.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                guard let index = state.sleepers.firstIndex(where: { $0.id == id }) else {
                    state.cancelled.insert(id)
                    return CheckedContinuation<Void, Never>?.none
                }
                return state.sleepers.remove(at: index).continuation
            }
            sleeper?.resume()
        }
    }

    /// Waits until somebody sleeps until `time` or earlier.
    func waitForSleeper(until time: UInt64) async {
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.sleepers.contains(where: { $0.time <= time }) { return true }
                state.watchers.append((time, continuation))
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    /// Lets time pass, and wakes whose time has come.
    func advance(by nanoseconds: UInt64) {
        let woken = state.withLock { state in
            state.now += nanoseconds
            let now = state.now
            let woken = state.sleepers.filter { $0.time <= now }.map(\.continuation)
            state.sleepers.removeAll { $0.time <= now }
            return woken
        }
        for continuation in woken { continuation.resume() }
    }
}
