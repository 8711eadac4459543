#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    @Suite("Proofs and checksums of a login")
    struct CHAPTests {
        @Test("a response is the MD5 of the identifier, the secret and the challenge")
        func response() throws {
            // RFC 1994's formula, by `printf '\\1secretchallenge' | md5sum`.
            let response = try CHAP.response(1, Secret("secret"), Array("challenge".utf8))
            #expect(CHAP.text(response) == "0x46e47770030e2b4e26a0db72a7efec00")
        }

        @Test("responses are the same only where every byte is")
        func same() {
            #expect(CHAP.isSame([1, 2, 3], [1, 2, 3]))
            #expect(!CHAP.isSame([1, 2, 3], [1, 2, 4]))
            #expect(!CHAP.isSame([1, 2, 3], [1, 2]))
            #expect(!CHAP.isSame([], [0]))
        }

        @Test("bytes come in hexadecimal and in base 64, and are nothing else")
        func bytes() {
            #expect(CHAP.bytes("0x00fF10") == [0, 255, 16])
            #expect(CHAP.bytes("0Xabc") == [10, 188])
            #expect(CHAP.bytes("0bAAEC/w==") == [0, 1, 2, 255])
            #expect(CHAP.bytes(CHAP.text([UInt8](0...255))) == [UInt8](0...255))
            for wrong in ["", "0x", "0b", "12", "0xg0", "0b*", "x00", "0x" + String(repeating: "0", count: 4096)] {
                #expect(CHAP.bytes(wrong) == nil, "\(wrong)")
            }
        }

        @Test("CRC32C is that of RFC 7143, appendix A.4")
        func checksums() {
            func checksum(_ bytes: [UInt8]) -> UInt32 { CRC32C.checksum(bytes.rawBytes) }
            #expect(checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
            #expect(checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
            #expect(checksum([UInt8](0..<32)) == 0x46dd_794e)
            #expect(checksum((0..<32).map { 31 - $0 }) == 0x113f_db5c)
        }
    }
#endif
