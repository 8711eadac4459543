import BlockStorage

/// An internal snapshot: an entry of the snapshot table.
public struct QCOW2Snapshot: Equatable, Sendable {
    /// A number as text, unique in the image.
    public var id: String
    /// What it was called at its creation; not always unique.
    public var name: String
    /// In bytes from the start of the file.
    public var l1TableOffset: UInt64
    /// In entries of 8 bytes.
    public var l1EntryCount: UInt32
    /// Of the disk, in bytes; `nil` where the image does not say (then the disk had its present size).
    public var diskSize: UInt64?
    /// Of the guest's saved memory, in bytes; 0 without one.
    public var vmStateSize: UInt64
    /// Seconds since 1970, UTC.
    public var seconds: UInt32
    /// Within the second.
    public var nanoseconds: UInt32
    /// How long the guest had run, in nanoseconds.
    public var vmClock: UInt64
    /// Extra data after the state and disk size, kept as it is.
    public var unknownExtraData: [UInt8]

    /// A snapshot with the given fields.
    public init(
        id: String, name: String, l1TableOffset: UInt64, l1EntryCount: UInt32, diskSize: UInt64?,
        vmStateSize: UInt64 = 0, seconds: UInt32 = 0, nanoseconds: UInt32 = 0, vmClock: UInt64 = 0,
        unknownExtraData: [UInt8] = []
    ) {
        self.id = id
        self.name = name
        self.l1TableOffset = l1TableOffset
        self.l1EntryCount = l1EntryCount
        self.diskSize = diskSize
        self.vmStateSize = vmStateSize
        self.seconds = seconds
        self.nanoseconds = nanoseconds
        self.vmClock = vmClock
        self.unknownExtraData = unknownExtraData
    }
}

/// The snapshot table: entries of different lengths, one after the other, each aligned to 8 bytes.
enum SnapshotTable {
    /// The fixed part of an entry, in bytes.
    static let fixedByteCount = 40

    static func encoded(_ snapshots: [QCOW2Snapshot]) throws(StorageError) -> [UInt8] {
        var bytes: [UInt8] = []
        for snapshot in snapshots {
            let id = Array(snapshot.id.utf8), name = Array(snapshot.name.utf8)
            guard let idByteCount = UInt16(exactly: id.count), let nameByteCount = UInt16(exactly: name.count) else {
                throw StorageError(
                    .invalidArgument, "write snapshot table", at: snapshot.name.prefix(64).description,
                    why: "its name is too long")
            }
            var extra: [UInt8] = []
            extra.appendBigEndian(snapshot.vmStateSize)
            if let diskSize = snapshot.diskSize {
                extra.appendBigEndian(diskSize)
                extra += snapshot.unknownExtraData
            }
            bytes.appendBigEndian(snapshot.l1TableOffset)
            bytes.appendBigEndian(snapshot.l1EntryCount)
            bytes.appendBigEndian(idByteCount)
            bytes.appendBigEndian(nameByteCount)
            bytes.appendBigEndian(snapshot.seconds)
            bytes.appendBigEndian(snapshot.nanoseconds)
            bytes.appendBigEndian(snapshot.vmClock)
            bytes.appendBigEndian(UInt32(clamping: snapshot.vmStateSize))
            bytes.appendBigEndian(UInt32(extra.count))
            bytes += extra + id + name
            bytes.pad(to: 8)
        }
        guard UInt64(bytes.count) <= QCOW2Limits.snapshotTable, snapshots.count <= Int(QCOW2Limits.snapshotCount) else {
            throw StorageError(.noSpace, "write snapshot table", why: "there are too many snapshots")
        }
        return bytes
    }

    /// Reads the table that `header` names, and how many bytes it takes, which depends on who wrote it. Throws
    /// `corrupt`, naming the entry, for anything invalid; takes no more memory than the limits allow.
    static func contents(_ header: QCOW2Header, from volume: any Volume) async throws(StorageError)
        -> (snapshots: [QCOW2Snapshot], byteCount: UInt64)
    {
        var snapshots: [QCOW2Snapshot] = []
        var reader = Reader(volume: volume, start: header.snapshotTableOffset)
        for index in 0..<Int(header.snapshotCount) {
            snapshots.append(try await reader.next(index, header))
        }
        return (snapshots, reader.position)
    }

