import IORuntime
import Sluice
import SystemPackage

/// A line on standard error that shows how far a long operation is: on a terminal, and only after a second.
final class ProgressBar: Sendable {
    private struct State {
        var meter = ProgressMeter()
        var isShown = false
    }

    /// How often the line is drawn, whether anything has happened or not.
    private static let interval = Duration.milliseconds(200)
    /// What ends before this time needs no line.
    private static let patience = Duration.seconds(1)
    private static let erase = "\r\u{1B}[K"

    private let start = ContinuousClock.now
    private let state = Locked(State())

    /// Notes what is being done and how much of it is done; `total` where it is known.
    func update(_ phase: String, _ done: UInt64, of total: UInt64?) {
        let elapsed = ContinuousClock.now - start
        state.withLock { $0.meter.update(phase, done, of: total, at: elapsed) }
    }

    /// Draws the line again and again until the task is cancelled, and then erases it.
    func run() async {
        while true {
            await IOExecutor.sleep(for: Self.interval)
            if Task.isCancelled { break }
            draw()
        }
        if state.withLock({ $0.isShown }) { Terminal.write(Self.erase, to: .standardError) }
    }

    private func draw() {
        let elapsed = ContinuousClock.now - start
        // The last column stays free: some terminals wrap when it is written.
        let width = (TerminalSize.columns(of: .standardError) ?? 80) - 1
        let line = state.withLock { state -> String? in
            state.meter.sample(at: elapsed)
            guard elapsed >= Self.patience, let line = state.meter.line(width: width) else { return nil }
            state.isShown = true
            return line
        }
        if let line { Terminal.write(Self.erase + line, to: .standardError) }
    }
}

extension CommandContext {
    /// Waits for an operation, with a progress bar where a person is watching. `title` says what the copying is for.
    func watch<Value>(_ operation: StorageOperation<Value>, _ title: String = "copying") async throws -> Value {
        guard Terminal.isErrorTerminal, !isJSON else { return try await operation.value }
        let bar = ProgressBar()
        let drawing = Task { await bar.run() }
        for await progress in operation.progress {
            let phase = progress.phase == .copying ? title : progress.phase.rawValue
            bar.update(phase, progress.bytesDone, of: progress.bytesTotal)
        }
        drawing.cancel()
        await drawing.value
        return try await operation.value
    }
}
