#if ISCSI
    import BlockStorage
    import ElementAPI
    import Foundation
    import IORuntime
    import NIOCore
    import NIOHTTP1
    import NIOPosix
    import NIOSSL

    /// A server on this host that answers as a test tells it.
    final class ScriptedArray: Sendable {
        struct Call: Sendable {
            var method: String
            var parameters: [String: ElementAttributes.Value]
            var id: Int64
            var path: String
            var authorization: String

            func text(_ name: String) -> String? { if case .text(let text)? = parameters[name] { text } else { nil } }
            func integer(_ name: String) -> Int64? {
                if case .integer(let value)? = parameters[name] { value } else { nil }
            }
        }

        enum Reply: Sendable {
            /// The JSON of a result.
            case result(String)
            /// The name of an error.
            case refusal(String, String = "")
            /// The whole answer. `ID` stands for the number of the request.
            case raw(status: Int = 200, headers: [String: String] = [:], String)
            /// The same, in bytes.
            case bytes([UInt8])
            /// Ends the connection, without an answer or in the middle of one.
            case cut(after: String = "")
            /// Says nothing more, for ever.
            case silence(after: String = "")
            /// A body without an end.
            case endless
        }

        /// Nil where the script says nothing of a method.
        typealias Script = @Sendable (Call) -> Reply?

        fileprivate struct State {
            var script: Script
            var calls: [Call] = []
            var connections = 0
            var sent = 0
        }

        private let state: Locked<State>
        private let channel: any Channel

        /// `GetAPI` is answered unless the script does.
        init(tls: TLSConfiguration? = nil, _ script: @escaping Script) async throws {
            let state = Locked(State(script: script))
            self.state = state
            let context = try tls.map { try NIOSSLContext(configuration: $0) }
            channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        if let context { try pipeline.addHandler(NIOSSLServerHandler(context: context)) }
                        try pipeline.configureHTTPServerPipeline()
                        try pipeline.addHandler(ScriptedArrayHandler(state.answer, state.countBytes))
                    }
                }
                .bind(host: "127.0.0.1", port: 0).get()
        }

        var port: UInt16 { UInt16(channel.localAddress?.port ?? 0) }
        /// Those of the script: without `GetAPI`.
        var calls: [Call] { state.withLock { $0.calls.filter { $0.method != "GetAPI" } } }
        var allCalls: [Call] { state.withLock { $0.calls } }
        var methods: [String] { calls.map(\.method) }
        /// Bytes of endless bodies that the other side has taken.
        var sent: Int { state.withLock { $0.sent } }

        func count(_ method: String) -> Int { calls.count { $0.method == method } }
        func close() async throws { try await channel.close() }

        static let versions = #"{"currentVersion": "12.3", "supportedVersions": ["7.0", "9.0", "11.7", "12.3"]}"#

        func endpoint(
            password: String = "s3cr3t-of-the-array", trust: ElementEndpoint.Trust = .unencrypted
        ) -> ElementEndpoint {
            ElementEndpoint(
                host: "127.0.0.1", port: port, user: "admin", password: .init(password), trust: trust)
        }

        func client(
            _ clock: any Clock<Duration> = VirtualClock(), trust: ElementEndpoint.Trust = .unencrypted,
            _ change: (inout ElementOptions) -> Void = { _ in }
        ) throws -> ElementClient {
            var options = ElementOptions()
            change(&options)
            return try ElementClient(endpoint(trust: trust), options: options, clock: clock)
        }
    }

    extension Locked<ScriptedArray.State> {
        fileprivate func answer(_ call: ScriptedArray.Call) -> ScriptedArray.Reply {
            let script = withLock { state in
                state.calls.append(call)
                return state.script
            }
            if let reply = script(call) { return reply }
            return call.method == "GetAPI" ? .result(ScriptedArray.versions) : .refusal("xUnknownAPIMethod")
        }

        fileprivate func countBytes(_ count: Int) { withLock { $0.sent += count } }
    }

    private final class ScriptedArrayHandler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let script: (ScriptedArray.Call) -> ScriptedArray.Reply
        private let countBytes: (Int) -> Void
        private var head: HTTPRequestHead?
        private var body = ByteBuffer()

        init(
            _ script: @escaping (ScriptedArray.Call) -> ScriptedArray.Reply, _ countBytes: @escaping (Int) -> Void
        ) { (self.script, self.countBytes) = (script, countBytes) }

        private struct Request: Decodable {
            var method: String
            var params: [String: ElementAttributes.Value]
            var id: Int64
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): (self.head, body) = (head, ByteBuffer())
            case .body(var part): body.writeBuffer(&part)
            case .end:
                guard let head,
                    let request = try? JSONDecoder().decode(Request.self, from: Data(body.readableBytesView))
                else { return context.close(promise: nil) }
                let call = ScriptedArray.Call(
                    method: request.method, parameters: request.params, id: request.id, path: head.uri,
                    authorization: head.headers.first(name: "authorization") ?? "")
                answer(script(call), call.id, context)
            }
        }

        private func answer(_ reply: ScriptedArray.Reply, _ id: Int64, _ context: ChannelHandlerContext) {
            switch reply {
            case .result(let result): send(context, text: #"{"id": \#(id), "result": \#(result)}"#)
            case .refusal(let name, let message):
                send(
                    context,
                    text: #"{"id": \#(id), "error": {"code": 500, "name": "\#(name)", "message": "\#(message)"}}"#)
            case .raw(let status, let headers, let body):
                send(context, status, headers, text: body.replacingOccurrences(of: "ID", with: "\(id)"))
            case .bytes(let bytes): send(context, body: ByteBuffer(bytes: bytes))
            case .cut(let text):
                begin(context, text)
                context.close(promise: nil)
            case .silence(let text): begin(context, text)
            case .endless:
                begin(context, "{")
                goOn(context)
            }
        }

        private func send(
            _ context: ChannelHandlerContext, _ status: Int = 200, _ headers: [String: String] = [:], text: String
        ) { send(context, status, headers, body: ByteBuffer(string: text)) }

        private func send(
            _ context: ChannelHandlerContext, _ status: Int = 200, _ headers: [String: String] = [:],
            body: ByteBuffer
        ) {
            var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
            head.headers = ["Content-Length": "\(body.readableBytes)"]
            for (name, value) in headers { head.headers.add(name: name, value: value) }
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        }

        private func begin(_ context: ChannelHandlerContext, _ text: String) {
            guard !text.isEmpty else { return }
            let head = HTTPResponseHead(
                version: .http1_1, status: .ok, headers: ["Transfer-Encoding": "chunked"])
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
        }

        /// Sends the next bytes when the last ones are taken.
        private func goOn(_ context: ChannelHandlerContext) {
            let block = ByteBuffer(repeating: UInt8(ascii: " "), count: 1 << 16)
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(block)))).whenSuccess {
                let (handler, context) = bound.value
                handler.countBytes(1 << 16)
                handler.goOn(context)
            }
        }
    }
#endif
