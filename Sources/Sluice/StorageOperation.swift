import BlockStorage
import Templates

/// Something that takes time: it runs from the moment it is made, says how far it is, and has a result in the end.
///
/// ```swift
/// let copy = host.copyVolume(source, to: target)
/// for await progress in copy.progress { show(progress) }
/// let details = try await copy.value
/// ```
///
/// Cancelling it, or the task that waits for `value`, undoes what it has done: `value` throws `cancelled` once nothing
/// of it is left. A cancellation that comes when all is done comes too late.
public struct StorageOperation<Value: Sendable>: Sendable {
    /// How far the operation is; ends with it. Who comes late, or is slow, gets the newest and misses those before.
    /// For one reader.
    public let progress: AsyncStream<OperationProgress>
    private let task: Task<Result<Value, StorageError>, Never>

    /// Runs `body`, which reports to the function that it gets: from any thread, at any time.
    init(_ body: @escaping @Sendable (@escaping OperationProgress.Report) async throws(StorageError) -> Value) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: OperationProgress.self, bufferingPolicy: .bufferingNewest(1))
        progress = stream
        task = Task { () async -> Result<Value, StorageError> in
            defer { continuation.finish() }
            do throws(StorageError) {
                return .success(try await body { continuation.yield($0) })
            } catch {
                return .failure(error)
            }
        }
    }

    /// The result, or what went wrong, once the operation is over. Ask as often as you like.
    public var value: Value {
        get async throws(StorageError) {
            let result = await withTaskCancellationHandler {
                await task.value
            } onCancel: {
                task.cancel()
            }
            return try result.get()
        }
    }

    /// Asks the operation to end, and to leave nothing. `value` says when it has.
    public func cancel() { task.cancel() }
}

/// How far an operation is.
public struct OperationProgress: Equatable, Sendable {
    public enum Phase: String, Sendable { case downloading, reading, unpacking, copying, verifying }

    typealias Report = @Sendable (OperationProgress) -> Void

    /// What is being done; each phase begins at 0 bytes.
    public var phase: Phase
    public var bytesDone: UInt64
    /// Nil where it is not known.
    public var bytesTotal: UInt64?

    public init(phase: Phase, bytesDone: UInt64, bytesTotal: UInt64?) {
        (self.phase, self.bytesDone, self.bytesTotal) = (phase, bytesDone, bytesTotal)
    }

    init(_ copy: CopyProgress) {
        let phase: Phase = copy.phase == .copying ? .copying : .verifying
        self.init(phase: phase, bytesDone: copy.bytesDone, bytesTotal: copy.bytesTotal)
    }

    init(_ progress: ImportProgress) {
        let phase: Phase =
            switch progress.phase {
            case .downloading: .downloading
            case .reading: .reading
            case .unpacking: .unpacking
            case .copying: .copying
            case .verifying: .verifying
            }
        self.init(phase: phase, bytesDone: progress.bytesDone, bytesTotal: progress.bytesTotal)
    }
}
