import IORuntime

/// Lets one operation at a time change what a name stands for, within this process.
package final class NameQueue: Sendable {
    private let waiting = Locked<[String: [CheckedContinuation<Void, Never>]]>([:])

    package init() {}

    /// Runs `body` when nobody else runs one for `name`, in the order of the calls. Not reentrant for one name.
    package func withName<Result, Failure: Error>(
        _ name: String, _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await enter(name)
        defer { leave(name) }
        return try await body()
    }

    private func enter(_ name: String) async {
        await withCheckedContinuation { continuation in
            let isFree = waiting.withLock { waiting in
                if waiting[name] == nil {
                    waiting[name] = []
                    return true
                }
                waiting[name]?.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
    }

    private func leave(_ name: String) {
        let next = waiting.withLock { waiting in
            guard waiting[name]?.isEmpty == false else {
                waiting[name] = nil
                return nil as CheckedContinuation<Void, Never>?
            }
            return waiting[name]?.removeFirst()
        }
        next?.resume()
    }
}
