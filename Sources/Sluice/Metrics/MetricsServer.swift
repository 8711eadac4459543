import BlockStorage
import IORuntime
import NBDExport
import SystemPackage

/// Answers `GET /metrics`, and nothing else, over HTTP 1.
///
/// A scrape is one request of one line: an HTTP library would bring more code than it saves here. Connections, the size
/// of a request and its time are bounded; each connection is closed after its answer.
public final class MetricsServer: Sendable {
    /// More clients at once wait to be accepted.
    private static let largestConnectionCount = 16
    /// The longest request, headers included, in bytes.
    private static let largestRequest = 8192
    /// A client that takes longer is cut off.
    private static let deadline = Duration.seconds(10)

    /// Where it listens, with the port that the system chose.
    public let address: Socket.Address
    private let listener: Socket
    private let task: Task<Void, Never>

    private init(_ address: Socket.Address, _ listener: Socket, _ task: Task<Void, Never>) {
        (self.address, self.listener, self.task) = (address, listener, task)
    }

    /// Listens, and answers with what `text` returns at that time.
    ///
    /// There is neither encryption nor authentication: a host beyond loopback throws `permissionDenied` unless
    /// `allowsInsecureRemote`.
    public static func start(
        host: String, port: UInt16, allowsInsecureRemote: Bool = false, text: @escaping @Sendable () -> String
    ) async throws(StorageError) -> MetricsServer {
        guard allowsInsecureRemote || NBDServer.isLoopback(host) else {
            throw StorageError(
                .permissionDenied, "serve metrics", at: "\(host):\(port)",
                why: "metrics are neither encrypted nor authenticated: beyond loopback they must be allowed")
        }
        let listener: Socket
        do {
            listener = try await Socket.listen(.tcp(host: host, port: port))
        } catch {
            throw StorageError(error, "serve metrics", at: "\(host):\(port)")
        }
        let task = Task(executorPreference: IOExecutorGroup.shared.next()) { await accept(from: listener, text) }
        return MetricsServer(.tcp(host: host, port: listener.localPort ?? port), listener, task)
    }

    /// Accepts no more clients, and ends those that are connected.
    public func stop() async {
        listener.shutDown()
        task.cancel()
        await task.value
        listener.close()
    }

    private static func accept(from listener: Socket, _ text: @escaping @Sendable () -> String) async {
        await withDiscardingTaskGroup { group in
            let room = Locked(largestConnectionCount)
            while !Task.isCancelled {
                guard room.withLock({ $0 > 0 }) else {
                    await IOExecutor.sleep(for: .milliseconds(10))
                    continue
                }
                do throws(SystemError) {
                    let client = try await listener.accept()
                    room.withLock { $0 -= 1 }
                    group.addTask {
                        await serve(client, text)
                        client.close()
                        room.withLock { $0 += 1 }
                    }
                } catch {
                    if error.errno == .invalidArgument || error.errno == .canceled { break }
                    // Out of descriptors or memory: others may give some back.
                    await IOExecutor.sleep(for: .milliseconds(100))
                }
            }
            group.cancelAll()
        }
    }

    private static func serve(_ client: Socket, _ text: @escaping @Sendable () -> String) async {
        let watchdog = Task {
            await IOExecutor.sleep(for: deadline)
            client.shutDown()
        }
        defer { watchdog.cancel() }
        // A client that went away has nobody left to tell.
        guard let head = try? await requestHead(from: client) else { return }
        // Not on the executor, whose requests would wait until everything is rendered.
        let reply = await BlockingPool.shared.run { Array(answer(to: head, text).utf8) }
        try? await client.send(reply.rawBytes)
    }

    /// What comes before the empty line; nil where it is too long or never ends.
    private static func requestHead(from client: Socket) async throws(SystemError) -> String? {
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 2048)
        while received.count <= largestRequest {
            var bytes = buffer.mutableRawBytes
            let count = try await client.receive(into: &bytes)
            if count == 0 { return nil }
            received += buffer[..<count]
            if let end = received.firstRange(of: Array("\r\n\r\n".utf8)) ?? received.firstRange(of: Array("\n\n".utf8))
            {
                return String(validating: received[..<end.lowerBound], as: UTF8.self)
            }
        }
        return nil
    }

    static func answer(to head: String, _ text: () -> String) -> String {
        let words = head.prefix { !$0.isNewline }.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, words[2].hasPrefix("HTTP/1.") else { return response("400 Bad Request", "") }
        guard words[0] == "GET" || words[0] == "HEAD" else {
            return response("405 Method Not Allowed", "", headers: ["Allow: GET, HEAD"])
        }
        guard words[1].prefix(while: { $0 != "?" }) == "/metrics" else {
            return response("404 Not Found", "see /metrics\n")
        }
        let body = text()
        return response(
            "200 OK", body, headers: ["Content-Type: \(PrometheusMetrics.mediaType)"], isHead: words[0] == "HEAD")
    }

    private static func response(
        _ status: String, _ body: String, headers: [String] = [], isHead: Bool = false
    ) -> String {
        let head =
            ["HTTP/1.1 \(status)"] + headers + ["Content-Length: \(body.utf8.count)", "Connection: close", "", ""]
        return head.joined(separator: "\r\n") + (isHead ? "" : body)
    }
}
