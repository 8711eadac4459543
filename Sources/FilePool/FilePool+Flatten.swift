import BlockStorage

extension FilePool {
    public func flattenVolume(_ name: String) async throws(StorageError) {
        _ = try await findManaged(name, "flatten volume")
        throw failure(.notSupported, "flatten volume", name, "this pool does not flatten")
    }
}
