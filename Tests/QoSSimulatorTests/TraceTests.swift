import BlockStorage
import Foundation
import Testing

@testable import QoSSimulator

@Suite("Traces")
struct TraceTests {
    private func sample(_ name: String, _ format: TraceFormat, volume: String? = nil, unit: UInt64 = 1) throws
        -> [TraceRecord]
    {
        try replay(fixtures.appendingPathComponent("traces/\(name)").path, format, volume: volume, unit: unit)
    }

    @Test("The same requests come out of every format")
    func formats() throws {
        let reference = try sample("mqsim.trace", .mqsim, unit: 1000)
        #expect(reference.count == 160)
        #expect(reference.first?.time == 0 && reference.contains { $0.isWrite } && reference.contains { !$0.isWrite })
        for (name, format, volume) in [
            ("msr.csv", TraceFormat.msr, "web_0"), ("alibaba.csv", .alibaba, "419"), ("fio-2.log", .fio, nil),
            ("fio-3.log", .fio, nil), ("blkparse.txt", .blkparse, "252,16"),
        ] {
            #expect(try sample(name, format, volume: volume) == reference, "\(name)")
        }
        // Seconds are all that it knows: sizes and directions are the same second by second.
        let spread = try sample("tencent.csv", .tencent, volume: "1283")
        for second in 0..<10 as Range<UInt64> {
            // Each counts from its first request, which is a part of a second in.
            #expect(reference.count { ($0.time + 100_000_000) / 1_000_000_000 == second } >= 12)
            #expect(spread.count { ($0.time + 100_000_000) / 1_000_000_000 == second } >= 12)
        }
        func kinds(_ records: [TraceRecord]) -> [String] { records.map { "\($0.byteCount) \($0.isWrite)" }.sorted() }
        #expect(kinds(spread) == kinds(reference))
    }

    @Test("Requests of a second are spread over it, by the seed")
    func spreading() throws {
        let text = (0..<3000).map { "\(1_538_323_200 + $0 / 1000),\($0),8,0,7" }.joined(separator: "\n")
        let found = try records(text, .tencent)
        #expect(found.count == 3000 && zip(found, found.dropFirst()).allSatisfy { $0.time <= $1.time })
        for tenth in 0..<28 as Range<UInt64> {
            let count = found.count { $0.time / 100_000_000 == tenth }
            #expect((60...140).contains(count), "\(count) in a tenth of a second")
        }
        #expect(try records(text, .tencent) == found)
    }

    @Test("What is nearly in order is put in order, what is late comes at once, and time never goes back")
    func order() throws {
        var random = SeededGenerator(seed: 8)
        for _ in 0..<5 {
            let times = (0..<4000 as Range<UInt64>).map { $0 * 100 + random.below(5000) }
            let text = times.map { "\($0) 0 0 8 1" }.joined(separator: "\n")
            let found = try records(text, .mqsim)
            #expect(found.map(\.time) == times.sorted().map { $0 - (times.min() ?? 0) })
        }
        let late = try records(
            ([5000, 6000] + Array(repeating: 9000, count: 2000) + [10]).map { "\($0) 0 0 8 1" }.joined(separator: "\n"),
            .mqsim)
        #expect(late.map(\.time) == late.map(\.time).sorted() && late.last?.time == 4000)
    }

