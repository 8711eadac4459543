extension NBDServer {
    /// Limits on what clients may take. None of them can be exceeded, whatever a client sends.
    public struct Configuration: Sendable {
        /// Clients at once; one more is disconnected.
        public var largestConnectionCount = 64
        /// Requests in flight for each client; what it sends beyond that waits in its socket. At least 1.
        public var largestRequestCount = 64
        /// Memory for payloads of more than 28 KiB in flight, for each client, in bytes. One request of the largest
        /// size, 32 MiB, is served even where it is larger.
        public var largestPayloadMemory = 32 << 20
        /// How long a client may take to choose its export.
        public var handshakeDeadline: Duration = .seconds(30)
        /// How long `stop` waits for requests in flight before it disconnects clients and cancels.
        public var drainDeadline: Duration = .seconds(30)

        /// The limits that suit a hypervisor host.
        public init() {}
    }

    /// What a server has done since it was made.
    public struct Statistics: Sendable, Equatable {
        /// Clients that are connected.
        public var connections = 0
        /// Clients that have connected.
        public var totalConnections: UInt64 = 0
        /// Requests received.
        public var requests: UInt64 = 0
        /// Requests answered with an error.
        public var errors: UInt64 = 0
        /// Bytes that read requests returned, zeros included.
        public var bytesRead: UInt64 = 0
        /// Bytes that write requests carried.
        public var bytesWritten: UInt64 = 0
        /// Bytes sent in replies, headers included; less than `bytesRead` where zeros were not sent.
        public var bytesSent: UInt64 = 0

        /// Nothing yet.
        public init() {}

        mutating func add(_ other: Statistics) {
            connections += other.connections
            totalConnections &+= other.totalConnections
            requests &+= other.requests
            errors &+= other.errors
            bytesRead &+= other.bytesRead
            bytesWritten &+= other.bytesWritten
            bytesSent &+= other.bytesSent
        }
    }
}
