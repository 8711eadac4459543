import BlockStorage

extension FilePool {
    public func createSnapshot(
        _ snapshot: String, of volume: String
    ) async throws(StorageError) -> SnapshotDescription {
        try VolumeName.check(snapshot, as: "snapshot name")
        _ = try await findManaged(volume, "create snapshot")
        throw failure(.notSupported, "create snapshot", volume, "this pool takes no snapshots")
    }

    public func listSnapshots(of volume: String) async throws(StorageError) -> [SnapshotDescription] {
        _ = try await findManaged(volume, "list snapshots")
        return []
    }

    public func deleteSnapshot(_ snapshot: String, of volume: String) async throws(StorageError) {
        try VolumeName.check(snapshot, as: "snapshot name")
        _ = try await findManaged(volume, "delete snapshot")
    }

    public func revert(_ volume: String, to snapshot: String) async throws(StorageError) {
        _ = try await findManaged(volume, "revert volume")
        throw failure(.notSupported, "revert volume", volume, "this pool takes no snapshots")
    }
}