    @Test(
        "A wrong line is named, and nothing is made of it",
        arguments: [
            (TraceFormat.mqsim, "1 0 0 8 1\n2 0 0 8 2", ":2, '2' is neither 1 for reads nor 0 for writes"),
            (.mqsim, "1 0 0 8", ":1, the type is missing"), (.mqsim, "x 0 0 8 1", ":1, the time is 'x'"),
            (.mqsim, "1 0 0 99999999 1", ":1, the sectors is 99999999: more than 1 GiB"),
            (.mqsim, "1 0 0 18446744073709551616 1", ":1, the sectors is '18446744073709551616', which is no whole"),
            (.mqsim, "1 0 0 -8 1", ":1, the sectors is '-8'"),
            (.msr, "Timestamp,Hostname\n128166372003061629,h,0,Reed,0,4096,1", ":2, 'Reed' is neither"),
            (.msr, "128166372003061629,h,0,Read,0", ":1, the Size is missing"),
            (.alibaba, "419,X,0,4096,1", ":1, 'X' is neither R for reads"),
            (.alibaba, "419,R,0,4096,1\n419,R,0,4096,18446744073709551615", ":2, the time is more than 500 years"),
            (.tencent, "1,0,8,2,5", ":1, '2' is neither 0 for reads nor 1 for writes"),
            (.fio, "1 /dev/vda read 0 4096", ":1, the first line is not 'fio version 2 iolog'"),
            (.fio, "fio version 3 iolog\n1 /dev/vda raed 0 4096", ":2, the action 'raed' is none of fio's"),
            (.fio, "fio version 3 iolog\nx /dev/vda read 0 4096", ":2, the time is 'x'"),
            (.blkparse, "8,0 1 1 0.5 1 Q R 0 + 8 [x]", ":1, '0.5' is no time"),
            (.blkparse, "8:0 1 1 0.500000000 1 Q R 0 + 8 [x]", ":1, '8:0' is no device"),
            (.blkparse, "8,0 1 1 0.500000000 1 Q R 0 - 8 [x]", ":1, a '+' is missing"),
        ])
    func wrongLines(format: TraceFormat, text: String, expected: String) {
        let found = message { try records(text, format) }
        #expect(found.hasPrefix("invalidArgument: read trace, ") && found.contains(expected), "\(found)")
    }

    @Test("A trace without a request of the volume, a directory, and no file at all are told apart")
    func nothing() throws {
        #expect(message { try records("1 0 0 8 1", .mqsim, volume: "7") }.contains("there is no request of volume '7'"))
        #expect(message { try records("", .msr) }.hasPrefix("notFound: read trace"))
        #expect(message { try replay("/") }.hasPrefix("invalidArgument: open trace, /, it is not"))
        #expect(message { try replay("/none") }.hasPrefix("notFound: open trace, /none"))
        #expect(message { try replay("/dev/zero") }.hasPrefix("invalidArgument: open trace"))
    }

    @Test("Comments, empty lines, ends of lines of two bytes and a byte order mark are taken")
    func leniency() throws {
        let text =
            "\u{FEFF}Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime\r\n\r\n# a comment\r\n"
            + " 128166372003061629 , h ,0, Read ,0, 4096 ,1\r\n128166372013061629,h,0,Write,0,8192,1"
        #expect(
            try records(text, .msr) == [
                TraceRecord(time: 0, byteCount: 4096, isWrite: false),
                TraceRecord(time: 1_000_000_000, byteCount: 8192, isWrite: true),
            ])
    }

    @Test("A line that never ends is refused, and not kept")
    func longLine() {
        let found = message { try records(String(repeating: "1", count: 1 << 20), .mqsim) }
        #expect(found.contains(":1, the line is too long"), "\(found)")
    }

    @Test("Damaged traces end with an error that names a line, or are read", arguments: TraceFormat.allCases)
    func fuzz(format: TraceFormat) throws {
        let name =
            [
                TraceFormat.msr: "msr.csv", .alibaba: "alibaba.csv", .tencent: "tencent.csv", .fio: "fio-3.log",
                .blkparse: "blkparse.txt", .mqsim: "mqsim.trace",
            ][format] ?? ""
        let whole = [UInt8](try Data(contentsOf: fixtures.appendingPathComponent("traces/\(name)")))
        var random = SeededGenerator(seed: 77)
        for _ in 0..<150 {
            let start = Int(random.below(UInt64(whole.count / 2)))
            var bytes = Array(whole[start..<min(whole.count, start + 2000)])
            for _ in 0..<(1 + random.below(6)) {
                let place = Int(random.below(UInt64(bytes.count)))
                switch random.below(4) {
                case 0: bytes[place] = UInt8(random.below(256))
                case 1: bytes.insert(contentsOf: Array("99999999999999999999".utf8), at: place)
                case 2: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.below(40))))
                default: bytes.insert(bytes[Int(random.below(UInt64(bytes.count)))], at: place)
                }
            }
            let found = message { try withFile(bytes) { try replay($0, format) } }
            #expect(
                found == "no error" || found.hasPrefix("invalidArgument: read trace, ")
                    || found.hasPrefix("notFound: read trace, "), "\(found)")
        }
    }
}
