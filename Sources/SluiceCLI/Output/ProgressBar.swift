import BlockStorage
import Foundation
import IORuntime
import SystemPackage

/// A line on standard error that shows how far a long operation is: on a terminal, and only after a second.
final class ProgressBar: Sendable {
    private let title: String
    private let start = ContinuousClock.now
    private let isShown = Locked(false)

    init(_ title: String) { self.title = title }

    func show(_ progress: CopyProgress) {
        guard ContinuousClock.now - start >= .seconds(1) else { return }
        isShown.withLock { $0 = true }
        Terminal.write("\r\u{1B}[K" + text(progress, width: 20), to: .standardError)
    }

    /// Removes the line, if there is one.
    func clear() {
        if isShown.withLock({ $0 }) { Terminal.write("\r\u{1B}[K", to: .standardError) }
    }

    private func text(_ progress: CopyProgress, width: Int) -> String {
        let share = progress.bytesTotal == 0 ? 1 : Double(progress.bytesDone) / Double(progress.bytesTotal)
        let filled = min(width, Int(share * Double(width)))
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        let rate = UInt64(max(0, min(progress.bytesPerSecond, 1e15)))
        let left = progress.bytesTotal - min(progress.bytesDone, progress.bytesTotal)
        let time = rate == 0 ? "" : ", \(Times.text(.seconds(Double(left) / Double(rate)))) left"
        let verb = progress.phase == .verifying ? "verifying" : title
        return
            "\(verb) [\(bar)] \(Int(share * 100)) % of \(ByteCount(progress.bytesTotal).text), \(ByteCount(rate).text)/s\(time)"
    }
}

extension CommandContext {
    /// Runs a long operation with a progress bar, where a person is watching.
    func withProgress<Result>(
        _ title: String, _ body: (ProgressHandler?) async throws -> Result
    ) async throws -> Result {
        guard Terminal.isErrorTerminal, !isJSON else { return try await body(nil) }
        let bar = ProgressBar(title)
        defer { bar.clear() }
        return try await body { bar.show($0) }
    }
}

/// Called now and then with how far an operation is.
typealias ProgressHandler = @Sendable (CopyProgress) -> Void
