import BlockStorage
import Foundation
import IORuntime

extension QCOW2Volume {
    /// Keeps the disk as it is now under a name. Writes from then on copy what the snapshot shares.
    ///
    /// Throws `alreadyExists` for a name that is taken, and `notSupported` where refcounts have too few bits or the
    /// data is in an external file.
    @discardableResult
    public func createSnapshot(_ name: String) async throws(StorageError) -> QCOW2Snapshot {
        let now = Date().timeIntervalSince1970
        return try await changeStructure { (old, counts) async throws(StorageError) in
            if old.snapshots.contains(where: { $0.name == name || $0.id == name }) {
                throw StorageError(.alreadyExists, "create snapshot", at: name, why: "the image has one of that name")
            }
            let largest = old.snapshots.compactMap { UInt64($0.id) }.max() ?? 0
            let (l1TableOffset, l1EntryCount) = state.withLock { ($0.header.l1TableOffset, $0.header.l1EntryCount) }
            let snapshot = QCOW2Snapshot(
                id: String(largest.addingSaturating(1)), name: name, l1TableOffset: l1TableOffset,
                l1EntryCount: l1EntryCount, diskSize: old.size, seconds: UInt32(clamping: Int64(now)),
                nanoseconds: UInt32(clamping: Int64((now - now.rounded(.down)) * 1e9)))
            // The snapshot takes over the active tables, and the disk gets tables of its own.
            try await count(old.l1, 1, &counts)
            let new = Structure(
                size: old.size, l1: old.l1, l1TableOffset: nil, snapshots: old.snapshots + [snapshot])
            return (new, snapshot)
        }
    }

    /// Removes a snapshot and frees what only it had.
    public func deleteSnapshot(_ name: String) async throws(StorageError) {
        try await changeStructure { (old, counts) async throws(StorageError) in
            let snapshot = try state.withLock { state throws(StorageError) in try state.findSnapshot(name) }
            try await drop(try await l1(of: snapshot), at: snapshot.l1TableOffset, &counts)
            var new = old
            new.snapshots.removeAll { $0.id == snapshot.id }
            return (new, ())
        }
    }

    /// Makes the disk what it was at a snapshot, its size included. The snapshot stays.
    public func applySnapshot(_ name: String) async throws(StorageError) {
        try await changeStructure { (old, counts) async throws(StorageError) in
            let snapshot = try state.withLock { state throws(StorageError) in try state.findSnapshot(name) }
            let size = snapshot.diskSize ?? old.size
            let needed = layout.l1EntryCount(forSize: size)
            guard size < QCOW2Limits.hostOffset, needed * 8 <= QCOW2Limits.l1Table else {
                throw StorageError(.corrupt, "apply snapshot", at: name, why: "its size of \(size) bytes is too large")
            }
            // What lies past the end of the disk is the guest's saved memory, which stays with the snapshot.
            var l1 = Array(try await l1(of: snapshot).prefix(Int(needed)))
            l1 += repeatElement(0, count: Int(needed) - l1.count)
            try await count(l1, 1, &counts)
            try await drop(old.l1, at: state.withLock { $0.header.l1TableOffset }, &counts)
            return (Structure(size: size, l1: l1, l1TableOffset: nil, snapshots: old.snapshots), ())
        }
    }

    private func l1(of snapshot: QCOW2Snapshot) async throws(StorageError) -> [UInt64] {
        try await Self.readWords(base, snapshot.l1TableOffset, Int(snapshot.l1EntryCount))
    }

    /// Takes away an L1 table and its references.
    private func drop(_ l1: [UInt64], at offset: UInt64, _ counts: inout RefcountImage) async throws(StorageError) {
        try await count(l1, -1, &counts)
        let first = layout.cluster(of: offset)
        for cluster in first..<first + layout.clusterCount(forSize: UInt64(l1.count) * 8) {
            try counts.add(-1, to: cluster)
        }
    }

    /// Lets `body` describe a new structure, alone, and switches to it.
    private func changeStructure<Result>(
        _ body: (Structure, inout RefcountImage) async throws(StorageError) -> (Structure, Result)
    ) async throws(StorageError) -> Result {
        try checkWritable()
        if hasExternalData {
            throw StorageError(
                .notSupported, "change snapshots", at: base.stack, why: "the image has an external data file")
        }
        try await change { () async throws(StorageError) in }
        var result: Result?
        try await exclusively { () async throws(StorageError) in
            try await settle()
            let old = state.withLock { state in
                Structure(
                    size: state.size, l1: state.l1, l1TableOffset: state.header.l1TableOffset,
                    snapshots: state.snapshots)
            }
            var counts = try await readRefcounts()
            let (new, value) = try await body(old, &counts)
            try await switchStructure(to: new, counts)
            result = value
        }
        guard let result else { throw StorageError(.internalError, "change snapshots") }
        return result
    }
}
