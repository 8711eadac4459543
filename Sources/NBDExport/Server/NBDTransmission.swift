import BlockStorage
import IORuntime
import Logging

/// The transmission phase of one connection, on one executor.
///
/// A fixed number of tasks serve the requests. One of them at a time has the turn to read: it takes the next request
/// with its payload, passes the turn on, carries the request out, appends the reply, and waits for its next turn. So a
/// request meets no thread hop, no lock and no allocation, and the number of tasks is the limit of requests in flight.
@safe
final class NBDTransmission: @unchecked Sendable {
    // Sound: everything mutable is confined to the executor that `run` is called on.
    private let connection: NBDConnection
    private let socket: Socket
    let session: NBDSession
    let replies: NBDReplyStream
    var counters = NBDServer.Statistics()

    private var input: NBDInput
    private var isEnded = false
    private var hasReader = false
    private var idle: [IOSignal] = []
    private var reservedByteCount = 0
    private let released = IOSignal()
    private var isWaitingForRelease = false
    private var failureCount = 0

    /// `input`: what the client has sent already.
    init(_ connection: NBDConnection, _ session: NBDSession, _ input: consuming NBDInput) {
        self.connection = connection
        self.session = session
        self.input = input
        socket = connection.socket
        replies = NBDReplyStream(socket: socket, capacity: 256 << 10)
    }

    /// Serves requests until the client leaves, or the connection is stopped.
    func run() async {
        await withDiscardingTaskGroup { sender in
            sender.addTask { await self.replies.run { self.publishStatistics() } }
            await withDiscardingTaskGroup { workers in
                for _ in 0..<connection.configuration.largestRequestCount {
                    workers.addTask { await self.work() }
                }
            }
            replies.finish()
        }
        publishStatistics()
    }

    private func work() async {
        let signal = IOSignal()
        var buffer = IOBuffer(byteCount: Self.dataOffset + Self.shortDataByteCount)
        while await takeTurn(signal) {
            do throws(SystemError) {
                try await serveRequest(&buffer, signal)
            } catch {
                end()
            }
        }
    }

    /// Where data begins in a buffer: the reply's header stands right before it, and the data is aligned for direct I/O.
    static let dataOffset = IOBuffer.alignment
    /// The longest data that a task's own buffer holds, in bytes, and that is copied to leave together with other replies.
    static let shortDataByteCount = 28 << 10

    /// Reads one request, passes the turn, and answers. Throws when the stream is lost.
    private func serveRequest(_ buffer: inout IOBuffer, _ signal: IOSignal) async throws(SystemError) {
        while input.byteCount < NBDRequest.headerByteCount {
            guard try await input.receive(from: socket) else { return end() }
        }
        // A TCP socket goes on receiving after it was shut down.
        if connection.isStopping { return end() }
        guard let request = NBDRequest(input.bytes) else { return end() }
        input.drop(NBDRequest.headerByteCount)
        counters.requests &+= 1

        let command: NBDCommand
        do throws(NBDErrorNumber) {
            command = try session.check(request)
        } catch {
            // Its payload is not needed, but stands before the next request.
            guard try await input.skip(request.payloadByteCount, from: socket) else { return end() }
            passTurn()
            return await reply(to: request, failure: error, "request refused", signal)
        }
        switch command {
        case .disconnect: end()
        case .read: await serveRead(request, &buffer, signal)
        case .write: try await serveWrite(request, &buffer, signal)
        case .flush, .trim, .writeZeroes, .cache, .blockStatus:
            passTurn()
            await serveControl(command, request, signal)
        }
    }

    private func serveRead(_ request: NBDRequest, _ buffer: inout IOBuffer, _ signal: IOSignal) async {
        let byteCount = Int(request.length)
        if byteCount <= Self.shortDataByteCount {
            passTurn()
            return await performRead(request, &buffer, signal)
        }
        await reserve(byteCount)
        passTurn()
        var large = IOBuffer(byteCount: Self.dataOffset + byteCount)
        await performRead(request, &large, signal)
        release(byteCount)
    }

    private func serveWrite(
        _ request: NBDRequest, _ buffer: inout IOBuffer, _ signal: IOSignal
    ) async throws(SystemError) {
        let byteCount = Int(request.length)
        if byteCount <= Self.shortDataByteCount {
            return try await receiveAndWrite(request, &buffer, signal)
        }
        await reserve(byteCount)
        defer { release(byteCount) }
        var large = IOBuffer(byteCount: byteCount)
        try await receiveAndWrite(request, &large, signal)
    }

    private func receiveAndWrite(
        _ request: NBDRequest, _ buffer: inout IOBuffer, _ signal: IOSignal
    ) async throws(SystemError) {
        var memory = buffer.mutableBytes
        var data = memory._mutatingExtracting(0..<Int(request.length))
        try await input.receive(into: &data, from: socket)
        passTurn()
        await performWrite(request, data.bytes, signal)
    }
}

// MARK: - The turn to read, and memory

extension NBDTransmission {
    /// Waits for the turn; false once there is nothing more to read.
    @inline(__always)
    private func takeTurn(_ signal: IOSignal) async -> Bool {
        if isEnded { return false }
        if hasReader {
            idle.append(signal)
            await signal.wait()
            return !isEnded
        }
        hasReader = true
        return true
    }

    /// Passes the turn to the task that waited the shortest, whose memory is warm.
    @inline(__always)
    private func passTurn() {
        if let next = idle.popLast() { next.signal() } else { hasReader = false }
    }

    /// Reads nothing more: requests in flight are answered, then the connection ends.
    private func end() {
        isEnded = true
        for signal in idle { signal.signal() }
        idle.removeAll()
    }

    /// Takes memory for a large payload from the connection's share. Only the task that has the turn waits here, so a
    /// client that wants too much at once is not read from meanwhile.
    private func reserve(_ byteCount: Int) async {
        while reservedByteCount > 0, reservedByteCount + byteCount > connection.configuration.largestPayloadMemory {
            isWaitingForRelease = true
            await released.wait()
        }
        reservedByteCount += byteCount
    }

    private func release(_ byteCount: Int) {
        reservedByteCount -= byteCount
        if isWaitingForRelease {
            isWaitingForRelease = false
            released.signal()
        }
    }

    /// Makes the counters visible to other threads, once for each batch of replies.
    private func publishStatistics() {
        counters.bytesSent = replies.byteCount
        connection.statistics.withLock { $0 = counters }
    }

    /// Logs a failure of the volume: the first, and then ever more rarely, because a broken disk fails often.
    func log(_ error: StorageError, _ request: NBDRequest) {
        failureCount += 1
        guard failureCount.nonzeroBitCount == 1 else { return }
        connection.logger.warning(
            "request failed",
            metadata: [
                "command": "\(NBDCommand(rawValue: request.type).map { "\($0)" } ?? "unknown")",
                "offset": "\(request.offset)", "length": "\(request.length)", "error": "\(error)",
                "failures": "\(failureCount)",
            ])
    }
}
