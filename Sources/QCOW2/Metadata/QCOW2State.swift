import BlockStorage
import IORuntime

/// Everything of an open image that changes, behind one lock: tables in memory, requests in flight, what is to be
/// flushed and freed. Its methods decide; `QCOW2Volume` does the I/O between them.
struct QCOW2State {
    var header: QCOW2Header
    let layout: QCOW2Layout
    /// Bits that no entry of an allocated or zero cluster may have.
    let invalidEntryBits: UInt64

    /// No guest data lies below: there is the header, except in an external data file.
    private let firstDataOffset: UInt64

    /// Of the disk, in bytes: the header's, or that of the snapshot which is read.
    var size: UInt64
    /// The active L1 table, or that of the snapshot, in this machine's byte order.
    var l1: [UInt64]
    /// Sectors of the L1 table, 64 entries each, that a flush has to write.
    var dirtyL1Sectors: Set<Int> = []
    var slices: SliceCache
    /// The most memory for slices, in bytes.
    let cacheByteCount: Int
    var refcounts: Refcounts
    var snapshots: [QCOW2Snapshot] = []
    /// Of the snapshot table in the image, in bytes.
    var snapshotTableByteCount: UInt64 = 0

    /// Of the volume that holds the guest's data, in bytes.
    var dataSize: UInt64
    /// Of the volume that holds the image, in bytes; the same as `dataSize` without an external data file.
    var baseSize: UInt64
    /// Host bytes from here on were never written and read as zeros; what grows the file adds to them.
    var zeroFrom: UInt64

    var requests = RequestGate()
    var allocations = AllocationsInFlight()
    var freed = FreedClusters()
    var flush = FlushRounds()
    var loading: [MetadataPiece: [CheckedContinuation<Void, Never>]] = [:]
    /// L2 tables that are being created or copied, by L1 index, and who waits for them.
    var preparingTables: [Int: [CheckedContinuation<Void, Never>]] = [:]
    var growth = Growth()
    var decompressed = DecompressedClusters()
    var journal: JournalWriter?
    /// Changed tables are written before a request ends, for want of a journal that could be bound to the image.
    let commitsTables: Bool
    var isClosed = false
    /// The header says that it is being written; see `prepareForWriting`.
    var isReadyForWriting = false
    /// The file may be longer than the image needs.
    var hasGrown = false
    /// A flush is to make durable what was unlinked before the current epoch.
    var closedEpochInFlush = false
    /// The first sector of the image, as it was last written.
    var headerSector: [UInt8]

    init(
        header: QCOW2Header, headerSector: [UInt8], size: UInt64, l1: [UInt64], refcountTable: [UInt64],
        cacheByteCount: Int, baseSize: UInt64,
        dataSize: UInt64, commitsTables: Bool = false
    ) {
        self.commitsTables = commitsTables
        self.header = header
        self.headerSector = headerSector
        layout = header.layout
        invalidEntryBits =
            ~(L2Entry.offsetMask | L2Entry.copiedFlag | (header.version == 3 && !header.hasExtendedL2 ? 1 : 0))
            | header.layout.clusterMask & L2Entry.offsetMask
        firstDataOffset = header.hasExternalData ? 0 : header.clusterSize
        self.size = size
        self.l1 = l1
        self.baseSize = baseSize
        self.cacheByteCount = cacheByteCount
        self.dataSize = dataSize
        zeroFrom = header.layout.roundedUp(baseSize)
        // No more slices than the disk has.
        let sliceCount = header.layout.clusterCount(forSize: size).dividedRoundingUp(
            by: UInt64(header.layout.entriesPerSlice))
        let limit = min(cacheByteCount / header.layout.sliceByteCount, Int(clamping: sliceCount))
        slices = SliceCache(limit: max(limit, 8))
        refcounts = Refcounts(
            layout: header.layout, table: refcountTable, memoryLimit: max(cacheByteCount / 4, 1 << 20))
    }
}

/// A part of the metadata that is read on demand.
enum MetadataPiece: Hashable, Sendable {
    case slice(UInt64)
    case refcountBlock(Int)
    /// The header, made ready for writing.
    case header
}

