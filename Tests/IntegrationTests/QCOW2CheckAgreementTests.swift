import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import QCOW2

@Suite("The check agrees with qemu-img check")
struct QCOW2CheckAgreementTests {
    struct Variant: CustomTestStringConvertible, Sendable {
        var options: String
        var size = "4M"
        var isCompressed = false
        var hasSnapshots = true
        var hasBitmap = false

        var testDescription: String {
            options + (isCompressed ? ", compressed" : "") + (hasBitmap ? ", bitmap" : "")
        }
    }

    static let variants: [Variant] = [
        Variant(options: "compat=0.10,cluster_size=64k"),
        Variant(options: "compat=0.10,cluster_size=512"),
        Variant(options: "compat=1.1,cluster_size=512,refcount_bits=1", hasSnapshots: false),
        Variant(options: "compat=1.1,cluster_size=4k,refcount_bits=2"),
        Variant(options: "compat=1.1,cluster_size=1k,refcount_bits=4"),
        Variant(options: "compat=1.1,cluster_size=2k,refcount_bits=8"),
        Variant(options: "compat=1.1,cluster_size=64k,refcount_bits=32"),
        Variant(options: "compat=1.1,cluster_size=8k,refcount_bits=64"),
        Variant(options: "compat=1.1,cluster_size=2M,refcount_bits=16", size: "32M"),
        Variant(options: "compat=1.1,cluster_size=16k,extended_l2=on"),
        Variant(options: "compat=1.1,cluster_size=64k,extended_l2=on,refcount_bits=1", hasSnapshots: false),
        Variant(options: "compat=1.1,cluster_size=4k", isCompressed: true),
        Variant(options: "compat=1.1,cluster_size=64k,compression_type=zstd", isCompressed: true),
        Variant(options: "compat=1.1,cluster_size=64k", hasBitmap: true),
        Variant(options: "compat=1.1,cluster_size=64k,lazy_refcounts=on"),
    ]

    private static func make(_ variant: Variant, in directory: ScratchDirectory) async throws -> String {
        let image = directory.file("image.qcow2")
        if variant.isCompressed {
            var generator = SeededGenerator(seed: 9)
            let text = (0..<1 << 20).map { _ in UInt8(truncatingIfNeeded: generator.next() % 7) }
            try directory.write(text, to: "source.raw")
            try await QEMU.img(
                "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", variant.options, directory.file("source.raw"), image)
        } else {
            try await QEMU.img("create", "-f", "qcow2", "-o", variant.options, image, variant.size)
        }
        if variant.hasBitmap { try await QEMU.img("bitmap", "--add", "-f", "qcow2", image, "b0") }
        try await QEMU.io(image, ["write -P 1 0 100k", "write -P 2 300k 4k", "write -z 512k 64k"])
        if variant.hasSnapshots {
            try await QEMU.img("snapshot", "-c", "first", image)
            try await QEMU.io(image, ["write -P 3 50k 10k", "write -P 4 900k 64k", "discard 0 64k"])
            try await QEMU.img("snapshot", "-c", "second", image)
            try await QEMU.io(image, ["write -P 5 0 1k"])
        }
        return image
    }

    @Test("images of QEMU are clean", arguments: variants)
    func clean(_ variant: Variant) async throws {
        let directory = try ScratchDirectory()
        let image = try await Self.make(variant, in: directory)
        let report = try await QCOW2Checker.check(MemoryVolume(directory.contents("image.qcow2")))
        #expect(report.outcome == .clean, "\(report.findings)")
        #expect(report.allocatedClusters > 0)
        #expect(try await QEMU.check(image) == QEMU.Check(status: 0))
    }

    @Test("damaged images have the same outcome and the same counts", arguments: variants)
    func damaged(_ variant: Variant) async throws {
        let directory = try ScratchDirectory()
        _ = try await Self.make(variant, in: directory)
        let original = try directory.contents("image.qcow2")
        let header = try await QCOW2Header.read(from: MemoryVolume(original))
        var generator = SeededGenerator(seed: UInt64(header.clusterBits * 100 + header.refcountOrder))
        var differences: [String] = []
        var comparedCount = 0
        for round in 0..<18 {
            var bytes = original
            let damage = Damage.allCases[round % Damage.allCases.count]
            guard damage.apply(to: &bytes, header, &generator) else { continue }
            try directory.write(bytes, to: "damaged.qcow2")
            let theirs: QEMU.Check
            do {
                theirs = try await QEMU.check(directory.file("damaged.qcow2"))
            } catch {
                // What QEMU cannot open at all, the check may refuse or describe.
                continue
            }
            comparedCount += 1
            do {
                let ours = try await QCOW2Checker.check(MemoryVolume(bytes))
                if ours.outcome != theirs.outcome || ours.leaks != theirs.leaks
                    || ours.corruptions != theirs.corruptions && damage.hasComparableCount
                {
                    differences.append(
                        "\(damage): \(ours.outcome) \(ours.corruptions)/\(ours.leaks) instead of \(theirs.outcome) "
                            + "\(theirs.corruptions)/\(theirs.leaks): \(ours.findings.prefix(5))")
                }
            } catch {
                differences.append("\(damage): \(error) instead of \(theirs)")
            }
        }
        #expect(comparedCount > 9)
        #expect(differences.isEmpty, "\(differences.joined(separator: "\n"))")
    }

