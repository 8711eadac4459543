/// Runs `body` and closes the volume, whatever happens. An error of `body` is the one that counts.
package func closing<Result>(
    _ volume: any Volume, _ body: () async throws(StorageError) -> Result
) async throws(StorageError) -> Result {
    let result: Result
    do throws(StorageError) {
        result = try await body()
    } catch {
        try? await volume.close()
        throw error
    }
    try await volume.close()
    return result
}
