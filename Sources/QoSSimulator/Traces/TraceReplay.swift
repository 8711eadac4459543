import BlockStorage

/// A request of a trace.
struct TraceRecord: Sendable, Equatable {
    /// From the first one, in nanoseconds.
    var time: UInt64
    var byteCount: UInt64
    var isWrite: Bool
}

/// A trace as it is replayed: in the order of time, from 0, at the chosen speed.
///
/// Traces are only nearly in order, since several processors write them: so many requests are looked ahead that this is
/// mended, and what comes still later is replayed at once. Where a trace knows only seconds, its requests are spread over
/// them at random, or all of a second would be one burst.
final class TraceReplay {
    private static let lookAhead = 1024
    /// A second with more requests than this is spread in parts.
    private static let largestLookAhead = 65_536

    private struct Entry {
        var time: UInt64
        /// In the trace, where times are equal.
        var order: UInt64
        var request: TraceParser.Request
    }

    private var parser: TraceParser
    private let source: TraceSource
    private var random: SeededGenerator
    private var entries: [Entry] = []
    private var count: UInt64 = 0
    private var isAtEnd = false
    private var origin: UInt64 = 0
    private var last: UInt64 = 0
    /// The latest time that was read, before it was spread.
    private var latest: UInt64 = 0
    /// The request that `next` returned last.
    private(set) var current: TraceRecord?
    /// Requests that came later in the file than those after them in time, by more than was looked ahead.
    private(set) var late: UInt64 = 0

    /// Opens the trace. Throws `notFound` where there is no such file, or no request of the volume in it, and
    /// `invalidArgument` for a line that is not of its format.
    init(_ source: TraceSource, seed: UInt64, stream: Int) throws(StorageError) {
        self.source = source
        random = SeededGenerator(seed: seed, part: 1 << 41 | UInt64(stream))
        parser = try TraceParser(source)
        try fill()
        guard let first = entries.first else {
            let what = source.volume.map { "no request of volume '\($0)'" } ?? "no request"
            throw StorageError(.notFound, "read trace", at: parser.path, why: "there is \(what) in it")
        }
        origin = first.time
        last = first.time
    }

    /// The next request; nil after the last. Throws `invalidArgument` for a line that is not of the format.
    func next() throws(StorageError) -> TraceRecord? {
        current = nil
        try fill()
        guard let entry = pop() else { return nil }
        if entry.time < last { late += 1 }
        last = max(last, entry.time)
        let time = UInt128(last - origin) * 100 / UInt128(max(1, source.speedPercent))
        current = TraceRecord(
            time: UInt64(clamping: time), byteCount: entry.request.byteCount, isWrite: entry.request.isWrite)
        return current
    }

    private func fill() throws(StorageError) {
        while !isAtEnd, entries.count < Self.lookAhead || (isSpread && needsWholeSecond) {
            guard let request = try parser.next() else {
                isAtEnd = true
                return
            }
            latest = max(latest, request.time)
            let offset = isSpread ? random.below(1_000_000_000) : 0
            push(Entry(time: request.time.saturatingSum(offset), order: count, request: request))
            count += 1
        }
    }

    private var isSpread: Bool { source.format == .tencent }

    /// Whether requests of the first one's second may still follow.
    private var needsWholeSecond: Bool {
        guard let first = entries.first, entries.count < Self.largestLookAhead else { return false }
        return first.time / 1_000_000_000 >= latest / 1_000_000_000
    }

    // MARK: The heap of what was looked ahead

    private func precedes(_ left: Entry, _ right: Entry) -> Bool { (left.time, left.order) < (right.time, right.order) }

    private func push(_ entry: Entry) {
        entries.append(entry)
        var place = entries.count - 1
        while place > 0, precedes(entry, entries[(place - 1) / 2]) {
            entries[place] = entries[(place - 1) / 2]
            place = (place - 1) / 2
        }
        entries[place] = entry
    }

    private func pop() -> Entry? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return last }
        var place = 0
        while place * 2 + 1 < entries.count {
            var child = place * 2 + 1
            if child + 1 < entries.count, precedes(entries[child + 1], entries[child]) { child += 1 }
            guard precedes(entries[child], last) else { break }
            entries[place] = entries[child]
            place = child
        }
        entries[place] = last
        return first
    }
}
