import BlockStorage
import Foundation
import IORuntime
import Testing

@testable import QCOW2

/// Does with an image from anywhere what Sluice would ever do with one: reads its header, inspects it, checks and
/// repairs it, opens it, reads, maps and writes it. Whatever the bytes are, each step ends, with success or a typed
/// error.
func fuzzQCOW2(_ bytes: [UInt8]) async {
    let image = MemoryVolume(bytes)
    var limits = QCOW2Inspector.Limits()
    limits.duration = .seconds(5)
    _ = try? await QCOW2Inspector.inspect(image.copy(), limits)
    let snapshots = await useReadOnly(image.copy(), snapshot: nil)
    for snapshot in snapshots.prefix(2) { _ = await useReadOnly(image.copy(), snapshot: snapshot.id) }
    _ = try? await QCOW2Checker.check(image.copy(), repair: .leaks)
    _ = try? await QCOW2Checker.check(image.copy(), repair: .all)
    await useWritable(image.copy())
}

private func options(_ header: QCOW2Header?) -> QCOW2OpenOptions {
    var options = QCOW2OpenOptions()
    if header?.backingFile != nil { options.backing = MemoryVolume(size: 64 << 10) }
    if header?.hasExternalData == true { options.dataFile = MemoryVolume(size: 64 << 10) }
    return options
}

private func useReadOnly(_ base: MemoryVolume, snapshot: String?) async -> [QCOW2Snapshot] {
    var options = options(try? await QCOW2Header.read(from: base))
    options.isReadOnly = true
    options.snapshot = snapshot
    guard let volume = try? await QCOW2Volume.open(base, options) else { return [] }
    let size = volume.geometry.size
    var buffer = IOBuffer(byteCount: 96 << 10)
    for offset in [0, 4096, size / 3, size / 2, size - min(size, 64 << 10)] {
        let count = Int(min(UInt64(buffer.byteCount), size - min(offset, size)))
        var all = buffer.mutableBytes
        var wanted = all._mutatingExtracting(0..<count)
        try? await volume.read(into: &wanted, at: min(offset, size))
    }
    _ = try? await volume.extents(in: 0..<min(size, 1 << 20))
    try? await volume.close()
    return volume.snapshots
}

private func useWritable(_ base: MemoryVolume) async {
    guard let volume = try? await QCOW2Volume.open(base, options(try? await QCOW2Header.read(from: base))) else {
        return
    }
    let bytes = [UInt8](repeating: 0x5a, count: 5000)
    let size = volume.geometry.size
    for offset in [0, 1000, size / 2, size - min(size, 5000)] {
        try? await volume.write(bytes.rawBytes, at: offset)
    }
    try? await volume.discard(0..<min(size, 20_000))
    try? await volume.writeZeroes(min(size, 3000)..<min(size, 9000))
    try? await volume.flush()
    _ = try? await volume.createSnapshot("fuzz")
    try? await volume.resize(to: min(size, 1 << 40) + 4096)
    if let first = volume.snapshots.first {
        try? await volume.applySnapshot(first.id)
        try? await volume.deleteSnapshot(first.id)
    }
    try? await volume.close()
}

/// `SLUICE_FUZZ_SECONDS` makes it run that long, and `SLUICE_FUZZ_SEED` chooses the mutations.
@Suite("Fuzzing the QCOW2 engine")
struct QCOW2FuzzTests {
    /// Images of QEMU, of every kind, by file name.
    private static let corpus: [(name: String, bytes: [UInt8])] = {
        let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appending(path: "../../Fixtures/corpus/qcow2")
        let files = (try? FileManager.default.contentsOfDirectory(at: directory, includingPropertiesForKeys: nil)) ?? []
        return files.sorted { $0.path < $1.path }.compactMap { file in
            (try? Array(Data(contentsOf: file))).map { (file.lastPathComponent, $0) }
        }
    }()

    /// Numbers that break arithmetic, for fields of 32 and of 64 bits.
    private static let values: [UInt64] = [
        0, 1, 7, 511, 512, 513, 0x1000, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, 1 << 40,
        (1 << 55) - 512, 1 << 55, 1 << 56, 1 << 61, 1 << 62, (1 << 62) | 1, (1 << 62) | 0x3fff_ffff_ffff_ffff,
        1 << 63, (1 << 63) | 0x200, (1 << 63) | 0x10000, .max - 511, .max - 7, .max,
    ]

    @Test("every seed can be used")
    func seeds() async throws {
        #expect(Self.corpus.count > 5)
        for (name, bytes) in Self.corpus {
            await fuzzQCOW2(bytes)
            let report = try await QCOW2Checker.check(MemoryVolume(bytes))
            #expect(report.outcome == .clean, "\(name)")
        }
    }

