/// One request to the kernel, as an engine takes it.
@safe
struct IORequest: @unchecked Sendable {
    enum Operation: UInt8 {
        case read, write, readVector, writeVector
        case sync, dataSync, allocate
        case receive, send, sendVector, accept, connect
        /// As `receive`, where nothing is expected to be there yet.
        case receiveLater
        case poll, timeout

        /// Whether the request changes a file, so that it must not happen late.
        var isChange: Bool {
            switch self {
            case .write, .writeVector, .allocate: true
            default: false
            }
        }

        var isFileTransfer: Bool {
            switch self {
            case .read, .write, .readVector, .writeVector: true
            default: false
            }
        }
    }

    var operation: Operation
    var descriptor: Int32
    /// Bytes to transfer, or a list of `iovec`, a `sockaddr`, a `timespec`: whatever the operation takes. Owned by the caller or
    /// by the request's slot, and valid until the completion is delivered.
    var memory: UnsafeMutableRawPointer?
    /// Bytes at `memory`, or entries of the list.
    var count: Int
    /// The place in the file, or the length argument of `allocate`.
    var offset: UInt64
    /// `fallocate` mode, poll events, `send` flags.
    var flags: Int32
    /// Threads that make the system call where there is no ring; nil for those of the engine. Kept by the request's slot.
    var workers: Unmanaged<BlockingPool>?

    init(
        _ operation: Operation, _ descriptor: Int32, _ memory: UnsafeMutableRawPointer? = nil, count: Int = 0,
        offset: UInt64 = 0, flags: Int32 = 0
    ) {
        self.operation = operation
        self.descriptor = descriptor
        unsafe self.memory = memory
        self.count = count
        self.offset = offset
        self.flags = flags
        unsafe workers = nil
    }
}

/// The outcome of a request: what the system call would have returned, or minus `errno`.
struct IOCompletion {
    var token: UInt64
    var result: Int
}

/// What an `IOExecutor` drives requests with. Everything but `wake` is called on the executor's own thread.
protocol IOEngine: AnyObject {
    static var name: String { get }

    /// Takes a request; its completion is delivered by a later `wait`, exactly once.
    func submit(_ request: IORequest, token: UInt64)

    /// Asks for an early end of a request; it still completes, with `ECANCELED` where that came in time.
    func cancel(token: UInt64)

    /// Hands submitted requests to the kernel and appends what has completed. With `blocking`, waits until at least one
    /// request completes, `wake` is called, or the time is up.
    func wait(blocking: Bool, until limit: Duration?, into completions: inout [IOCompletion])

    /// Ends a blocking `wait`. From any thread.
    func wake()

    /// Releases the engine's resources; nothing is in flight any more.
    func shutDown()
}
