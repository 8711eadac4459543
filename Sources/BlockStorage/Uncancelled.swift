/// Runs `body` to its end, though the current task be cancelled: for steps that are short and must not stop halfway.
///
/// In a task of its own: in the cancelled one requests fail, also those that undo something.
package func uncancelled<Result: Sendable>(
    _ body: @escaping @Sendable () async throws(StorageError) -> Result
) async throws(StorageError) -> Result {
    let task = Task { () async -> Swift.Result<Result, StorageError> in
        do throws(StorageError) { return .success(try await body()) } catch { return .failure(error) }
    }
    return try await task.value.get()
}
