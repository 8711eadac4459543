#if RBD
    import BlockStorage
    import IORuntime

    /// The one connection of a pool: made when it is first asked for, and again after the cluster has shut it out or it
    /// was lost. Who has an image open through the old one keeps that, and its errors.
    final class RBDConnectionSource: Sendable {
        private typealias Attempt = Task<Result<RBDConnection, StorageError>, Never>

        private enum State {
            case none
            case connecting(Attempt)
            case connected(RBDConnection)
        }

        let settings: RBDCluster
        let blocking: BlockingPool
        private let cache: RBDCachePolicy
        private let observer: RBDConnection.Observer?
        private let state = Locked(State.none)

        /// At most so many calls to the cluster block at once.
        private static let threads = 32

        init(
            _ settings: RBDCluster, cache: RBDCachePolicy, deadline: Duration?, observer: RBDConnection.Observer?
        ) {
            (self.settings, self.cache, self.observer) = (settings, cache, observer)
            blocking = BlockingPool(threads: Self.threads, deadline: deadline.map { IODeadline($0) })
        }

        /// The connection, or a new one. Of several who ask at once, one connects.
        func connection() async throws(StorageError) -> RBDConnection {
            let attempt = state.withLock { state -> Attempt? in
                switch state {
                case .connected(let connection) where !connection.isBroken: return nil
                case .connecting(let attempt): return attempt
                default:
                    let attempt = Attempt { await self.connect() }
                    state = .connecting(attempt)
                    return attempt
                }
            }
            if let attempt { return try await attempt.value.get() }
            if case .connected(let connection) = state.withLock({ $0 }) { return connection }
            return try await connection()
        }

        private func connect() async -> Result<RBDConnection, StorageError> {
            do throws(StorageError) {
                let connection = try await RBDConnection.open(
                    settings, cache: cache, blocking: blocking, observer: observer)
                state.withLock { $0 = .connected(connection) }
                return .success(connection)
            } catch {
                state.withLock { $0 = .none }
                return .failure(error)
            }
        }
    }
#endif
