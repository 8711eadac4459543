import BlockStorage
import Testing

@testable import Templates

@Suite struct DownloadPlanTests {
    private let start = ContinuousClock.now
    private let lost = StorageError(.connectionLost, "download", why: "cut")

    private func table(_ count: Int, attempts: Int = 3, parallel: Int = 4) -> LocationTable {
        var limits = DownloadLimits()
        limits.attempts = attempts
        limits.parallelMirrors = parallel
        return LocationTable((0..<count).map { "l\($0)" }, limits, requestsPerLocation: 2)
    }

    @Test("work is spread over the best locations, and over no more of them than allowed")
    func spreads() {
        var table = table(3, parallel: 2)
        #expect((0..<5).map { _ in table.take(at: start) } == [0, 1, 0, 1, nil])
        table.succeed(1, byteCount: 10)
        #expect(table.take(at: start) == 1)
        #expect(table.entries[1].report.bytesReceived == 10)
    }

    @Test("a location that fails rests, the longer the more often, and is left after three failures in a row")
    func leaves() {
        var table = table(1)
        var now = start
        for attempt in 0..<3 {
            #expect(table.take(at: now) == 0)
            table.fail(0, lost, at: now)
            #expect(table.isExhausted == (attempt == 2))
            if attempt < 2 {
                #expect(table.take(at: now) == nil)
                #expect(table.nextRested(after: now) == now + .milliseconds(500) * (1 << attempt))
                now += .seconds(2)
            }
        }
        #expect(table.summary("download", at: "x").why == "cut (3 attempts)")
        #expect(table.summary("download", at: "x").code == .connectionLost)
    }

    @Test("success forgives failures, wrong bytes are counted apart, and some answers are final")
    func counts() {
        var table = table(3)
        var now = start
        for _ in 0..<10 {
            #expect(table.take(avoiding: nil, at: now) != nil)
            table.fail(0, lost, at: now)
            now += .seconds(10)
            _ = table.take(at: now)
            table.succeed(0, byteCount: 1)
        }
        #expect(!table.entries[0].report.isLeft && table.entries[0].report.failures == 10)
        for _ in 0..<3 { table.countChecksumFailure(0, "wrong") }
        #expect(table.entries[0].report.isLeft && table.entries[0].report.checksumFailures == 3)
        _ = table.take(at: now)
        table.fail(1, StorageError(.notFound, "download", why: "404"), at: now)
        #expect(table.entries[1].report.isLeft)
        #expect(!table.isExhausted && table.mostTrusted == 2)
    }

    @Test("the location that just failed is avoided while there is another")
    func avoids() {
        var table = table(2)
        #expect(table.take(avoiding: 0, at: start) == 1)
        #expect(table.take(avoiding: 1, at: start) == 0)
        var alone = self.table(1)
        #expect(alone.take(avoiding: 0, at: start) == 0)
    }

    @Test("when all are left, the error says what became of each")
    func summarises() {
        var table = table(2, attempts: 1)
        _ = table.take(at: start)
        table.fail(0, lost, at: start)
        table.countChecksumFailure(1, "wrong bytes")
        let error = table.summary("download", at: "disk.raw")
        #expect(error.why == "no location is left: l0: cut; l1: wrong bytes")
    }

    @Test("a random course of events never asks a location that is left, and ends", arguments: 0..<50)
    func survives(seed: UInt64) {
        var randomness = SeededGenerator(seed: seed)
        var table = table(Int.random(in: 1...6, using: &randomness))
        var now = start
        var running: [Int] = []
        for _ in 0..<2000 where !table.isExhausted {
            now += .milliseconds(Int.random(in: 0...300, using: &randomness))
            if let index = table.take(avoiding: running.last, at: now) {
                #expect(!table.entries[index].report.isLeft && table.entries[index].requests <= 2)
                running.append(index)
            }
            guard let index = running.popLast() else { continue }
            switch Int.random(in: 0..<4, using: &randomness) {
            case 0: table.succeed(index, byteCount: 1)
            case 1: table.fail(index, lost, at: now)
            case 2:
                table.giveBack(index)
                table.countChecksumFailure(index, "wrong")
            default: running.insert(index, at: 0)
            }
            #expect(table.entries.allSatisfy { $0.requests >= 0 })
        }
        #expect(table.isExhausted)
    }

    @Test("segments cover a file once, with every piece in one of them", arguments: 0..<50)
    func plans(seed: UInt64) throws {
        var randomness = SeededGenerator(seed: seed)
        let size = UInt64.random(in: 1...50_000_000, using: &randomness)
        let length = UInt64.random(in: 1...8_000_000, using: &randomness)
        let count = Int((size + length - 1) / length)
        guard count < 10_000 else { return }
        let sums = try (0..<count).map { try Checksum("md5:" + String(repeating: "0", count: 24) + Self.hex($0)) }
        let plan = try SegmentPlan(size: size, pieces: .init(length: length, checksums: sums))
        var end: UInt64 = 0
        var found: [Checksum] = []
        for segment in 0..<plan.count {
            let range = plan.range(of: segment)
            #expect(range.lowerBound == end && !range.isEmpty)
            var inside = 0
            for piece in plan.pieces(of: segment) {
                #expect(piece.range.lowerBound == inside)
                inside = piece.range.upperBound
                found.append(piece.checksum)
            }
            #expect(inside == range.count)
            end = range.upperBound
        }
        #expect(end == size && found == sums)
        #expect(throws: StorageError.self) {
            try SegmentPlan(size: size, pieces: .init(length: length, checksums: sums + sums))
        }
    }

    private static func hex(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    @Test("a server is slow after a window below the rate, silent after the idle time, and neither while we are busy")
    func guardsRate() {
        var limits = DownloadLimits()
        (limits.lowestRate, limits.rateWindow, limits.idleTime) = (100, .seconds(10), .seconds(4))
        var rate = RateGuard(limits, at: start)
        for second in 1...30 {
            rate.receive(120, at: start + .seconds(second))
            #expect(rate.check(at: start + .seconds(second)) == .good)
        }
        rate.pause(at: start + .seconds(30))
        #expect(rate.check(at: start + .seconds(500)) == .good)
        rate.resume(at: start + .seconds(500))
        #expect(rate.check(at: start + .seconds(503)) == .good)
        #expect(rate.check(at: start + .seconds(504)) == .silent(.seconds(4)))
        var slow = RateGuard(limits, at: start)
        for second in 1...9 { slow.receive(50, at: start + .seconds(second)) }
        slow.receive(50, at: start + .seconds(10))
        #expect(slow.check(at: start + .seconds(10)) == .slow(500, over: .seconds(10)))
    }

    @Test("what changed between two versions is said, and only a strong ETag proves that nothing did")
    func comparesVersions() {
        let old = SourceVersion(location: "l", entityTag: "\"a\"", modifiedAt: "Mon", size: 5)
        var new = old
        #expect(old.isCertainlySame(as: new) && old.changes(to: new).isEmpty)
        new.entityTag = "\"b\""
        #expect(!old.isCertainlySame(as: new))
        #expect(old.changes(to: new) == ["its ETag was \"a\", and is \"b\""])
        new = SourceVersion(location: "l", modifiedAt: "Tue", size: 6)
        #expect(old.changes(to: new) == ["its date was Mon, and is Tue", "its size was 5, and is 6"])
        let weak = SourceVersion(location: "l", entityTag: "W/\"a\"", modifiedAt: "Mon", size: 5)
        #expect(!weak.isCertainlySame(as: weak))
    }
}
