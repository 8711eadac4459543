import BlockStorage
import IORuntime
import Logging
import SystemPackage

/// Exports volumes over the Network Block Device protocol: fixed newstyle, structured replies, `base:allocation`.
///
/// ```swift
/// let server = NBDServer(exports: [try .init(name: "web", volume: volume)])
/// try await server.listen(on: .unix(path: "/run/web.sock"))
/// await server.run()  // until another task calls stop()
/// ```
///
/// All clients share the volumes, so a flush on one connection covers the completed writes of all. The server neither
/// opens nor closes volumes.
public final class NBDServer: Sendable {
    private struct State {
        var isStopping = false
        var isStopped = false
        var listeners: [Listener] = []
        var connections: [UInt64: (connection: NBDConnection, task: Task<Void, Never>)] = [:]
        var finished = Statistics()
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private struct Listener {
        var socket: Socket
        var file: SocketFile?
        var task: Task<Void, Never>
    }

    /// What clients can open. The first is also the default export, unless another has the empty name.
    public let exports: [Export]
    private let configuration: Configuration
    private let executors: IOExecutorGroup
    private let logger: Logger
    private let state = Locked(State())

    /// A server that nobody can reach yet. Connections are spread over `executors`.
    public init(
        exports: [Export], configuration: Configuration = Configuration(), executors: IOExecutorGroup = .shared,
        logger: Logger = Logger(label: "sluice.nbd")
    ) {
        var configuration = configuration
        configuration.largestRequestCount = max(1, configuration.largestRequestCount)
        self.exports = exports
        self.configuration = configuration
        self.executors = executors
        self.logger = logger
    }

    /// Accepts clients at `address` from now on. Returns the address, with the port that the system chose.
    ///
    /// A Unix socket gets mode 0600; a socket file that nobody listens on any more is replaced, and `busy` thrown where
    /// someone does. TCP has neither encryption nor authentication: a host beyond loopback throws `permissionDenied`
    /// unless `allowsInsecureRemote`.
    @discardableResult
    public func listen(
        on address: Socket.Address, allowsInsecureRemote: Bool = false
    ) async throws(StorageError) -> Socket.Address {
        let socket: Socket
        var bound = address
        var file: SocketFile?
        do throws(SystemError) {
            switch address {
            case .unix(let path):
                (socket, file) = try await SocketFile.listen(path)
            case .tcp(let host, _):
                guard allowsInsecureRemote || Self.isLoopback(host) else {
                    throw SystemError(.permissionDenied, "bind")
                }
                socket = try await Socket.listen(address)
                bound = .tcp(host: host, port: socket.localPort ?? 0)
            }
        } catch {
            if case .tcp(let host, _) = address, error.errno == .permissionDenied, !Self.isLoopback(host) {
                throw StorageError(
                    .permissionDenied, "listen", at: "\(address)",
                    why: "NBD over TCP is neither encrypted nor authenticated: beyond loopback it must be allowed")
            }
            if error.errno == .addressInUse {
                throw StorageError(.busy, "listen", at: "\(address)", why: "the address is in use")
            }
            throw StorageError(error, "listen", at: "\(address)")
        }
        let task = Task(executorPreference: executors.next()) { await self.accept(from: socket) }
        let listener = Listener(socket: socket, file: file, task: task)
        let isLate = state.withLock { state in
            if !state.isStopping { state.listeners.append(listener) }
            return state.isStopping
        }
        if isLate {
            await close(listener)
            throw StorageError(.cancelled, "listen", at: "\(address)", why: "the server is stopping")
        }
        logger.info("listening", metadata: ["address": "\(bound)"])
        return bound
    }

    /// Serves one client on a connected socket, until it leaves.
    public func serve(_ socket: Socket) async {
        await start(socket)?.value
    }

    /// Returns when the server has stopped. Cancelling the task stops it.
    public func run() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isStopped = state.withLock { state in
                    if !state.isStopped { state.waiters.append(continuation) }
                    return state.isStopped
                }
                if isStopped { continuation.resume() }
            }
        } onCancel: {
            Task { try? await self.stop() }
        }
    }

    /// Accepts no more clients, reads no more requests, answers those in flight, disconnects, and flushes every volume
    /// that could be written. Clients whose requests take longer than the configured deadline are cut off. Throws what
    /// the flush throws. Stopping again waits for the first and flushes again.
    public func stop() async throws(StorageError) {
        let (listeners, connections) = state.withLock { state in
            state.isStopping = true
            defer { state.listeners = [] }
            return (state.listeners, state.connections.values.map { $0 })
        }
        for listener in listeners { await close(listener) }
        for (connection, _) in connections { connection.stop() }
        let deadline = configuration.drainDeadline
        let timer = Task {
            await IOExecutor.sleep(for: deadline)
            if Task.isCancelled { return }
            for (connection, task) in connections {
                connection.socket.shutDown()
                task.cancel()
            }
        }
        for (_, task) in connections { await task.value }
        timer.cancel()
        let waiters = state.withLock { state in
            state.isStopped = true
            defer { state.waiters = [] }
            return state.waiters
        }
        defer { for waiter in waiters { waiter.resume() } }
        for export in exports where !export.isReadOnly { try await export.volume.flush() }
        logger.info("stopped")
    }

    /// What the server has done so far; at most a few requests behind while clients are busy.
    public var statistics: Statistics {
        state.withLock { state in
            var sum = state.finished
            for (connection, _) in state.connections.values { sum.add(connection.statistics.withLock { $0 }) }
            sum.connections = state.connections.count
            return sum
        }
    }

    // MARK: - Clients

    private func accept(from listener: Socket) async {
        while true {
            do throws(SystemError) {
                start(try await listener.accept())
            } catch {
                if state.withLock({ $0.isStopping }) || error.errno == .invalidArgument || error.errno == .canceled {
                    return
                }
                // Out of descriptors or memory: others may give some back.
                logger.warning("cannot accept a client", metadata: ["error": "\(error)"])
                await IOExecutor.sleep(for: .milliseconds(100))
            }
        }
    }

    @discardableResult
    private func start(_ socket: Socket) -> Task<Void, Never>? {
        let connection = NBDConnection(
            socket: socket, exports: exports, configuration: configuration, logger: logger)
        let task = state.withLock { state -> Task<Void, Never>? in
            guard !state.isStopping, state.connections.count < configuration.largestConnectionCount else { return nil }
            state.finished.totalConnections &+= 1
            let id = state.finished.totalConnections
            let task = Task(executorPreference: executors.next()) {
                await connection.serve()
                self.remove(id)
            }
            state.connections[id] = (connection, task)
            return task
        }
        if task == nil {
            logger.notice("client refused: too many, or stopping")
            socket.close()
        }
        return task
    }

    private func remove(_ id: UInt64) {
        state.withLock { state in
            guard let (connection, _) = state.connections.removeValue(forKey: id) else { return }
            state.finished.add(connection.statistics.withLock { $0 })
        }
    }

    private func close(_ listener: Listener) async {
        listener.socket.shutDown()
        listener.task.cancel()
        await listener.task.value
        listener.file?.remove()
        listener.socket.close()
    }

    /// Whether `host` can only mean this machine.
    package static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
