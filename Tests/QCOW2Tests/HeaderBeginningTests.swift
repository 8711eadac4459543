import BlockStorage
import Testing

@testable import QCOW2

@Suite struct HeaderBeginningTests {
    @Test("the beginning of an image says what the whole header says, or that it is too short")
    func beginnings() async throws {
        var images: [[UInt8]] = []
        for sample in SampleImage.allCases { images.append(try await sample.bytes()) }
        for name in ["base", String(repeating: "b", count: 900)] {
            var options = QCOW2CreateOptions(size: 1 << 20)
            options.backingFile = name
            options.backingFormat = "qcow2"
            let image = MemoryVolume(size: 0)
            try await QCOW2Volume.create(on: image, options)
            images.append(image.contents)
        }
        for image in images {
            let whole = try QCOW2Header(image)
            var wasComplete = false
            for count in 72...2048 {
                let header = try QCOW2Header(beginning: Array(image.prefix(count)))
                if let header { #expect(header == whole, "\(count) bytes") }
                #expect(!wasComplete || header != nil, "\(count) bytes")
                wasComplete = header != nil
            }
            #expect(wasComplete)
        }
    }

    @Test("damaged beginnings are refused, and never more than that", arguments: [UInt64(1), 2, 3])
    func damaged(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let image = try await SampleImage.plain.bytes()
        for _ in 0..<2000 {
            var bytes = Array(image.prefix(Int.random(in: 0...600, using: &random)))
            for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<min(bytes.count, 200), using: &random)
                bytes[index] = UInt8.random(in: 0...255, using: &random)
            }
            do {
                _ = try QCOW2Header(beginning: bytes)
            } catch {
                #expect([.corrupt, .notSupported].contains(error.code), "\(error)")
            }
        }
    }
}
