import BlockStorage
import Foundation
import Testing

@testable import QCOW2

/// What an image of a property test is like.
struct ImageShape: Sendable, CustomTestStringConvertible {
    var version: UInt32 = 3
    var clusterSize: UInt64 = 65536
    var refcountBits = 16
    var hasExtendedL2 = false
    /// In bytes; 0 for none.
    var backingSize: UInt64 = 0
    var hasExternalData = false
    var preallocation = QCOW2CreateOptions.Preallocation.off
    /// Of the disk, in bytes.
    var size: UInt64

    var testDescription: String {
        "v\(version) cluster \(clusterSize) refcount \(refcountBits)\(hasExtendedL2 ? " extended" : "")"
            + (backingSize > 0 ? " backing \(backingSize)" : "") + (hasExternalData ? " external" : "")
            + (preallocation == .off ? "" : " \(preallocation.rawValue)")
    }

    /// Small caches and small sizes, so that every table grows and every cache evicts.
    static let all: [ImageShape] = [
        ImageShape(version: 2, clusterSize: 512, size: 300_032),
        ImageShape(clusterSize: 512, refcountBits: 64, size: 1_000_448),
        ImageShape(clusterSize: 512, refcountBits: 1, backingSize: 200_000, size: 500_224),
        ImageShape(clusterSize: 512, refcountBits: 16, size: 9_000_448),
        ImageShape(version: 2, clusterSize: 4096, backingSize: 1_000_000, size: 700_416),
        ImageShape(clusterSize: 4096, refcountBits: 2, size: 3_000_320),
        ImageShape(clusterSize: 4096, refcountBits: 32, backingSize: 1_500_000, size: 3_000_320),
        ImageShape(version: 2, clusterSize: 65536, size: 4_000_256),
        ImageShape(clusterSize: 65536, refcountBits: 8, backingSize: 3_000_000, size: 4_000_256),
        ImageShape(clusterSize: 65536, preallocation: .metadata, size: 4_000_256),
        ImageShape(clusterSize: 65536, refcountBits: 4, preallocation: .full, size: 2_000_384),
        ImageShape(clusterSize: 16384, hasExtendedL2: true, size: 3_000_320),
        ImageShape(clusterSize: 65536, hasExtendedL2: true, backingSize: 2_000_000, size: 4_000_256),
        ImageShape(
            clusterSize: 65536, hasExtendedL2: true, backingSize: 2_000_000, preallocation: .metadata, size: 4_000_256),
        ImageShape(clusterSize: 2 << 20, size: 9_000_448),
        ImageShape(clusterSize: 2 << 20, hasExtendedL2: true, backingSize: 5_000_000, size: 9_000_448),
        ImageShape(clusterSize: 65536, hasExternalData: true, size: 3_000_320),
        ImageShape(clusterSize: 4096, backingSize: 500_000, hasExternalData: true, size: 1_000_448),
    ]
}

/// An image, and the bytes that it must hold.
final class ImageModel {
    let shape: ImageShape
    let directory: TemporaryDirectory
    private(set) var base = MemoryVolume(size: 0)
    private(set) var dataFile: MemoryVolume?
    let backingContents: [UInt8]
    private(set) var volume: QCOW2Volume
    let journal: QCOW2Journal?
    var contents: [UInt8]
    var generator: SeededGenerator

    init(_ shape: ImageShape, seed: UInt64, hasJournal: Bool = false, yields: Bool = false) async throws {
        self.shape = shape
        directory = try TemporaryDirectory()
        generator = SeededGenerator(seed: seed)
        journal = hasJournal ? QCOW2Journal(directory: directory.path, identity: "image") : nil
        var options = QCOW2CreateOptions(size: shape.size)
        options.version = shape.version
        options.clusterSize = shape.clusterSize
        options.refcountBits = shape.refcountBits
        options.hasExtendedL2 = shape.hasExtendedL2
        options.preallocation = shape.preallocation
        contents = [UInt8](repeating: 0, count: Int(shape.size))
        if shape.backingSize > 0 {
            backingContents = Self.random(Int(shape.backingSize), &generator)
            options.backingFile = try directory.write(backingContents, to: "backing.raw")
            options.backingFormat = "raw"
            let count = min(contents.count, backingContents.count)
            contents.replaceSubrange(0..<count, with: backingContents[0..<count])
        } else {
            backingContents = []
        }
        dataFile = shape.hasExternalData ? MemoryVolume(size: 0) : nil
        if shape.hasExternalData { options.dataFile = directory.file("data.raw") }
        try await QCOW2Volume.create(on: base, dataFile: dataFile, options)
        let opened: any ResizableVolume = yields ? YieldingVolume(base, seed: seed) : base
        volume = try await QCOW2Volume.open(opened, Self.options(shape, dataFile, backingContents, journal))
    }

    private static func options(
        _ shape: ImageShape, _ dataFile: MemoryVolume?, _ backing: [UInt8], _ journal: QCOW2Journal?
    ) -> QCOW2OpenOptions {
        var options = QCOW2OpenOptions()
        options.cacheByteCount = 1
        options.journal = journal
        options.dataFile = dataFile
        options.backing = shape.backingSize > 0 ? MemoryVolume(backing, isReadOnly: true) : nil
        return options
    }

