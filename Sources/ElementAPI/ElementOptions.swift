#if ISCSI
    /// How long an array is waited for, how often it is asked, and how much it may answer.
    public struct ElementOptions: Sendable {
        /// All of one call, with every repetition of it.
        public var deadline = Duration.seconds(60)
        /// One request with its answer.
        public var requestTime = Duration.seconds(30)
        /// Connecting, with the TLS handshake.
        public var connectTime = Duration.seconds(10)
        /// How often a request is sent that fails in a way that passes.
        public var tries = 5
        /// Before the second try; the double before the third, and so on.
        public var retryDelay = Duration.seconds(1)
        /// How long an asynchronous operation, such as a clone, may take.
        public var operationTime = Duration.seconds(600)
        /// Between two questions about an asynchronous operation at first; fifty times as long in the end.
        public var pollInterval = Duration.milliseconds(100)
        /// The largest answer, in bytes.
        public var largestAnswer = 8 << 20
        /// How many entries of a list are asked for at a time.
        public var pageSize = 500
        /// How many entries a list may have.
        public var largestList = 20_000
        /// Sees the name of every method before the array is asked for it.
        package var observer: (@Sendable (_ method: String) -> Void)?

        public init() {}
    }
#endif
