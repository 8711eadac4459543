import Sluice
import BlockStorage
import Testing

@testable import SluiceCLI

@Suite struct ByteCountTests {
    @Test(
        "Sizes are binary, with or without a unit",
        arguments: [
            ("0", 0), ("512", 512), ("4k", 4096), ("4K", 4096), ("64M", 64 << 20), ("10G", 10 << 30), ("2TiB", 2 << 40),
            ("1kb", 1024), ("7b", 7), ("15E", 15 << 60), ("18446744073709551615", UInt64.max),
        ] as [(String, UInt64)])
    func parsing(text: String, bytes: UInt64) {
        #expect(ByteCount(argument: text)?.bytes == bytes)
    }

    @Test(
        "What is no size is refused",
        arguments: [
            "", "k", "-1", "+1", "1.5G", "1 G", "1x", "1kk", "1bi", "16E", "18446744073709551616",
            "99999999999999999999G",
            "٣", "1\u{0}", "0x10", "1e3", "NaN", "１k",
        ])
    func refusals(text: String) {
        #expect(ByteCount(argument: text) == nil)
    }

    @Test(
        "Counts print in the largest unit that leaves at least one",
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1023.9 KiB"),
            (10 << 30, "10.0 GiB"), (.max, "15.9 EiB"),
        ] as [(UInt64, String)])
    func printing(bytes: UInt64, text: String) {
        #expect(ByteCount(bytes).text == text)
    }
}

@Suite struct JSONTests {
    @Test("Keys keep their order, integers stay whole, and text is escaped")
    func document() {
        let json: JSON = [
            "b": .unsigned(.max), "a": .array([.null, true, .signed(-1)]), "t": "\"\\\n\u{1}ä", "e": .array([]),
            "n": .double(.nan),
        ]
        #expect(
            json.description == """
                {
                  "b": 18446744073709551615,
                  "a": [
                    null,
                    true,
                    -1
                  ],
                  "t": "\\"\\\\\\n\\u0001ä",
                  "e": [],
                  "n": null
                }
                """)
    }
}

@Suite struct TextTableTests {
    @Test("Columns line up, numbers at the right")
    func alignment() {
        var table = TextTable(.text("NAME"), .number("SIZE"))
        table.add("a", "1")
        table.add("long", "1000")
        #expect(table.text(width: nil) == "NAME  SIZE\na        1\nlong  1000")
    }

    @Test("A table fits its terminal, and a name takes one line")
    func fitting() {
        var table = TextTable(.text("NAME"), .text("KIND"), .number("SIZE"))
        table.add(String(repeating: "n", count: 100) + "\nx", "dir", "123456")
        let lines = table.text(width: 40).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.allSatisfy { $0.count <= 40 })
        #expect(lines[1].contains("…") && lines[1].hasSuffix("123456"))
        #expect(!table.text(width: 1).isEmpty)
    }
}

@Suite struct HostAndPortTests {
    @Test("An address has a host and a port")
    func hostAndPort() {
        #expect(HostAndPort(argument: "127.0.0.1:10809")?.port == 10809)
        #expect(HostAndPort(argument: "[::1]:0")?.host == "::1")
        for text in ["", ":", "a:", ":1", "a:65536", "a:-1", "::1:5", "a", "[]:1"] {
            #expect(HostAndPort(argument: text) == nil, "\(text)")
        }
    }
}
