import BlockStorage
import Testing

@testable import QCOW2

/// What one of several concurrent writers knows of its part of a disk.
struct PartModel {
    let range: Range<UInt64>
    var bytes: [UInt8]
    /// Where failed requests may or may not have had their effect, by index into `bytes`.
    private var unknown: [Range<Int>] = []
    var generator: SeededGenerator
    private(set) var failures = 0

    init(_ range: Range<UInt64>, _ contents: [UInt8], seed: UInt64) {
        self.range = range
        bytes = Array(contents[Int(range.lowerBound)..<Int(range.upperBound)])
        generator = SeededGenerator(seed: seed)
    }

    /// Makes `count` random requests on this part, one after the other. What it reads must be what it wrote.
    mutating func run(on volume: any Volume, count: Int) async {
        for _ in 0..<count {
            let longest: UInt64 =
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: 512
                case 1: 4096
                default: 70_000
                }
            let start = UInt64.random(in: range, using: &generator)
            let part = start..<min(start + UInt64.random(in: 1...longest, using: &generator), range.upperBound)
            let indices = Int(part.lowerBound - range.lowerBound)..<Int(part.upperBound - range.lowerBound)
            var isChange = true
            do {
                switch Int.random(in: 0..<16, using: &generator) {
                case 0..<8:
                    let new = ImageModel.random(part.count, &generator)
                    try await volume.store(new, at: part.lowerBound)
                    replace(indices, with: new)
                case 8..<13:
                    isChange = false
                    let found = try await volume.bytes(part)
                    #expect(difference(found, indices) == nil, "read \(part)")
                case 13, 14:
                    try await volume.writeZeroes(part)
                    replace(indices, with: [UInt8](repeating: 0, count: indices.count))
                default:
                    isChange = false
                    try await volume.flush()
                }
            } catch {
                failures += 1
                if isChange { unknown.append(indices) }
            }
        }
    }

    private mutating func replace(_ indices: Range<Int>, with new: [UInt8]) {
        bytes.replaceSubrange(indices, with: new)
        unknown = unknown.flatMap { range -> [Range<Int>] in
            [
                range.lowerBound..<min(range.upperBound, max(range.lowerBound, indices.lowerBound)),
                max(range.lowerBound, min(range.upperBound, indices.upperBound))..<range.upperBound,
            ].filter { !$0.isEmpty }
        }
    }

    /// The first index at which `found` is not what the bytes at `indices` must be.
    private func difference(_ found: [UInt8], _ indices: Range<Int>) -> Int? {
        var expected = Array(bytes[indices])
        for range in unknown where range.overlaps(indices) {
            let part = range.clamped(to: indices)
            let shifted = part.lowerBound - indices.lowerBound..<part.upperBound - indices.lowerBound
            expected.replaceSubrange(shifted, with: found[shifted])
        }
        if expected == found { return nil }
        return zip(expected, found).enumerated().first { $1.0 != $1.1 }?.offset
    }

    func expectHeld(by volume: any Volume, _ comment: String) async throws {
        let found = try await volume.bytes(range)
        #expect(difference(found, 0..<bytes.count) == nil, "\(comment) \(range)")
    }

    /// Parts that meet inside clusters, so that writers share them.
    static func parts(_ count: Int, of contents: [UInt8], seed: UInt64) -> [PartModel] {
        let size = UInt64(contents.count)
        return (0..<UInt64(count)).map { index in
            let start = size * index / UInt64(count), end = size * (index + 1) / UInt64(count)
            return PartModel(start..<end, contents, seed: seed &* 1000 &+ index)
        }
    }

    /// Runs every part in a task of its own.
    static func run(_ parts: [PartModel], on volume: any Volume, count: Int) async -> [PartModel] {
        await withTaskGroup(of: (Int, PartModel).self) { group in
            for (index, part) in parts.enumerated() {
                group.addTask {
                    var part = part
                    await part.run(on: volume, count: count)
                    return (index, part)
                }
            }
            var results = parts
            for await (index, part) in group { results[index] = part }
            return results
        }
    }
}
