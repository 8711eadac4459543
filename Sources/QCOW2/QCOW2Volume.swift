import BlockStorage
import IORuntime

/// A disk in a QCOW2 image, on any volume that can grow.
///
/// Reads and writes of clusters that are in place go straight to the volume below. Writes that need a cluster put the
/// data there first and then link it in memory; `flush` makes the tables durable in an order that leaves, after power
/// loss at any moment, an image that needs no repair (at worst clusters are lost). With a journal, the death of the
/// process loses nothing that was acknowledged either.
///
/// The volume below must be locked by whoever opened it: the engine assumes that nobody else writes.
public final class QCOW2Volume: ResizableVolume, CachingVolume {
    /// Holds the image.
    let base: any ResizableVolume
    /// Holds the guest's data: `base`, or the external data file.
    let data: any ResizableVolume
    let backing: (any Volume)?
    let layout: QCOW2Layout
    let isReadOnly: Bool
    let isVersion2: Bool
    let hasExternalData: Bool
    let hasRawExternalData: Bool
    let journal: QCOW2Journal?
    let state: Locked<QCOW2State>
    /// Bytes of changed L2 entries that are kept in memory before they are written even without a flush.
    let dirtyLimit: Int

    init(
        base: any ResizableVolume, options: QCOW2OpenOptions, header: QCOW2Header, state: sending QCOW2State,
        isReadOnly: Bool
    ) {
        self.base = base
        data = options.dataFile ?? base
        backing = options.backing
        layout = header.layout
        self.isReadOnly = isReadOnly
        isVersion2 = header.version == 2
        hasExternalData = header.hasExternalData
        hasRawExternalData = header.autoclearFeatures.contains(.rawExternalData)
        journal = header.version == 2 ? nil : options.journal
        dirtyLimit = max(options.cacheByteCount / 4, 256 << 10)
        self.state = Locked(state)
    }

    /// What the image says of itself, as it is now.
    public var header: QCOW2Header { state.withLock { $0.header } }

    /// The internal snapshots, in the order of the image.
    public var snapshots: [QCOW2Snapshot] { state.withLock { $0.snapshots } }

    public var geometry: VolumeGeometry {
        VolumeGeometry(
            size: state.withLock { $0.size }, preferredTransfer: UInt32(max(layout.clusterSize, 4096)),
            isReadOnly: isReadOnly)
    }

    public var stack: String {
        let below = hasExternalData ? "\(base.stack), data \(data.stack)" : base.stack
        return backing.map { "qcow2(\(below), backing \($0.stack))" } ?? "qcow2(\(below))"
    }

    /// Of the L2 tables of this image and of those below it.
    public var cacheLookups: CacheLookups {
        let own = state.withLock { state in
            // A request that had to load a slice finds it afterwards.
            let (found, loaded) = (state.slices.foundCount, state.slices.loadedCount)
            return CacheLookups(hits: found - min(found, loaded), misses: loaded)
        }
        return (backing as? any CachingVolume).map { own + $0.cacheLookups } ?? own
    }

    func checkWritable() throws(StorageError) {
        if isReadOnly {
            throw StorageError(.readOnly, "write volume", at: base.stack, why: "it is open for reading only")
        }
    }

    /// Lets a request in, once the structure of the image is not being changed.
    func enter() async throws(StorageError) -> RequestGate.Token {
        while true {
            let token = try state.withLock { state throws(StorageError) -> RequestGate.Token? in
                try state.check(0, 0)
                return state.requests.isShut ? nil : state.requests.enter()
            }
            if let token { return token }
            await withCheckedContinuation { continuation in
                state.withLock { $0.requests.waitForEntry(continuation) }
            }
        }
    }

    @inline(__always)
    func leave(_ token: RequestGate.Token) {
        state.withLock { $0.requests.leave(token) }
    }
}

extension QCOW2State {
    /// Throws unless a request of these bytes can be served.
    @inline(__always)
    func check(_ offset: UInt64, _ byteCount: Int) throws(StorageError) {
        guard !isClosed, offset <= size, UInt64(byteCount) <= size - offset else {
            throw rejection(offset, byteCount)
        }
    }

    @inline(never)
    private func rejection(_ offset: UInt64, _ byteCount: Int) -> StorageError {
        if isClosed { return StorageError(.notAttached, "access volume", why: "the volume is closed") }
        return StorageError(
            .outOfRange, "access volume", at: "\(byteCount) bytes at \(offset)", why: "the volume has \(size) bytes")
    }
}