    @Test("any field of the header may hold any number")
    func headerFields() async throws {
        for (_, bytes) in Self.corpus {
            let fields =
                stride(from: 4, to: 112, by: 4).map { ($0, 4) } + stride(from: 8, to: 104, by: 8).map { ($0, 8) }
            for (offset, width) in fields where (offset / 4 + bytes.count) % 3 == 0 {
                for value in Self.values {
                    var damaged = bytes
                    if width == 4 {
                        damaged.setBigEndian(UInt32(truncatingIfNeeded: value), at: offset)
                    } else {
                        damaged.setBigEndian(value, at: offset)
                    }
                    await fuzzQCOW2(damaged)
                }
            }
        }
    }

    @Test("any word of any table may hold any number")
    func tables() async throws {
        for (_, bytes) in Self.corpus {
            let header = try await QCOW2Header.read(from: MemoryVolume(bytes))
            let l1: UInt64 = bytes.bigEndian(at: Int(header.l1TableOffset))
            let table = Int(L1Entry(l1).offset)
            var positions = [Int(header.l1TableOffset), Int(header.refcountTableOffset), table, table + 8]
            if header.snapshotCount > 0 {
                positions += stride(
                    from: Int(header.snapshotTableOffset), to: Int(header.snapshotTableOffset) + 48, by: 4)
            }
            if let directory = try header.bitmapDirectory() {
                positions += stride(from: Int(directory.offset), to: Int(directory.offset) + 24, by: 4)
            }
            for position in positions where position > 0 && position + 8 <= bytes.count {
                for value in Self.values {
                    var damaged = bytes
                    damaged.setBigEndian(value, at: position)
                    await fuzzQCOW2(damaged)
                }
            }
        }
    }

    @Test("mutated images neither trap nor hang, and every failure is typed")
    func mutations() async throws {
        let environment = ProcessInfo.processInfo.environment
        let seconds = environment["SLUICE_FUZZ_SECONDS"].flatMap { Int($0) }
        var random = SeededGenerator(seed: environment["SLUICE_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1)
        let end = ContinuousClock.now + .seconds(seconds ?? 0)
        var count = 0
        while seconds == nil ? count < 500 : ContinuousClock.now < end {
            count += 1
            var bytes = try #require(Self.corpus.randomElement(using: &random)).bytes
            for _ in 0..<Int.random(in: 1...8, using: &random) { Self.mutate(&bytes, &random) }
            await fuzzQCOW2(bytes)
        }
        print("fuzzing QCOW2: \(count) mutated images")
    }

    private static func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        guard bytes.count > 8 else { return }
        // Half of the damage goes to the header.
        let limit = Bool.random(using: &random) ? min(bytes.count - 8, 112) : bytes.count - 8
        let position = Int.random(in: 0...limit, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[position] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.setBigEndian(values.randomElement(using: &random) ?? 0, at: position / 8 * 8)
        case 3: bytes.setBigEndian(UInt32(truncatingIfNeeded: random.next()), at: position / 4 * 4)
        case 4:
            // A word from elsewhere: a pointer that leads to another table.
            let word: UInt64 = bytes.bigEndian(at: Int.random(in: 0...bytes.count - 8, using: &random))
            bytes.setBigEndian(word, at: position / 8 * 8)
        default: if Int.random(in: 0..<8, using: &random) == 0 { bytes.removeLast(bytes.count - position) }
        }
    }
}

@Suite("Images that claim to be enormous")
struct EnormousImageTests {
    /// A sparse file with a header at the limits of the format, and nothing else.
    private static func image(_ change: (inout QCOW2Header) -> Void) async throws -> MemoryVolume {
        let base = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: base, QCOW2CreateOptions(size: 1 << 30))
        var header = try await QCOW2Header.read(from: base)
        header.extensions.removeAll()
        change(&header)
        try await base.resize(to: 1 << 50)
        try await base.writeBytes(header.encoded(), at: 0)
        return base
    }

    @Test("take bounded time and memory, or are refused")
    func bounded() async {
        // In a process of its own, whose memory is that of these images alone.
        await #expect(processExitsWith: .success) { try await Self.openAll() }
    }

    private static func openAll() async throws {
        let images = [
            try await image { header in
                header.size = 1 << 50
                header.l1EntryCount = 4 << 20
                header.l1TableOffset = 1 << 40
            },
            try await image { header in
                header.refcountTableOffset = 1 << 41
                header.refcountTableClusterCount = 128
            },
            try await image { header in
                header.snapshotCount = 65536
                header.snapshotTableOffset = 1 << 42
            },
        ]
        for image in images {
            _ = try? await QCOW2Inspector.inspect(image.copy())
            _ = try? await QCOW2Checker.check(image.copy())
            var options = QCOW2OpenOptions()
            options.isReadOnly = true
            if let volume = try? await QCOW2Volume.open(image.copy(), options) {
                var bytes = [UInt8](repeating: 1, count: 4096)
                var room = bytes.mutableRawBytes
                try await volume.read(into: &room, at: volume.geometry.size / 2)
                #expect(bytes.allSatisfy { $0 == 0 })
            }
        }
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        // In KiB.
        #expect(usage.ru_maxrss < 512 << 10)
    }
}
