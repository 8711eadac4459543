import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import NBDExport

/// Serves a client that sends exactly `bytes` and then ends, against a small volume in memory. Returns what the client
/// was sent, once the connection has ended, whatever the bytes are.
@discardableResult
func fuzzNBD(_ bytes: [UInt8]) async throws -> Int {
    let export = try NBDServer.Export(name: "fuzz", description: "target", volume: MemoryVolume(size: 1 << 20))
    let (client, served) = try Socket.pair()
    var configuration = NBDServer.Configuration()
    configuration.largestRequestCount = 4
    let server = NBDServer(exports: [export], configuration: configuration, logger: .silent)
    async let serving: Void = server.serve(served)
    async let sending: Void = {
        try? await client.send(bytes.rawBytes)
        client.shutDownSending()
    }()
    var buffer = IOBuffer(byteCount: 64 << 10)
    var received = 0
    while true {
        var memory = buffer.mutableBytes
        guard let count = try? await client.receive(into: &memory), count > 0 else { break }
        received += count
    }
    _ = await (serving, sending)
    return received
}

/// `SLUICE_FUZZ_SECONDS` makes it run that long, and `SLUICE_FUZZ_SEED` chooses the mutations.
@Suite("Fuzzing the NBD server")
struct NBDFuzzTests {
    /// Handshakes and requests, valid and hostile, by file name.
    private static let corpus: [[UInt8]] = {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Fixtures/corpus/nbd")
        let files = (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
        return files.sorted { $0.path < $1.path }.compactMap { try? Array(Data(contentsOf: $0)) }
    }()

    @Test("every seed of the corpus ends with its connection")
    func seeds() async throws {
        #expect(!Self.corpus.isEmpty)
        for seed in Self.corpus { #expect(try await fuzzNBD(seed) >= NBDHandshake.greeting.count) }
    }

    @Test("mutated handshakes and requests neither trap, nor hang, nor outlive their client")
    func mutations() async throws {
        let environment = ProcessInfo.processInfo.environment
        let seconds = environment["SLUICE_FUZZ_SECONDS"].flatMap { Int($0) }
        var random = SeededGenerator(seed: environment["SLUICE_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1)
        let end = ContinuousClock.now + .seconds(seconds ?? 0)
        var count = 0
        while seconds == nil ? count < 500 : ContinuousClock.now < end {
            count += 1
            var bytes = try #require(Self.corpus.randomElement(using: &random))
            for _ in 0..<Int.random(in: 1...6, using: &random) { mutate(&bytes, &random) }
            try await fuzzNBD(bytes)
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        guard !bytes.isEmpty else { return }
        let position = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[position] = [0, 1, 0x7f, 0x80, 0xff][Int.random(in: 0..<5, using: &random)]
        case 2: bytes.removeSubrange(position..<min(bytes.count, position + Int.random(in: 1...32, using: &random)))
        case 3: bytes.insert(contentsOf: bytes[position...].prefix(64), at: position)
        case 4:
            // The end of another input: often a well-formed request where an option was due, or the reverse.
            let other = Self.corpus.randomElement(using: &random) ?? []
            bytes.replaceSubrange(position..., with: other.suffix(Int.random(in: 0...other.count, using: &random)))
        default:
            let number = NBDWire.bigEndian(UInt32.random(in: 0 ... .max, using: &random))
            bytes.replaceSubrange(position..<min(bytes.count, position + 4), with: number)
        }
    }
}
