import BlockStorage
import IORuntime

extension QCOW2Volume {
    /// What is compared and copied at once, in bytes.
    private static let rebaseStep: UInt64 = 1 << 20
    /// Ranges that differ are copied in units of at least this, or of a cluster, in bytes.
    private static let rebaseUnit: UInt64 = 64 << 10

    /// Makes the image in `base` build on another backing file, or on none, without changing its disk: what the two
    /// backing files show differently is copied into the image first. With `new` nil this flattens a linked clone.
    ///
    /// `old` is the present backing file and `new` the next one, opened; `name` and `format` go into the header as they
    /// are. All volumes stay open. Nobody may use the image meanwhile. Power loss leaves a disk with the same contents,
    /// on the old backing file or the new one. Throws `invalidArgument` where the header has no room for the name, and
    /// `notSupported` for an image with snapshots, which would show the new backing file.
    public static func rebase(
        _ base: any ResizableVolume, from old: (any Volume)?, to new: (any Volume)?, name: String?, format: String?,
        progress: @Sendable (UInt64) -> Void = { _ in }
    ) async throws(StorageError) {
        // Refuses what cannot be done before anything is copied.
        let header = try await QCOW2Header.read(from: base)
        let sector = try await base.readBytes(at: 0, count: Int(QCOW2Limits.sector))
        _ = try BackingNameChange(header, sector, name: name, format: format)
        guard header.snapshotCount == 0 else {
            throw StorageError(
                .notSupported, "rebase image", at: base.stack,
                why: "its snapshots build on the backing file too: delete them first")
        }
        let kept = KeptOpen(base)
        var options = QCOW2OpenOptions()
        options.backing = old.map { KeptOpen($0) }
        let image = try await open(kept, options)
        options.isReadOnly = true
        options.backing = new.map { KeptOpen($0) }
        do {
            // A second view of the same tables: it never comes back to a range that the first one has written.
            let rebased = try await open(kept, options)
            try await image.copyDifferences(from: rebased, progress)
            try await image.flush()
            try await rebased.close()
        } catch {
            try? await image.close()
            throw error
        }
        try await image.close()
        try await setBacking(of: base, name: name, format: format)
    }

    /// Rewrites the name and the format of the backing file in the header and nothing else: right where the file was
    /// only moved. Nobody may use the image meanwhile. Power loss leaves the old name or the new one.
    ///
    /// Throws `invalidArgument` where the header has no room for the name.
    public static func setBacking(
        of base: any ResizableVolume, name: String?, format: String?
    ) async throws(StorageError) {
        let header = try await QCOW2Header.read(from: base)
        try header.checkSupported()
        let sector = try await base.readBytes(at: 0, count: Int(QCOW2Limits.sector))
        let change = try BackingNameChange(header, sector, name: name, format: format)
        if let place = change.nameOffset {
            try await base.writeBytes(change.name, at: place)
            try await base.flush()
        }
        try await base.writeBytes(change.sector, at: 0)
        try await base.flush()
    }

    /// Writes what this volume shows and `other` does not into this volume's own clusters.
    private func copyDifferences(
        from other: QCOW2Volume, _ progress: @Sendable (UInt64) -> Void
    ) async throws(StorageError) {
        let size = geometry.size
        let unit = Int(max(Self.rebaseUnit, layout.clusterSize))
        let step = max(Self.rebaseStep, layout.clusterSize)
        var position: UInt64 = 0
        while position < size {
            let end = min(position + step, size)
            var holdsData = try await holdsData(position..<end)
            if !holdsData { holdsData = try await other.holdsData(position..<end) }
            if holdsData {
                let mine = try await readBytes(at: position, count: Int(end - position))
                let theirs = try await other.readBytes(at: position, count: Int(end - position))
                for start in stride(from: 0, to: mine.count, by: unit) {
                    let part = start..<min(start + unit, mine.count)
                    if mine.rawBytes.extracting(part).hasSameBytes(as: theirs.rawBytes.extracting(part)) { continue }
                    // Zeros too are written as bytes: an unallocated cluster would show the new backing file.
                    try await write(mine.rawBytes.extracting(part), at: position + UInt64(part.lowerBound))
                }
            }
            position = end
            progress(position)
            if Task.isCancelled { throw StorageError(.cancelled, "rebase image", at: base.stack) }
        }
    }

    private func holdsData(_ range: Range<UInt64>) async throws(StorageError) -> Bool {
        try await extents(in: range).contains { $0.kind == .data }
    }