/// Where a run of guest bytes is.
struct Mapping {
    enum Place {
        /// From this offset on in the volume that holds the data.
        case host(UInt64)
        case zero
        /// Nowhere in this image: as the backing file, or zeros.
        case unallocated
        case compressed(L2Entry)
    }

    var place: Place
    /// How far the run goes.
    var byteCount: UInt64
}

/// What a look at the tables gives.
enum Lookup<Found> {
    case found(Found)
    /// This must be loaded first.
    case missing(MetadataPiece)
    case invalid(StorageError)
}

extension QCOW2State {
    /// Where the guest bytes from `offset` on are, for at most `limit` bytes; both inside the disk.
    @inline(__always)
    mutating func lookup(_ offset: UInt64, _ limit: UInt64) -> Lookup<Mapping> {
        let cluster = layout.cluster(of: offset)
        let slice = layout.slice(of: cluster)
        guard let slot = slices.find(slice) else { return lookupUncached(offset, limit, slice) }
        if layout.hasExtendedL2 { return lookupSubclusters(offset, limit, slot) }
        let word = layout.word(of: cluster)
        let entry = L2Entry(slices.slots[slot].words[word])
        let inCluster = offset & layout.clusterMask
        if entry.isCompressed {
            return .found(
                Mapping(place: .compressed(entry), byteCount: min(limit, layout.clusterSize - inCluster)))
        }
        guard entry.word & invalidEntryBits == 0 else { return .invalid(invalidEntry(entry, offset)) }

        var end = layout.clusterSize - inCluster
        var next = word + 1
        let words = layout.wordsPerSlice
        if entry.isZero || !entry.hasCluster {
            let kind = entry.isZero
            while end < limit, next < words {
                let other = L2Entry(slices.slots[slot].words[next])
                guard !other.isCompressed, other.isZero == kind, kind || !other.hasCluster else { break }
                end += layout.clusterSize
                next += 1
            }
            return .found(Mapping(place: kind ? .zero : .unallocated, byteCount: min(end, limit)))
        }
        while end < limit, next < words {
            let other = L2Entry(slices.slots[slot].words[next])
            guard other.word & ~L2Entry.copiedFlag == entry.offset + end + inCluster else { break }
            end += layout.clusterSize
            next += 1
        }
        return hostMapping(entry.offset + inCluster, min(end, limit), offset)
    }

    /// A run of host bytes, as far as the volume below has them: a file may end inside its last cluster.
    @inline(__always)
    private func hostMapping(_ host: UInt64, _ byteCount: UInt64, _ offset: UInt64) -> Lookup<Mapping> {
        if host + byteCount <= dataSize, host >= firstDataOffset {
            return .found(Mapping(place: .host(host), byteCount: byteCount))
        }
        return cutMapping(host, byteCount, offset)
    }

    @inline(never)
    private func cutMapping(_ host: UInt64, _ byteCount: UInt64, _ offset: UInt64) -> Lookup<Mapping> {
        if host < firstDataOffset {
            return .invalid(
                StorageError(
                    .corrupt, "map", at: "guest offset \(offset)", why: "its data would be at \(host), in the header"))
        }
        if host < dataSize { return .found(Mapping(place: .host(host), byteCount: dataSize - host)) }
        if header.hasExternalData || host & ~layout.clusterMask < dataSize {
            let end = layout.clusterSize - host & layout.clusterMask
            return .found(Mapping(place: .zero, byteCount: header.hasExternalData ? byteCount : min(end, byteCount)))
        }
        return .invalid(
            StorageError(
                .corrupt, "map", at: "guest offset \(offset)",
                why: "its data would be at \(host), past the end of the file at \(dataSize)"))
    }

    @inline(never)
    func invalidEntry(_ entry: L2Entry, _ offset: UInt64) -> StorageError {
        StorageError(
            .corrupt, "map", at: "guest offset \(offset)",
            why: "the L2 entry 0x\(String(entry.word, radix: 16)) has reserved bits or an unaligned offset")
    }

