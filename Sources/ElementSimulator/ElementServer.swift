import BlockStorage
import Foundation
import HTTPTypes
import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle

/// A simulated cluster's address on the network: JSON-RPC at `/json-rpc/VERSION` over HTTP or HTTPS, for those who know
/// the administrator's name and password.
public struct ElementServer: Sendable {
    /// The certificate that a server shows, and its key, as PEM files.
    public struct Certificate: Sendable {
        public var certificatePath: String
        public var keyPath: String

        public init(certificatePath: String, keyPath: String) {
            self.certificatePath = certificatePath
            self.keyPath = keyPath
        }
    }

    /// A longer request is refused.
    static let largestBodyByteCount = 1 << 20
    /// How long a request may take to come, and a connection may be without one.
    private static let idleTime = TimeAmount.seconds(30)
    private static let requestTime = Duration.seconds(30)
    private static let largestConnectionCount = 256

    private let array: ElementArray
    private let authorization: Secret
    private let host: String
    private let port: Int
    private let certificate: Certificate?
    private let logger: Logger

    /// HTTPS with a certificate, else HTTP. Port 0 is any that is free.
    public init(
        _ array: ElementArray, user: String, password: Secret, host: String, port: Int, certificate: Certificate? = nil,
        logger: Logger = Logger(label: "element")
    ) {
        self.array = array
        authorization = password.reveal { Secret("Basic " + Data("\(user):\($0)".utf8).base64EncodedString()) }
        self.host = host
        self.port = port
        self.certificate = certificate
        self.logger = logger
    }

    /// The server as a service that runs until it is shut down. `onRunning` gets the port that it has.
    ///
    /// Throws `invalidArgument` where the certificate or its key cannot be used.
    public func service(onRunning: @escaping @Sendable (Int) async -> Void = { _ in }) throws(StorageError)
        -> any Service
    {
        do {
            let limits = HTTP1Channel.Configuration.DecoderConfiguration(
                maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10, maxHeaderFieldCount: 100)
            var builder = HTTPServerBuilder.http1(
                configuration: .init(idleTimeout: Self.idleTime, httpDecoderConfiguration: limits))
            if let certificate {
                let chain = try NIOSSLCertificate.fromPEMFile(certificate.certificatePath)
                let key = try NIOSSLPrivateKey(file: certificate.keyPath, format: .pem)
                builder = try .tls(
                    builder,
                    tlsConfiguration: .makeServerConfiguration(
                        certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key)))
            }
            return try builder.buildServer(
                configuration: ServerConfiguration(
                    address: .hostname(host, port: port),
                    availableConnectionsDelegate: .maximum(Self.largestConnectionCount, logger: logger)),
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton, logger: logger,
                responder: { request, writer, _ in
                    let response = try await respond(to: request)
                    var head = HTTPResponse(status: response.status, headerFields: response.fields)
                    head.headerFields[.contentLength] = "\(response.body.count)"
                    try await writer.write(
                        response: head, body: ResponseBody(byteBuffer: ByteBuffer(bytes: response.body)))
                    if response.isLast { throw Ended() }
                },
                onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? port) })
        } catch {
            throw StorageError(.invalidArgument, "start server", at: "\(host):\(port)", why: "\(error)")
        }
    }

    /// Ends a connection.
    private struct Ended: Error {}

    private struct Response {
        var status: HTTPResponse.Status
        var body: [UInt8]
        var fields: HTTPFields = [.contentType: "application/json"]
        /// Whether the connection ends with it.
        var isLast = false

        /// A page as the array's web server writes it.
        static func page(_ status: HTTPResponse.Status, _ text: String, isLast: Bool = false) -> Response {
            let page = "<html><head><title>\(text)</title></head><body><h1>\(text).</h1></body></html>\n"
            return Response(
                status: status, body: Array(page.utf8), fields: [.contentType: "text/html"], isLast: isLast)
        }
    }

    private func respond(to request: Request) async throws -> Response {
        let path = request.uri.path.split(separator: "/")
        guard path.count == 2, path[0] == "json-rpc", ElementCluster.versions.contains(String(path[1])) else {
            return .page(.notFound, "404 Not Found")
        }
        guard let given = request.headers[.authorization], Secret(given) == authorization else {
            var refusal = Response.page(.unauthorized, "401 Unauthorized")
            refusal.fields[.wwwAuthenticate] = "Basic realm=\"Element\""
            return refusal
        }
        let call: JSONRPCRequest
        do {
            switch request.method {
            case .post:
                guard let body = try await body(of: request) else {
                    return .page(.contentTooLarge, "413 Request Entity Too Large", isLast: true)
                }
                call = try JSONRPCRequest(body: body)
            case .get: call = try JSONRPCRequest(query: request.uri.query ?? "")
            default: return .page(.methodNotAllowed, "405 Method Not Allowed")
            }
        } catch let error as ElementError {
            let status = error.code == 400 ? HTTPResponse.Status.badRequest : .ok
            return Response(status: status, body: JSONRPCRequest.body(.failure(error), id: .null))
        }
        logger.debug("\(call.method)")
        switch await array.call(call.method, call.parameters) {
        case .result(let result): return Response(status: .ok, body: JSONRPCRequest.body(.success(result), id: call.id))
        case .error(let error): return Response(status: .ok, body: JSONRPCRequest.body(.failure(error), id: call.id))
        case .dropped: throw Ended()
        }
    }

    /// Nil for a body that is too long. Throws where it does not come in time.
    private func body(of request: Request) async throws -> [UInt8]? {
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > Self.largestBodyByteCount {
            return nil
        }
        return try await withThrowingTaskGroup(of: [UInt8]?.self) { group in
            group.addTask {
                var bytes: [UInt8] = []
                for try await part in request.body {
                    guard bytes.count + part.readableBytes <= Self.largestBodyByteCount else { return nil }
                    bytes.append(contentsOf: part.readableBytesView)
                }
                return bytes
            }
            group.addTask {
                try await Task.sleep(for: Self.requestTime)
                throw Ended()
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }
}
