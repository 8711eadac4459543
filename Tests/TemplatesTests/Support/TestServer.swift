#if Downloads
    import IORuntime
    import NIOCore
    import NIOHTTP1
    import NIOPosix

    /// A web server on this host with one file, which does as it is told.
    final class TestServer: Sendable {
        enum Behaviour: Sendable {
            /// Gives parts of the file.
            case good
            /// Gives the beginning of an answer, and nothing more.
            case stuck
            /// Gives the file as a whole, and goes on with zeros for ever.
            case endless
        }

        struct State {
            var bytes: [UInt8]
            var behaviour: Behaviour
            var entityTag = "\"1\""
            var requests: [String] = []
            /// Bytes of bodies that the other side has taken.
            var sent = 0
        }

        let state: Locked<State>
        private let channel: any Channel

        init(_ bytes: [UInt8], _ behaviour: Behaviour = .good) async throws {
            let state = Locked(State(bytes: bytes, behaviour: behaviour))
            self.state = state
            channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                        try channel.pipeline.syncOperations.addHandler(TestServerHandler(state))
                    }
                }
                .bind(host: "127.0.0.1", port: 0).get()
        }

        var port: Int { channel.localAddress?.port ?? 0 }
        func url(_ name: String) -> String { "http://127.0.0.1:\(port)/\(name)" }
        func close() async throws { try await channel.close() }
    }

    private final class TestServerHandler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let state: Locked<TestServer.State>
        private var head: HTTPRequestHead?

        init(_ state: Locked<TestServer.State>) { self.state = state }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): self.head = head
            case .body: break
            case .end:
                guard let head else { return }
                answer(head, context)
            }
        }

        private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
            let (bytes, behaviour, tag) = state.withLock { state in
                state.requests.append(head.headers.first(name: "range") ?? "all")
                return (state.bytes, state.behaviour, state.entityTag)
            }
            var headers: HTTPHeaders = ["ETag": tag]
            let range = head.headers.first(name: "range").flatMap(Self.range)
            if let range, behaviour != .endless {
                let part = range.clamped(to: 0..<bytes.count)
                headers.add(
                    name: "Content-Range", value: "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(bytes.count)")
                headers.add(name: "Content-Length", value: "\(part.count)")
                context.write(
                    wrapOutboundOut(.head(.init(version: .http1_1, status: .partialContent, headers: headers))),
                    promise: nil)
                if behaviour == .stuck, part.count > 1 {
                    context.flush()
                    return
                }
                context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes[part])))), promise: nil)
                state.withLock { $0.sent += part.count }
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            } else {
                headers.add(name: "Transfer-Encoding", value: "chunked")
                context.write(
                    wrapOutboundOut(.head(.init(version: .http1_1, status: .ok, headers: headers))), promise: nil)
                context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
                goOn(context)
            }
        }

        /// Sends the next bytes when the last ones are taken.
        private func goOn(_ context: ChannelHandlerContext) {
            let block = ByteBuffer(repeating: 0, count: 1 << 16)
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(block)))).whenSuccess {
                let (handler, context) = bound.value
                handler.state.withLock { $0.sent += 1 << 16 }
                handler.goOn(context)
            }
        }

        private static func range(_ text: String) -> Range<Int>? {
            let ends = text.dropFirst("bytes=".count).split(separator: "-")
            guard ends.count == 2, let first = Int(ends[0]), let last = Int(ends[1]), first <= last else { return nil }
            return first..<last + 1
        }
    }
#endif