    /// Writes what this disk shows and `target` does not into `target`, its backing file, opened for writing, and makes
    /// it durable. A `target` that is shorter than the disk grows.
    ///
    /// The image keeps its clusters, which then hold the same bytes as the backing file. Every other image on that
    /// backing file changes with it, so there must be none.
    public func commit(
        into target: any ResizableVolume, progress: @Sendable (UInt64) -> Void = { _ in }
    ) async throws(StorageError) {
        let size = geometry.size
        if target.geometry.size < size { try await target.resize(to: size) }
        var position: UInt64 = 0
        while position < size {
            let end = min(position + Self.rebaseStep, size)
            let mine = try await readBytes(at: position, count: Int(end - position))
            let theirs = try await target.readBytes(at: position, count: Int(end - position))
            for start in stride(from: 0, to: mine.count, by: Int(Self.rebaseUnit)) {
                let part = start..<min(start + Int(Self.rebaseUnit), mine.count)
                let bytes = mine.rawBytes.extracting(part)
                if bytes.hasSameBytes(as: theirs.rawBytes.extracting(part)) { continue }
                let offset = position + UInt64(part.lowerBound)
                if bytes.isZero {
                    try await target.writeZeroes(offset..<offset + UInt64(part.count))
                } else {
                    try await target.write(bytes, at: offset)
                }
            }
            position = end
            progress(position)
            if Task.isCancelled { throw StorageError(.cancelled, "commit image", at: base.stack) }
        }
        try await target.flush()
    }
}

/// The first sector of a header with another backing file, and the name, where it does not fit into that sector.
///
/// The first sector is all that changes of a header, so that a power loss leaves the old one or the new one.
private struct BackingNameChange {
    let sector: [UInt8]
    let name: [UInt8]
    /// Where the name has to be before the sector is written; `nil` where it is part of it.
    let nameOffset: UInt64?

    /// The change of `header`, whose first sector is `old`.
    init(_ header: QCOW2Header, _ old: [UInt8], name: String?, format: String?) throws(StorageError) {
        let bytes = Array((name ?? "").utf8)
        guard bytes.count <= QCOW2Limits.backingFileName, !bytes.contains(0) else {
            throw StorageError(
                .invalidArgument, "rebase image",
                why: "the name of a backing file has at most 1023 bytes, none of them 0")
        }
        var changed = header
        changed.backingFile = nil
        changed.backingFormat = name == nil ? nil : format
        let sectorSize = old.count
        if changed.byteCountBeforeName > sectorSize { changed.extensions.removeAll { $0.kind == .featureNames } }
        let used = changed.byteCountBeforeName
        guard used <= sectorSize else { throw Self.noRoom }
        var sector = Array(try changed.encoded().prefix(sectorSize))
        self.name = bytes

        var place = 0
        if !bytes.isEmpty, used + bytes.count <= sectorSize {
            place = used
            sector.replaceSubrange(used..<used + bytes.count, with: bytes)
            nameOffset = nil
        } else if !bytes.isEmpty {
            // Beside the old extensions and the old name, which have to stay until the sector is switched.
            let oldStart = Int(old.bigEndian(at: QCOW2Header.FieldOffset.backingFile, as: UInt64.self))
            let oldEnd = oldStart + Int(old.bigEndian(at: QCOW2Header.FieldOffset.backingFile + 8, as: UInt32.self))
            let first = max(sectorSize, header.byteCountBeforeName)
            let free = [first, max(first, oldEnd)].first { start in
                (start >= oldEnd || start + bytes.count <= oldStart)
                    && start + bytes.count <= Int(header.clusterSize)
            }
            guard let free else { throw Self.noRoom }
            place = free
            nameOffset = UInt64(free)
        } else {
            nameOffset = nil
        }
        sector.setBigEndian(UInt64(place), at: QCOW2Header.FieldOffset.backingFile)
        sector.setBigEndian(UInt32(bytes.count), at: QCOW2Header.FieldOffset.backingFile + 8)
        self.sector = sector
    }

    private static var noRoom: StorageError {
        StorageError(.invalidArgument, "rebase image", why: "the header has no room for the name of the backing file")
    }
}

extension QCOW2Header {
    /// What the fields and the extensions take, with the end of the list, in bytes.
    fileprivate var byteCountBeforeName: Int {
        let fields = version == 2 ? Self.version2ByteCount : Self.version3ByteCount + unknownFields.count
        return extensions.reduce(fields + 8) { $0 + $1.encodedByteCount }
    }
}

/// A volume that somebody else closes.
private struct KeptOpen: ResizableVolume {
    let volume: any Volume

    init(_ volume: any Volume) { self.volume = volume }

    var geometry: VolumeGeometry { volume.geometry }
    var stack: String { volume.stack }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try await volume.read(into: &buffer, at: offset)
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try await volume.write(bytes, at: offset, options: options)
    }

    func readv(_ vector: IOVector) async throws(StorageError) { try await volume.readv(vector) }

    func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
        try await volume.writev(vector, options: options)
    }

    func flush() async throws(StorageError) { try await volume.flush() }
    func discard(_ range: Range<UInt64>) async throws(StorageError) { try await volume.discard(range) }

    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
        try await volume.writeZeroes(range, options: options)
    }

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try await volume.extents(in: range)
    }

    func resize(to size: UInt64) async throws(StorageError) {
        guard let volume = volume as? any ResizableVolume else {
            throw StorageError(.notSupported, "resize", at: stack, why: "the volume has a fixed size")
        }
        try await volume.resize(to: size)
    }

    func close() async throws(StorageError) { try await volume.flush() }
}
