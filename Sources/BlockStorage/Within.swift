import IORuntime

/// Runs `body` for at most `limit`; then, or when the task is cancelled, its waits end.
///
/// In a task of its own, never on the threads that others may block. Throws `late` where `body` ends because it took too
/// long; what it has done at that moment counts.
package func within<Result: Sendable>(
    _ limit: Duration, or late: StorageError,
    _ body: @escaping @Sendable () async throws(StorageError) -> Result
) async throws(StorageError) -> Result {
    let executor = IOExecutor.current ?? IOExecutorGroup.shared.next()
    let work = Task(executorPreference: executor) { () async -> Swift.Result<Result, StorageError> in
        do throws(StorageError) { return .success(try await body()) } catch { return .failure(error) }
    }
    let timer = Task(executorPreference: executor) {
        await IOExecutor.sleep(for: limit)
        work.cancel()
    }
    defer { timer.cancel() }
    let result = await withTaskCancellationHandler {
        await work.value
    } onCancel: {
        work.cancel()
    }
    if case .failure(let error) = result, error.code == .cancelled, !Task.isCancelled { throw late }
    return try result.get()
}