    /// Bytes that do not repeat by cluster or sector.
    static func random(_ count: Int, _ generator: inout SeededGenerator) -> [UInt8] {
        let start = Int.random(in: 0..<randomPool.count - count, using: &generator)
        return Array(randomPool[start..<start + count])
    }

    /// Enough for the largest backing file.
    private static let randomPool: [UInt8] = {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(6 << 20)
        var word: UInt64 = 1
        while bytes.count < 6 << 20 {
            word = word &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> shift))
            }
        }
        return bytes
    }()

    func randomRange() -> Range<UInt64> {
        let size = UInt64(contents.count)
        let longest: UInt64 =
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: 1
            case 1: 4096
            case 2: min(shape.clusterSize, 1 << 19)
            case 3: min(3 * shape.clusterSize, 1 << 20)
            case 4: min(20 * shape.clusterSize, 1 << 19)
            default: 512
            }
        var start = UInt64.random(in: 0..<size, using: &generator)
        var length = UInt64.random(in: 1...longest, using: &generator)
        if Bool.random(using: &generator) {
            start = start / shape.clusterSize * shape.clusterSize
            let rounded = max(1, length / shape.clusterSize) * shape.clusterSize
            if Int.random(in: 0..<10, using: &generator) < (rounded > 1 << 20 ? 1 : 5) { length = rounded }
        }
        return start..<min(size, start + length)
    }

    /// One random request, on the image and on the model.
    func step() async throws {
        let range = randomRange()
        let indices = Int(range.lowerBound)..<Int(range.upperBound)
        switch Int.random(in: 0..<20, using: &generator) {
        case 0..<8:
            let bytes = Self.random(range.count, &generator)
            try await volume.store(bytes, at: range.lowerBound)
            contents.replaceSubrange(indices, with: bytes)
        case 8..<14:
            let bytes = try await volume.bytes(range)
            expectSame(bytes, contents[indices], "read \(range)")
        case 14, 15:
            let options: ZeroOptions = Bool.random(using: &generator) ? .keepAllocated : []
            try await volume.writeZeroes(range, options: options)
            contents.replaceSubrange(indices, with: repeatElement(0, count: indices.count))
        case 16, 17:
            let before = try await volume.bytes(range)
            try await volume.discard(range)
            let after = try await volume.bytes(range)
            #expect(before == after || zip(before, after).allSatisfy { $1 == $0 || $1 == 0 }, "discard \(range)")
            contents.replaceSubrange(indices, with: after)
        case 18:
            try await volume.flush()
        default:
            if Int.random(in: 0..<4, using: &generator) == 0 { try await reopen() }
        }
    }

    /// Closes the image and opens it again.
    func reopen() async throws {
        try await volume.close()
        try await openCopy()
    }

    /// Opens what the volumes below hold now, as after the death of the process that had the image open.
    func openCopy() async throws {
        base = base.copy()
        dataFile = dataFile?.copy()
        volume = try await QCOW2Volume.open(base, Self.options(shape, dataFile, backingContents, journal))
    }

    /// Without the listing of all differences that takes minutes.
    private func expectSame(
        _ bytes: [UInt8], _ expected: ArraySlice<UInt8>, _ comment: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        // The fast way first: an unoptimised search takes most of the time otherwise.
        if bytes == Array(expected) { return }
        if bytes == Array(expected) { return }
        let difference = zip(bytes, expected).enumerated().first { $1.0 != $1.1 }
        Issue.record(
            "\(comment): first difference \(String(describing: difference)), \(bytes.count) bytes of \(expected.count)",
            sourceLocation: sourceLocation)
    }

    func resize(to size: UInt64) async throws {
        try await volume.resize(to: size)
        if size < contents.count {
            contents.removeLast(contents.count - Int(size))
        } else {
            contents += repeatElement(0, count: Int(size) - contents.count)
        }
    }

    /// Reads a snapshot beside the open image.
    func verifySnapshot(_ name: String, _ expected: [UInt8]) async throws {
        try await volume.flush()
        var options = Self.options(shape, dataFile?.copy(), backingContents, nil)
        options.snapshot = name
        let snapshot = try await QCOW2Volume.open(base.copy(), options)
        #expect(snapshot.geometry.size == UInt64(expected.count) && snapshot.geometry.isReadOnly)
        expectSame(try await snapshot.bytes(0..<UInt64(expected.count)), expected[...], "snapshot \(name)")
        try await snapshot.close()
    }

    /// Reads everything here and with QEMU, and lets `qemu-img check` look at the closed image.
    func verify(
        _ comment: String, allowsLeaks: Bool = false, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let all = try await volume.bytes(0..<UInt64(contents.count))
        expectSame(all, contents[...], comment, sourceLocation: sourceLocation)
        try await volume.close()
        let image = try directory.write(base.contents, to: "image.qcow2")
        if let dataFile { _ = try directory.write(dataFile.contents, to: "data.raw") }
        try await QEMU.expectClean(image, comment, allowsLeaks: allowsLeaks, sourceLocation: sourceLocation)
        let raw = try directory.write(contents, to: "model.raw")
        try await QEMU.expectSame(image, asRaw: raw, comment, sourceLocation: sourceLocation)
    }
}
