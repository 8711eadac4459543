import Sluice

/// What is known of the speed of an operation, as a line of text: how much is done, how fast, and how long it still takes.
///
/// A value without a clock: whoever uses it says what time it is.
struct ProgressMeter {
    /// Over which time the speed is measured: long enough to be steady, short enough to show a change.
    private static let window = Duration.seconds(5)
    private static let barWidth = 20

    private var phase = ""
    private var done: UInt64 = 0
    private var total: UInt64?
    /// What was done at which time in this phase, oldest first.
    private var samples: [(time: Duration, done: UInt64)] = []

    /// Notes how far the operation is at `time`. A phase that is new begins at 0.
    mutating func update(_ phase: String, _ done: UInt64, of total: UInt64?, at time: Duration) {
        if phase != self.phase || done < self.done { samples = [] }
        (self.phase, self.done, self.total) = (phase, done, total)
        sample(at: time)
    }

    /// Notes that time has passed.
    mutating func sample(at time: Duration) {
        if let last = samples.last, time - last.time < .milliseconds(100), samples.count > 1 {
            samples[samples.count - 1] = (time, done)
        } else {
            samples.append((time, done))
        }
        // The first one outside stays, as the beginning of the window.
        while samples.count > 2, time - samples[1].time >= Self.window { samples.removeFirst() }
    }

    /// Bytes a second; nil while it is too early to tell.
    var rate: Double? {
        guard let first = samples.first, let last = samples.last, last.time - first.time >= .milliseconds(200) else {
            return nil
        }
        return Double(last.done - first.done) / ((last.time - first.time) / .seconds(1))
    }

    /// The line, of at most `width` columns; nil before anything is known.
    func line(width: Int) -> String? {
        guard !phase.isEmpty else { return nil }
        let speed = rate.map { ", \(ByteCount(UInt64(min($0, 1e15))).text)/s" } ?? ""
        var parts: [String]
        if let total, total > 0 {
            let share = min(1, Double(done) / Double(total))
            let filled = Int(share * Double(Self.barWidth))
            let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: Self.barWidth - filled)
            parts = ["\(phase) \(Int(share * 100)) %", " of \(ByteCount(total).text)", speed, timeLeft(of: total)]
            if (parts + [" [\(bar)]"]).reduce(0, { $0 + $1.count }) <= width {
                parts[0] = "\(phase) [\(bar)] \(Int(share * 100)) %"
            }
        } else {
            parts = ["\(phase) \(ByteCount(done).text)", speed]
        }
        // What does not fit is left out, the last first: a line that wraps cannot be erased.
        while parts.count > 1, parts.reduce(0, { $0 + $1.count }) > width { parts.removeLast() }
        return String(parts.joined().prefix(max(width, 0)))
    }

    private func timeLeft(of total: UInt64) -> String {
        guard let rate, done < total else { return "" }
        let seconds = Double(total - done) / rate
        // A month or more is no estimate.
        guard seconds < 30 * 86_400 else { return ", stalled" }
        return ", \(Times.text(.seconds(seconds.rounded(.up)))) left"
    }
}
