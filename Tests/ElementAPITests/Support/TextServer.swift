#if ISCSI
    import NIOCore
    import NIOPosix

    /// A server on this host that says one thing to everybody.
    final class TextServer: Sendable {
        private let channel: any Channel

        init(_ text: String) async throws {
            channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(TextHandler(text))
                    }
                }
                .bind(host: "127.0.0.1", port: 0).get()
        }

        var port: UInt16 { UInt16(channel.localAddress?.port ?? 0) }
        func close() async throws { try await channel.close() }
    }

    private final class TextHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let text: String

        init(_ text: String) { self.text = text }

        func channelActive(context: ChannelHandlerContext) {
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
        }
    }
#endif
