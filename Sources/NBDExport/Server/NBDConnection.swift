import BlockStorage
import IORuntime
import Logging
import Synchronization

/// One client, from its handshake to its end.
final class NBDConnection: Sendable {
    let socket: Socket
    let configuration: NBDServer.Configuration
    let logger: Logger
    /// What the client has done, at most a batch of replies behind.
    let statistics = Locked(NBDServer.Statistics())
    private let exports: [NBDServer.Export]
    private let stopping = Atomic(false)

    init(
        socket: Socket, exports: [NBDServer.Export], configuration: NBDServer.Configuration, logger: Logger
    ) {
        self.socket = socket
        self.exports = exports
        self.configuration = configuration
        self.logger = logger
    }

    /// Serves the client until it leaves, breaks the protocol, or its socket is shut down; then closes the socket. To be
    /// called on an I/O executor, where it stays.
    func serve() async {
        defer { socket.close() }
        var input = NBDInput(capacity: max(128 << 10, NBDHandshake.longestMessage))
        guard let session = await negotiate(&input) else { return }
        logger.debug("client opens an export", metadata: ["export": "\(session.name)"])
        await NBDTransmission(self, session, input).run()
        logger.debug("client leaves", metadata: ["requests": "\(statistics.withLock { $0.requests })"])
    }

    /// Reads no more requests; those in flight are answered, then `serve` returns. From any task.
    func stop() {
        stopping.store(true, ordering: .relaxed)
        socket.shutDownReceiving()
    }

    /// Whether `stop` was called.
    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    private func negotiate(_ input: inout NBDInput) async -> NBDSession? {
        await withDiscardingTaskGroup { group in
            group.addTask {
                await IOExecutor.sleep(for: self.configuration.handshakeDeadline)
                if !Task.isCancelled { self.socket.shutDown() }
            }
            let session = await handshake(&input)
            group.cancelAll()
            return session
        }
    }

    private func handshake(_ input: inout NBDInput) async -> NBDSession? {
        var handshake = NBDHandshake(exports: exports)
        do throws(SystemError) {
            try await socket.send(NBDHandshake.greeting.rawBytes)
            while true {
                var reply: [UInt8] = []
                let (byteCount, progress) = handshake.receive(input.bytes, reply: &reply)
                input.drop(byteCount)
                if !reply.isEmpty { try await socket.send(reply.rawBytes) }
                switch progress {
                case .needsMore:
                    guard try await input.receive(from: socket) else { return nil }
                case .negotiating: continue
                case .transmission(let session): return session
                case .ended: return nil
                }
            }
        } catch {
            return nil
        }
    }
}