    static func invalid(_ index: Int, _ why: String) -> StorageError {
        StorageError(.corrupt, "read snapshot table", at: "entry \(index)", why: why)
    }

    /// Reads ahead in pieces, so that a table takes few requests and a hostile one little memory.
    private struct Reader {
        static let pieceByteCount = 64 << 10

        let volume: any Volume
        let start: UInt64
        /// Of the next entry, from `start`.
        var position: UInt64 = 0
        var piece: [UInt8] = []
        var pieceStart: UInt64 = 0

        init(volume: any Volume, start: UInt64) {
            self.volume = volume
            self.start = start
        }

        /// `count` bytes from `position` on.
        mutating func bytes(_ count: Int, _ index: Int) async throws(StorageError) -> [UInt8] {
            let end = position + UInt64(count)
            guard end <= QCOW2Limits.snapshotTable else {
                throw SnapshotTable.invalid(index, "the table is larger than \(QCOW2Limits.snapshotTable) bytes")
            }
            if position < pieceStart || end > pieceStart + UInt64(piece.count) {
                let size = volume.geometry.size
                let offset = start + position
                guard offset < size, UInt64(count) <= size - offset else {
                    throw SnapshotTable.invalid(index, "it lies past the end of the file")
                }
                let wanted = Int(min(size - offset, UInt64(max(count, Self.pieceByteCount))))
                piece = try await volume.readBytes(at: offset, count: wanted)
                pieceStart = position
            }
            let first = Int(position - pieceStart)
            return Array(piece[first..<first + count])
        }

        mutating func next(_ index: Int, _ header: QCOW2Header) async throws(StorageError) -> QCOW2Snapshot {
            let fixed = try await bytes(SnapshotTable.fixedByteCount, index)
            let idByteCount = Int(fixed.bigEndian(at: 12, as: UInt16.self))
            let nameByteCount = Int(fixed.bigEndian(at: 14, as: UInt16.self))
            let extraByteCount: UInt32 = fixed.bigEndian(at: 36)
            guard extraByteCount <= QCOW2Limits.snapshotExtraData else {
                throw SnapshotTable.invalid(index, "\(extraByteCount) bytes of extra data are too many")
            }
            let count = SnapshotTable.fixedByteCount + Int(extraByteCount) + idByteCount + nameByteCount
            let entry = try await bytes(count, index)
            position += UInt64((count + 7) / 8 * 8)

            let extra = Array(entry[SnapshotTable.fixedByteCount..<SnapshotTable.fixedByteCount + Int(extraByteCount)])
            let texts = entry[(SnapshotTable.fixedByteCount + Int(extraByteCount))...]
            let smallVMStateSize: UInt32 = entry.bigEndian(at: 32)
            let snapshot = QCOW2Snapshot(
                id: String(decoding: texts.prefix(idByteCount), as: UTF8.self),
                name: String(decoding: texts.dropFirst(idByteCount), as: UTF8.self),
                l1TableOffset: entry.bigEndian(at: 0),
                l1EntryCount: entry.bigEndian(at: 8),
                diskSize: extra.count >= 16 ? extra.bigEndian(at: 8) : nil,
                vmStateSize: extra.count >= 8 ? extra.bigEndian(at: 0) : UInt64(smallVMStateSize),
                seconds: entry.bigEndian(at: 16),
                nanoseconds: entry.bigEndian(at: 20),
                vmClock: entry.bigEndian(at: 24),
                unknownExtraData: Array(extra.dropFirst(16)))
            try check(snapshot, index, header)
            return snapshot
        }

        private func check(_ snapshot: QCOW2Snapshot, _ index: Int, _ header: QCOW2Header) throws(StorageError) {
            guard UInt64(snapshot.l1EntryCount) * 8 <= QCOW2Limits.l1Table else {
                throw SnapshotTable.invalid(index, "an L1 table of \(snapshot.l1EntryCount) entries is too large")
            }
            guard snapshot.l1TableOffset % header.clusterSize == 0, snapshot.l1TableOffset < QCOW2Limits.hostOffset
            else {
                throw SnapshotTable.invalid(index, "its L1 table cannot be at offset \(snapshot.l1TableOffset)")
            }
        }
    }
}
