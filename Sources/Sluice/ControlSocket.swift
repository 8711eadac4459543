import BlockStorage
import IORuntime
import Logging
import SystemPackage

/// A Unix socket address that is short, however long the path of its directory is: through the open directory.
private func withSocketAddress<Result>(
    of name: String, in directory: FilePath, _ body: (Socket.Address) async throws(StorageError) -> Result
) async throws(StorageError) -> Result {
    let opened: File
    do {
        opened = try await File.open(directory, [.directory])
    } catch {
        throw StorageError(error, "open control socket", at: directory.string)
    }
    return try await body(.unix(path: "/proc/self/fd/\(opened.descriptor.rawValue)/\(name)"))
}

/// Answers the requests of other processes on one attached volume, one after the other for each connection.
final class ControlServer: Sendable {
    typealias Handler = @Sendable (ControlMessage.Request) async -> VolumeReply

    /// More connections at once are refused.
    private static let largestConnectionCount = 32
    private static let idleTime = Duration.seconds(60)

    private let listener: Socket
    private let task: Task<Void, Never>

    private init(_ listener: Socket, _ task: Task<Void, Never>) {
        self.listener = listener
        self.task = task
    }

    /// Listens on `name` in `directory` with mode 0600.
    static func start(
        _ name: String, in directory: FilePath, _ handler: @escaping Handler
    ) async throws(StorageError) -> ControlServer {
        try await withSocketAddress(of: name, in: directory) { address throws(StorageError) in
            do throws(SystemError) {
                let listener = try await Socket.listen(address, mode: 0o600)
                let task = Task(executorPreference: IOExecutorGroup.shared.next()) {
                    await serve(listener, handler)
                }
                return ControlServer(listener, task)
            } catch {
                throw StorageError(error, "open control socket", at: directory.appending(name).string)
            }
        }
    }

    /// Ends the connections, once the requests that are being performed have been answered.
    func stop() async {
        listener.shutDown()
        task.cancel()
        await task.value
        listener.close()
    }

    private static func serve(_ listener: Socket, _ handler: @escaping Handler) async {
        await withDiscardingTaskGroup { group in
            let connections = Locked(0)
            while !Task.isCancelled {
                guard let connection = try? await listener.accept() else { break }
                let isRoom = connections.withLock { count in
                    guard count < largestConnectionCount else { return false }
                    count += 1
                    return true
                }
                guard isRoom else {
                    connection.close()
                    continue
                }
                group.addTask {
                    await serve(connection: connection, handler)
                    connection.close()
                    connections.withLock { $0 -= 1 }
                }
            }
            group.cancelAll()
        }
    }

    private static func serve(connection: Socket, _ handler: @escaping Handler) async {
        var lines = LineBuffer()
        do {
            while !Task.isCancelled {
                let line = try await connection.line(&lines, within: idleTime)
                guard let line else { return }
                // Not cancelled half way when the server stops: what was begun is finished and answered.
                let reply: VolumeReply
                do throws(StorageError) {
                    let request = try ControlMessage.decode(ControlMessage.Request.self, line)
                    reply = await Task { await handler(request) }.value
                } catch {
                    reply = .failure(.init(error))
                }
                try await connection.send(line: reply)
            }
        } catch {
            // A client that went away or sent what is no message has nobody left to tell.
        }
    }
}

extension RunningAttachment {
    /// Has the process that holds the volume perform a request. A snapshot or a resize of a large volume may take its time.
    func send(_ request: VolumeRequest) async throws(StorageError) -> VolumeReply {
        try await withSocketAddress(of: control, in: directory) { socketAddress throws(StorageError) in
            let socket: Socket
            do throws(SystemError) {
                socket = try await Socket.connect(to: socketAddress)
            } catch {
                throw StorageError(
                    .connectionLost, "control volume", at: "\(address)", why: "\(holder) does not answer: \(error)")
            }
            defer { socket.close() }
            try await socket.send(line: ControlMessage.Request(volume: "\(address)", request: request))
            var lines = LineBuffer()
            guard let line = try await socket.line(&lines, within: .seconds(600)) else {
                throw StorageError(
                    .connectionLost, "control volume", at: "\(address)", why: "\(holder) ended before it answered")
            }
            return try ControlMessage.decode(VolumeReply.self, line)
        }
    }
}

extension Socket {
    fileprivate func send(line message: some Encodable) async throws(StorageError) {
        let bytes = try ControlMessage.encode(message)
        do {
            try await send(bytes.rawBytes)
        } catch {
            throw StorageError(error, "send control message")
        }
    }

    /// The next line, nil when the peer ends the connection or sends nothing in time.
    fileprivate func line(_ lines: inout LineBuffer, within time: Duration) async throws(StorageError) -> [UInt8]? {
        var buffer = IOBuffer(byteCount: 64 << 10)
        while true {
            if let line = lines.next() { return line }
            let count: Int
            do throws(SystemError) {
                count = try await ending(after: time) { () async throws(SystemError) in
                    var bytes = buffer.mutableBytes
                    return try await receive(into: &bytes)
                }
            } catch {
                throw StorageError(error, "receive control message")
            }
            if count == 0 { return nil }
            var received = [UInt8](repeating: 0, count: count)
            var copy = received.mutableRawBytes
            copy.copy(from: buffer.bytes.extracting(0..<count))
            try lines.append(received)
        }
    }

    /// Runs `body`, and shuts the socket down when that takes longer than `time`.
    private func ending<Result>(
        after time: Duration, _ body: () async throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        let watchdog = Task {
            await IOExecutor.sleep(for: time)
            if !Task.isCancelled { shutDown() }
        }
        defer { watchdog.cancel() }
        return try await body()
    }
}
