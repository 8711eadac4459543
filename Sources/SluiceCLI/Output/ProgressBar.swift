import IORuntime
import Sluice
import SystemPackage

/// A line on standard error that shows how far a long operation is: on a terminal, and only after a second.
final class ProgressBar: Sendable {
    private struct State {
        var isShown = false
        var phase = ""
        var phaseStart = ContinuousClock.now
        var lastUpdate = ContinuousClock.now
    }

    private let start = ContinuousClock.now
    private let state = Locked(State())

    /// Shows what is being done and how much of it is done; `total` where it is known.
    func show(_ phase: String, _ done: UInt64, of total: UInt64?) {
        let now = ContinuousClock.now
        let elapsed: Duration? = state.withLock { state in
            if state.phase != phase { (state.phase, state.phaseStart) = (phase, now) }
            guard now - start >= .seconds(1), now - state.lastUpdate >= .milliseconds(100) else { return nil }
            state.isShown = true
            state.lastUpdate = now
            return now - state.phaseStart
        }
        guard let elapsed else { return }
        Terminal.write("\r\u{1B}[K" + Self.text(phase, done, total, elapsed), to: .standardError)
    }

    /// Removes the line, if there is one.
    func clear() {
        if state.withLock({ $0.isShown }) { Terminal.write("\r\u{1B}[K", to: .standardError) }
    }

    static func text(_ phase: String, _ done: UInt64, _ total: UInt64?, _ elapsed: Duration) -> String {
        let rate = Double(done) / max(elapsed / .seconds(1), 0.001)
        let speed = "\(ByteCount(UInt64(min(rate, 1e15))).text)/s"
        guard let total, total > 0 else { return "\(phase) \(ByteCount(done).text), \(speed)" }
        let share = min(1, Double(done) / Double(total))
        let filled = Int(share * 20)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 20 - filled)
        let left = rate >= 1 ? ", \(Times.text(.seconds(Double(total - min(done, total)) / rate))) left" : ""
        return "\(phase) [\(bar)] \(Int(share * 100)) % of \(ByteCount(total).text), \(speed)\(left)"
    }
}

extension CommandContext {
    /// Waits for an operation, with a progress bar where a person is watching. `title` says what the copying is for.
    func watch<Value>(_ operation: StorageOperation<Value>, _ title: String = "copying") async throws -> Value {
        if Terminal.isErrorTerminal, !isJSON {
            let bar = ProgressBar()
            defer { bar.clear() }
            for await progress in operation.progress {
                let phase = progress.phase == .copying ? title : progress.phase.rawValue
                bar.show(phase, progress.bytesDone, of: progress.bytesTotal)
            }
        }
        return try await operation.value
    }
}
