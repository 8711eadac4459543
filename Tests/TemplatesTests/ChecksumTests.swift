import BlockStorage
import Testing

@testable import Templates

@Suite struct ChecksumTests {
    /// Of the three bytes "abc", from the standards that define the algorithms.
    private static let ofABC: [Checksum.Algorithm: String] = [
        .md5: "900150983cd24fb0d6963f7d28e17f72",
        .sha1: "a9993e364706816aba3e25717850c26c9cd0d89d",
        .sha224: "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
        .sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        .sha384: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
            + "8086072ba1e7cc2358baeca134c825a7",
        .sha512: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ]

    @Test("every algorithm gives the value of its standard", arguments: Checksum.Algorithm.allCases)
    func equalsStandard(algorithm: Checksum.Algorithm) throws {
        let expected = try #require(Self.ofABC[algorithm])
        let digester = try Digester(algorithm)
        for byte in "abc".utf8 { try add([byte], to: digester) }
        let checksum = try digester.finish()
        #expect(checksum.description == "\(algorithm):\(expected)")
        #expect(try Checksum(checksum.description) == checksum)
    }

    private func add(_ bytes: [UInt8], to digester: Digester) throws {
        // Sound: bytes have no padding.
        try digester.add(unsafe bytes.span.bytes)
    }

    @Test("upper and lower case are the same")
    func ignoresCase() throws {
        let text = "md5:900150983CD24fb0d6963f7d28e17f72"
        #expect(try Checksum(text) == Checksum(text.lowercased()))
        #expect(try Checksum("MD5:900150983cd24fb0d6963f7d28e17f72") == Checksum(text))
    }

    @Test(
        "anything else is refused, and not repeated in the message",
        arguments: [
            "", ":", "md5", "md5:", "md5:9001", "sha256:900150983cd24fb0d6963f7d28e17f72",
            "md5:900150983cd24fb0d6963f7d28e17f7g", "md5:900150983cd24fb0d6963f7d28e17f7２", "crc32:12345678",
            "md5:900150983cd24fb0d6963f7d28e17f72 ", " md5:900150983cd24fb0d6963f7d28e17f72",
            "md5:+00150983cd24fb0d6963f7d28e17f72", "sha256\n:x", "md5:md5:900150983cd24fb0d6963f7d28e1",
        ])
    func refuses(text: String) {
        let error = #expect(throws: StorageError.self) { try Checksum(text) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.place == "")
    }
}
