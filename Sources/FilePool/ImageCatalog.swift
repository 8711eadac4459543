import BlockStorage
import IORuntime
import QCOW2

/// What the header of a file says, if the file is a QCOW2 image.
struct ImageFacts: Sendable {
    /// In bytes.
    var virtualSize: UInt64 = 0
    var backingFile: String?
    var dataFile: String?
    var snapshots: [String] = []
    /// Why the image could not be read.
    var failure: StorageError?

    init() {}

    /// The facts of the image that begins so; nil when that does not tell all of them.
    init?(beginning bytes: [UInt8]) {
        do throws(StorageError) {
            guard let header = try QCOW2Header(beginning: bytes), header.snapshotCount == 0 else { return nil }
            virtualSize = header.size
            backingFile = header.backingFile
            dataFile = header.dataFile
        } catch {
            guard error.code == .corrupt else { return nil }
            failure = error
        }
    }

    /// Reads the facts of the image in `volume`, which is closed after that.
    static func read(from volume: any ResizableVolume) async -> ImageFacts {
        var facts = ImageFacts()
        do throws(StorageError) {
            let header = try await QCOW2Header.read(from: volume)
            facts.virtualSize = header.size
            facts.backingFile = header.backingFile
            facts.dataFile = header.dataFile
            if header.snapshotCount > 0 && !header.hasExternalData {
                var options = QCOW2OpenOptions()
                options.isReadOnly = true
                facts.snapshots = try await QCOW2Volume.open(volume, options).snapshots.map(\.name)
            }
        } catch {
            facts.failure = error
        }
        try? await volume.close()
        return facts
    }
}

/// Remembers what images say, for as long as their files do not change: asking a thousand images for their backing
/// files takes a thousand status calls then, and no read.
final class ImageCatalog: Sendable {
    private struct Key: Hashable {
        var device: UInt64
        var inode: UInt64

        init(_ status: FileStatus) { (device, inode) = (status.device, status.inode) }
    }

    private struct Entry {
        var changedAt: Int64
        var size: UInt64
        var facts: ImageFacts
    }

    private static let limit = 100_000
    private let entries = Locked<[Key: Entry]>([:])

    func facts(_ status: FileStatus) -> ImageFacts? {
        entries.withLock { entries in
            guard let entry = entries[Key(status)], entry.changedAt == status.changedAt, entry.size == status.size
            else { return nil }
            return entry.facts
        }
    }

    func remember(_ facts: ImageFacts, of status: FileStatus) {
        entries.withLock { entries in
            if entries.count >= Self.limit { entries.removeAll() }
            entries[Key(status)] = Entry(changedAt: status.changedAt, size: status.size, facts: facts)
        }
    }

    /// Two changes within the clock's step look like one: what this process changes, it forgets.
    func forget(_ status: FileStatus) {
        entries.withLock { $0[Key(status)] = nil }
    }
}
