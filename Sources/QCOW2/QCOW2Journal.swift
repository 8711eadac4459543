import BlockStorage
import Foundation
import IORuntime
import Synchronization
import SystemPackage

/// Where the mappings of acknowledged writes are kept until a flush has written them, so that they survive the death
/// of this process (not of the host).
///
/// A journal belongs to one image and one boot of the host. While it is in use the header of the image carries a
/// random mark among the autoclear features; any other program that writes the image removes the mark, and a journal
/// without its mark is never used. Version 2 has no such features: there a write that needs a cluster is acknowledged
/// when the tables are written.
public struct QCOW2Journal: Sendable {
    /// In a file system in memory, private to this user: its files are mapped.
    public var directory: String
    /// What the image is, for example the device and inode numbers of its file.
    public var identity: String
    /// How much it takes, in bytes. When half of it is full, the tables are written without waiting for a flush.
    public var byteCount = 1 << 20

    /// A journal in `directory` for the image that `identity` names.
    public init(directory: String, identity: String) {
        self.directory = directory
        self.identity = identity
    }

    /// Removes what is left of it; for an image that is deleted.
    public func remove() { MappedFile.remove(path) }

    var path: FilePath {
        FilePath(directory).appending("qcow2-\(String(Self.hash(identity), radix: 16)).journal")
    }

    /// FNV-1a.
    static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// Another number at each boot of the host; 0 where it cannot be known.
    static let boot: UInt64 = {
        let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        return text.map { hash($0) } ?? 0
    }()
}

/// A changed L2 entry.
struct JournalRecord: Equatable {
    static let byteCount = 24

    /// Guest cluster number.
    var cluster: UInt64
    var entry: L2Entry
    var bitmap: SubclusterBitmap
}

/// The file: a page that says whose it is, and two halves that take turns. A flush covers what one half has while new
/// records go to the other.
enum JournalLayout {
    static let magic: UInt64 = 0x534c_5543_4a52_4e31
    /// Of words in the first page.
    static let magicOffset = 0
    static let bootOffset = 8
    static let identityOffset = 16
    static let tagOffset = 24
    static let pageByteCount = 4096
    /// A half begins with its record count and its place in the order of halves.
    static let halfHeaderByteCount = 64

    static func half(_ index: Int, _ byteCount: Int) -> Int {
        pageByteCount + index * ((byteCount - pageByteCount) / 2 & ~63)
    }

    static func capacity(_ byteCount: Int) -> Int {
        ((byteCount - pageByteCount) / 2 & ~63 - halfHeaderByteCount) / JournalRecord.byteCount
    }
}

/// The journal of a session that writes. Its owner's lock protects it.
struct JournalWriter {
    private let file: MappedFile
    let path: FilePath
    /// The mark in the image's header.
    let tag: UInt64
    private let capacity: Int
    private var half = 0
    private var counts = [0, 0]
    private var generation: UInt64 = 1
    /// A record found no room, and no flush has begun since.
    private var hasNewOverflow = false
    private var hasOldOverflow = false
    /// Some mapping in memory is neither here nor in the image: requests that rely on it must wait for a flush.
    var hasOverflowed: Bool { hasNewOverflow || hasOldOverflow }

    /// Makes the file, in the place of any that a session before left.
    init(_ journal: QCOW2Journal, tag: UInt64) throws(StorageError) {
        path = journal.path
        self.tag = tag
        MappedFile.remove(path)
        do throws(SystemError) {
            file = try MappedFile(creating: path, byteCount: max(journal.byteCount, 16384) & ~4095)
        } catch {
            throw StorageError(error, "create journal", at: path.string)
        }
        capacity = JournalLayout.capacity(file.byteCount)
        file.store(QCOW2Journal.boot, at: JournalLayout.bootOffset)
        file.store(QCOW2Journal.hash(journal.identity), at: JournalLayout.identityOffset)
        file.store(tag, at: JournalLayout.tagOffset)
        file.store(generation, at: JournalLayout.half(0, file.byteCount) + 8)
        atomicMemoryFence(ordering: .releasing)
        file.store(JournalLayout.magic, at: JournalLayout.magicOffset)
    }

    var isHalfFull: Bool { counts[half] > capacity / 2 || hasOverflowed }

    mutating func append(_ record: JournalRecord) {
        guard counts[half] < capacity else {
            hasNewOverflow = true
            return
        }
        let start = JournalLayout.half(half, file.byteCount)
        let offset = start + JournalLayout.halfHeaderByteCount + counts[half] * JournalRecord.byteCount
        file.store(record.cluster, at: offset)
        file.store(record.entry.word, at: offset + 8)
        file.store(record.bitmap.word, at: offset + 16)
        counts[half] += 1
        // A dead process has made its stores in this order, and no others.
        atomicMemoryFence(ordering: .releasing)
        file.store(UInt64(counts[half]), at: start)
    }

    /// A flush takes what there is: what comes later goes to the other half, once that is empty.
    mutating func beginFlush() {
        hasOldOverflow = hasOverflowed
        hasNewOverflow = false
        guard counts[1 - half] == 0 else { return }
        half = 1 - half
        generation += 1
        file.store(generation, at: JournalLayout.half(half, file.byteCount) + 8)
    }

    /// The flush has written what the other half has.
    mutating func endFlush() {
        hasOldOverflow = false
        counts[1 - half] = 0
        atomicMemoryFence(ordering: .releasing)
        file.store(0, at: JournalLayout.half(1 - half, file.byteCount))
    }
}

extension QCOW2Journal {
    /// What a dead session left for the image with this mark, in the order in which it was written, the last record of
    /// each cluster only; `nil` where there is nothing that belongs to it.
    func records(tag: UInt64) -> [JournalRecord]? {
        guard tag != 0, let file = try? MappedFile(opening: path), file.byteCount >= 16384,
            file.load(at: JournalLayout.magicOffset) == JournalLayout.magic,
            file.load(at: JournalLayout.bootOffset) == Self.boot,
            file.load(at: JournalLayout.identityOffset) == Self.hash(identity),
            file.load(at: JournalLayout.tagOffset) == tag
        else { return nil }
        atomicMemoryFence(ordering: .acquiring)
        let halves = [0, 1].map { JournalLayout.half($0, file.byteCount) }
            .sorted { file.load(at: $0 + 8) < file.load(at: $1 + 8) }
        var records: [JournalRecord] = []
        for half in halves {
            let count = min(file.load(at: half), UInt64(JournalLayout.capacity(file.byteCount)))
            for index in 0..<Int(count) {
                let offset = half + JournalLayout.halfHeaderByteCount + index * JournalRecord.byteCount
                records.append(
                    JournalRecord(
                        cluster: file.load(at: offset), entry: L2Entry(file.load(at: offset + 8)),
                        bitmap: SubclusterBitmap(file.load(at: offset + 16))))
            }
        }
        var seen: Set<UInt64> = []
        return records.reversed().filter { seen.insert($0.cluster).inserted }.reversed()
    }
}