    /// Of a slice that is not in memory: with no table at all, nothing has to be read.
    @inline(never)
    private func lookupUncached(_ offset: UInt64, _ limit: UInt64, _ slice: UInt64) -> Lookup<Mapping> {
        let index = layout.l1Index(ofSlice: slice)
        guard index < l1.count else {
            return .invalid(
                StorageError(.corrupt, "map", at: "guest offset \(offset)", why: "the L1 table does not reach so far"))
        }
        if L1Entry(l1[index]).offset != 0 { return .missing(.slice(slice)) }
        var end = index + 1
        var byteCount = layout.l2Coverage - offset % layout.l2Coverage
        while byteCount < limit, end < l1.count, L1Entry(l1[end]).offset == 0 {
            byteCount += layout.l2Coverage
            end += 1
        }
        return .found(Mapping(place: .unallocated, byteCount: min(byteCount, limit)))
    }

    /// As `lookup`, for one cluster with subclusters.
    private func lookupSubclusters(_ offset: UInt64, _ limit: UInt64, _ slot: Int) -> Lookup<Mapping> {
        let word = layout.word(of: layout.cluster(of: offset))
        let entry = L2Entry(slices.slots[slot].words[word])
        let bitmap = SubclusterBitmap(slices.slots[slot].words[word + 1])
        let inCluster = offset & layout.clusterMask
        if entry.isCompressed {
            guard bitmap == .none else { return .invalid(invalidEntry(entry, offset)) }
            return .found(
                Mapping(place: .compressed(entry), byteCount: min(limit, layout.clusterSize - inCluster)))
        }
        guard entry.word & invalidEntryBits == 0, bitmap.isValid, entry.hasCluster || bitmap.allocated == 0 else {
            return .invalid(invalidEntry(entry, offset))
        }
        let first = layout.subcluster(of: offset)
        let isAllocated = bitmap.allocated >> UInt32(first) & 1 != 0
        let isZero = bitmap.zero >> UInt32(first) & 1 != 0
        var end = first + 1
        while end < 32, (bitmap.allocated >> UInt32(end) & 1 != 0) == isAllocated,
            (bitmap.zero >> UInt32(end) & 1 != 0) == isZero
        {
            end += 1
        }
        let byteCount = min(UInt64(end) << UInt64(layout.subclusterBits) - inCluster, limit)
        if isZero { return .found(Mapping(place: .zero, byteCount: byteCount)) }
        if !isAllocated { return .found(Mapping(place: .unallocated, byteCount: byteCount)) }
        return hostMapping(entry.offset + inCluster, byteCount, offset)
    }

    /// Puts a slice into memory that was read from its table.
    mutating func insertSlice(_ slice: UInt64, _ words: [UInt64]) {
        if slices.contains(slice) { return }
        var isSuspect = false
        if !refcounts.metadataClusters.isEmpty {
            for word in stride(from: 0, to: words.count, by: layout.wordsPerEntry) {
                let entry = L2Entry(words[word])
                if entry.isCompressed || !entry.hasCluster { continue }
                isSuspect = isSuspect || refcounts.metadataClusters.contains(layout.cluster(of: entry.offset))
            }
        }
        slices.insert(slice, words, isSuspect: isSuspect)
    }

    /// Where slice `slice` lies in the image.
    func hostOffset(ofSlice slice: UInt64) throws(StorageError) -> UInt64 {
        let index = layout.l1Index(ofSlice: slice)
        let entry = L1Entry(index < l1.count ? l1[index] : 0)
        try checkMetadata(entry.offset, "L2 table", entry.hasReservedBits)
        return entry.offset + layout.offsetInTable(ofSlice: slice)
    }

    /// Throws `corrupt` unless a cluster of metadata can be at `offset`.
    func checkMetadata(_ offset: UInt64, _ what: String, _ hasReservedBits: Bool = false) throws(StorageError) {
        guard offset != 0, layout.isAligned(offset), offset < baseSize, !hasReservedBits else {
            throw StorageError(
                .corrupt, "read \(what)", at: "offset \(offset)",
                why: "it is not aligned, lies past the end of the file, or has reserved bits")
        }
    }
}
