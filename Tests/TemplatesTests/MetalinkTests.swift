#if Downloads
    import BlockStorage
    import Testing

    @testable import Templates

    @Suite struct MetalinkTests {
        private func read(_ text: String) throws -> Metalink { try Metalink(Array(text.utf8), at: "test") }

        private func version4(
            name: String = "disk.raw", urls: String = "<url>https://a.example/disk.raw</url>", more: String = ""
        ) -> String {
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <metalink xmlns="urn:ietf:params:xml:ns:metalink">
              <generator>test</generator>
              <file name="\(name)"><size>1000</size>\(more)\(urls)</file>
            </metalink>
            """
        }

        @Test("version 4: name, size, the strongest checksum, pieces, and mirrors by priority, then location")
        func readsVersion4() throws {
            let sum = String(repeating: "ab", count: 32)
            let metalink = try read(
                version4(
                    urls: """
                        <url location="us" priority="2">http://c.example/disk.raw</url>
                        <url location="fr" priority="1">http://a.example/disk.raw</url>
                        <url location="DE" priority="1">https://b.example/disk.raw</url>
                        <url>http://d.example/disk.raw</url>
                        <url priority="1">ftp://e.example/disk.raw</url>
                        <metaurl mediatype="torrent">http://f.example/disk.torrent</metaurl>
                        """,
                    more: """
                        <hash type="md5">\(String(repeating: "1", count: 32))</hash>
                        <hash type="sha-256"> \(sum) </hash><hash type="ripemd">12</hash>
                        <pieces length="600" type="sha-1"><hash>\(String(repeating: "2", count: 40))</hash>
                        <hash>\(String(repeating: "3", count: 40))</hash></pieces>
                        """))
            #expect(metalink.fileName == "disk.raw" && metalink.size == 1000)
            #expect(metalink.checksum?.description == "sha256:" + sum)
            #expect(metalink.pieces?.length == 600 && metalink.pieces?.checksums.count == 2)
            let names = { (country: String?) in
                try metalink.file(for: country).locations.map {
                    $0.description.dropFirst($0.isSecure ? 8 : 7).prefix(1)
                }
            }
            #expect(try names(nil) == ["a", "b", "c", "d"])
            #expect(try names("de") == ["b", "a", "c", "d"])
            #expect(try names("US") == ["a", "b", "c", "d"])
        }

        @Test("version 3: preference is best at 100")
        func readsVersion3() throws {
            let metalink = try read(
                """
                <metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="disk.raw.xz">
                <size>70</size><verification><hash type="sha1">\(String(repeating: "0", count: 40))</hash>
                <pieces length="64" type="md5"><hash piece="0">\(String(repeating: "1", count: 32))</hash>
                <hash piece="1">\(String(repeating: "2", count: 32))</hash></pieces></verification>
                <resources><url type="ftp" preference="100">ftp://a.example/x</url>
                <url type="http" location="us" preference="10">http://b.example/x</url>
                <url type="bittorrent" preference="100">http://t.example/x.torrent</url>
                <url type="http" preference="90">http://c.example/x</url></resources></file></files></metalink>
                """)
            #expect(
                try metalink.file(for: nil).locations.map(\.description) == [
                    "http://c.example/x", "http://b.example/x",
                ])
            #expect(metalink.checksum?.algorithm == .sha1 && metalink.pieces?.checksums.count == 2)
        }

        @Test(
            "names with a path, files of this host and document types are refused",
            arguments: [
                "../disk.raw", "/etc/passwd", "a/b", "..", ".", "", "a\\b",
            ])
        func refusesNames(name: String) throws {
            let error = #expect(throws: StorageError.self) { try read(version4(name: name)) }
            #expect(error?.code == .unsafeImage)
        }

        private static let refused: [(String, StorageError.Code)] = [
            ("<url>file:///etc/passwd</url>", .unsafeImage), ("<url> FILE:/etc/passwd</url>", .unsafeImage),
            ("<url>/etc/passwd</url>", .unsafeImage), ("<url>ftp://a.example/x</url>", .notSupported),
            ("", .notSupported), ("<url>http://</url>", .corrupt), ("<url>http://a.example/\u{7}</url>", .corrupt),
            ("<url>http://a b/</url>", .corrupt),
            ("<url>http://a.example/x</url></file><file name=\"other\">", .notSupported),
            ("<hash type=\"sha-256\">12</hash><url>http://a.example/x</url>", .corrupt),
            ("<pieces length=\"0\" type=\"sha-1\"></pieces><url>http://a.example/x</url>", .corrupt),
            (
                "<pieces length=\"999\" type=\"md5\"><hash>\(String(repeating: "1", count: 32))</hash></pieces>"
                    + "<url>http://a.example/x</url>", .corrupt
            ),
            ("<size>-1</size><url>http://a.example/x</url>", .corrupt),
            ("<size>99999999999999999999</size><url>http://a.example/x</url>", .corrupt),
            ("<url>http://a.example/&undefined;</url>", .corrupt), ("<url>", .corrupt),
        ]

        @Test("what a metalink must not say is refused", arguments: refused)
        func refuses(urls: String, code: StorageError.Code) throws {
            let error = #expect(throws: StorageError.self) { try read(version4(urls: urls)) }
            #expect(error?.code == code, "\(String(describing: error))")
        }

        @Test("entities are never replaced: neither those of this host nor a billion of them")
        func refusesEntities() throws {
            let bomb = (1...20).map { "<!ENTITY e\($0) \"&e\($0 - 1);&e\($0 - 1);\">" }.joined()
            for type in [
                "<!DOCTYPE metalink [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
                "<!DOCTYPE metalink SYSTEM \"http://127.0.0.1:1/x.dtd\">",
                "<!DOCTYPE metalink [<!ENTITY e0 \"0123456789\">\(bomb)]>",
                "<!DOCTYPE metalink [<!ENTITY % a SYSTEM \"file:///etc/passwd\"> %a;]>",
            ] {
                let text =
                    type + "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"&e20;\"/></metalink>"
                let error = #expect(throws: StorageError.self) { try read(text) }
                #expect(error.map { [.unsafeImage, .corrupt].contains($0.code) } == true)
                #expect(error?.why.contains("root:") == false)
            }
        }

        @Test("what is no metalink is refused")
        func refusesOthers() throws {
            for text in [
                "", "hello", "<html/>", "<metalink/>", "<metalink xmlns=\"urn:other\"><file name=\"a\"/></metalink>",
            ] {
                let error = #expect(throws: StorageError.self) { try read(text) }
                #expect(error?.code == .corrupt)
            }
        }

        @Test("without a checksum, a metalink that came encrypted leads to encrypted mirrors only")
        func keepsEncryption() throws {
            let urls = "<url>http://a.example/x</url><url>https://b.example/x</url>"
            let plain = try read(version4(urls: urls))
            #expect(try plain.file(for: nil, isSecure: true).locations.map(\.isSecure) == [true])
            #expect(try plain.file(for: nil).locations.count == 2)
            let sum = "<hash type=\"sha-256\">\(String(repeating: "0", count: 64))</hash>"
            #expect(try read(version4(urls: urls, more: sum)).file(for: nil, isSecure: true).locations.count == 2)
        }

        @Test("random damage to a metalink ends with an error or a metalink", arguments: 0..<200)
        func survivesDamage(seed: UInt64) {
            var randomness = SeededGenerator(seed: seed)
            var bytes = Array(version4(more: "<hash type=\"md5\">\(String(repeating: "1", count: 32))</hash>").utf8)
            for _ in 0..<Int.random(in: 1...6, using: &randomness) {
                let index = Int.random(in: 0..<bytes.count, using: &randomness)
                switch Int.random(in: 0..<3, using: &randomness) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &randomness)
                case 1: bytes.remove(at: index)
                default: bytes.insert(contentsOf: bytes[index...].prefix(40), at: index)
                }
            }
            do throws(StorageError) {
                let metalink = try Metalink(bytes, at: "test")
                #expect(!metalink.mirrors.isEmpty && !metalink.fileName.contains("/"))
            } catch {
                #expect([.corrupt, .unsafeImage, .notSupported].contains(error.code))
            }
        }
    }
#endif
