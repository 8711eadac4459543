#if Downloads
    import BlockStorage
    import Dispatch
    import IORuntime
    import NIOCore

    /// Bytes on their way from a task that downloads them to a thread that reads them: the task waits while the thread
    /// is behind, and the thread while nothing has come. For one of each.
    final class ByteQueue: Sendable {
        private struct State {
            var chunks: [ByteBuffer] = []
            var byteCount = 0
            /// Nothing follows: the end, or a failure.
            var end: Result<Void, StorageError>?
            var isClosed = false
            var producer: CheckedContinuation<Void, Never>?
        }

        private let capacity: Int
        private let state = Locked(State())
        private let available = DispatchSemaphore(value: 0)

        /// Holds `capacity` bytes, and at most one chunk more.
        init(capacity: Int) { self.capacity = capacity }

        /// Adds a chunk, and waits until there is room for the next. Does nothing once the queue is closed.
        func push(_ chunk: ByteBuffer) async {
            guard chunk.readableBytes > 0 else { return }
            state.withLock { state in
                guard !state.isClosed else { return }
                state.chunks.append(chunk)
                state.byteCount += chunk.readableBytes
            }
            available.signal()
            await withCheckedContinuation { continuation in
                let mustWait = state.withLock { state in
                    guard !state.isClosed, state.byteCount >= capacity else { return false }
                    state.producer = continuation
                    return true
                }
                if !mustWait { continuation.resume() }
            }
        }

        func finish(_ result: Result<Void, StorageError>) {
            state.withLock { $0.end = $0.end ?? result }
            available.signal()
        }

        /// Nothing is read any more: a read that waits throws `cancelled`, and so do later ones.
        func close() {
            let producer = state.withLock { state in
                state.isClosed = true
                state.end = state.end ?? .failure(StorageError(.cancelled, "download"))
                state.chunks = []
                defer { state.producer = nil }
                return state.producer
            }
            producer?.resume()
            available.signal()
        }

        /// The next chunk; nil at the end. Blocks.
        func next() throws(StorageError) -> ByteBuffer? {
            while true {
                let (chunk, end, producer) = state.withLock { state in
                    let chunk = state.chunks.isEmpty ? nil : state.chunks.removeFirst()
                    state.byteCount -= chunk?.readableBytes ?? 0
                    var producer: CheckedContinuation<Void, Never>?
                    if state.byteCount < capacity { swap(&producer, &state.producer) }
                    return (chunk, state.end, producer)
                }
                producer?.resume()
                if let chunk { return chunk }
                if let end {
                    try end.get()
                    return nil
                }
                available.wait()
            }
        }
    }
#endif
