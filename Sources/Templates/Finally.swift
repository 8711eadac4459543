import BlockStorage

/// Runs `body`, and then `cleanup` whatever came of it: to its end, also in a task that is cancelled.
func finally<Result>(
    _ cleanup: @escaping @Sendable () async -> Void, _ body: () async throws(StorageError) -> Result
) async throws(StorageError) -> Result {
    let result: Result
    do throws(StorageError) {
        result = try await body()
    } catch {
        // A task of its own: in the cancelled one, cleaning up would be cancelled too.
        await Task { await cleanup() }.value
        throw error
    }
    await Task { await cleanup() }.value
    return result
}