    @Test("repaired images are clean for qemu-img too", arguments: variants)
    func repaired(_ variant: Variant) async throws {
        let directory = try ScratchDirectory()
        _ = try await Self.make(variant, in: directory)
        let original = try directory.contents("image.qcow2")
        let header = try await QCOW2Header.read(from: MemoryVolume(original))
        var generator = SeededGenerator(seed: UInt64(header.clusterBits * 10 + header.refcountOrder))
        for damage in Damage.allCases where damage != .l2Pointer {
            var bytes = original
            guard damage.apply(to: &bytes, header, &generator) else { continue }
            let volume = MemoryVolume(bytes)
            let found = try await QCOW2Checker.check(volume)
            let report = try await QCOW2Checker.check(volume, repair: found.outcome == .leaks ? .leaks : .all)
            #expect(report.outcome == .clean, "\(damage): \(found.findings) then \(report.findings)")
            #expect(report.corruptionsFixed == found.corruptions && report.leaksFixed == found.leaks)
            try directory.write(volume.contents, to: "repaired.qcow2")
            let theirs = try await QEMU.check(directory.file("repaired.qcow2"))
            #expect(theirs == QEMU.Check(status: 0), "\(damage)")
        }
    }
}

/// A way to damage an image.
private enum Damage: CaseIterable {
    case refcountUp, refcountDown, l2Pointer, l2Flag, l1Flag, refcountBlockEntry

    /// Whether both programs count every consequence of the damage alike.
    var hasComparableCount: Bool { self != .refcountBlockEntry && self != .l2Pointer }

    /// Returns false where the image has nothing to damage in this way.
    func apply(to bytes: inout [UInt8], _ header: QCOW2Header, _ generator: inout SeededGenerator) -> Bool {
        let layout = header.layout
        func words(at offset: UInt64, _ count: Int) -> [(position: Int, word: UInt64)] {
            (0..<count).compactMap { index in
                let position = Int(offset) + 8 * index
                guard position + 8 <= bytes.count else { return nil }
                let word: UInt64 = bytes.bigEndian(at: position)
                return word == 0 ? nil : (position, word)
            }
        }
        let l1 = words(at: header.l1TableOffset, Int(header.l1EntryCount))
        let blocks = words(at: header.refcountTableOffset, Int(layout.clusterSize / 8))
        guard let table = l1.randomElement(using: &generator), let block = blocks.randomElement(using: &generator)
        else { return false }
        let l2 = words(at: L1Entry(table.word).offset, Int(layout.clusterSize / 8)).filter {
            !layout.hasExtendedL2 || ($0.position / 8) % 2 == 0
        }
        guard let entry = l2.randomElement(using: &generator) else { return false }

        switch self {
        case .refcountUp, .refcountDown:
            let clusters = bytes.count >> layout.clusterBits
            let inBlock = min(clusters, Int(layout.clustersPerRefcountBlock))
            var part = Array(bytes[Int(block.word)..<min(Int(block.word) + Int(layout.clusterSize), bytes.count)])
            part.pad(to: Int(layout.clusterSize))
            let index = Int(generator.next() % UInt64(inBlock))
            let old = RefcountFields.value(at: index, in: part, order: layout.refcountOrder)
            let new = self == .refcountUp ? old + 1 : old &- 1
            guard new <= layout.largestRefcount, self == .refcountUp || old > 0 else { return false }
            RefcountFields.set(new, at: index, in: &part, order: layout.refcountOrder)
            bytes.replaceSubrange(Int(block.word)..<Int(block.word) + part.count, with: part)
        case .l2Pointer:
            let cluster = generator.next() % UInt64(2 * (bytes.count >> layout.clusterBits))
            bytes.setBigEndian(L2Entry(ownedCluster: layout.offset(ofCluster: cluster + 1)).word, at: entry.position)
        case .l2Flag: bytes.setBigEndian(entry.word ^ L2Entry.copiedFlag, at: entry.position)
        case .l1Flag: bytes.setBigEndian(table.word ^ L1Entry.copiedFlag, at: table.position)
        case .refcountBlockEntry: bytes.setBigEndian(0 as UInt64, at: block.position)
        }
        return true
    }
}
