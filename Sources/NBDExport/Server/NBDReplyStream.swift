import IORuntime

/// What one client is sent. Replies that complete in one turn of the executor leave in one system call.
///
/// Short replies are copied behind each other, so that a request's task is free at once and its buffer with it; long
/// ones are sent from where they are. Once a send has failed everything else is dropped: the client is gone.
@safe
final class NBDReplyStream: @unchecked Sendable {
    // Sound: confined to the connection's executor.
    private let socket: Socket
    private var filling: IOBuffer
    private var filled = 0
    private var isFinished = false
    private(set) var isBroken = false
    private let wake = IOSignal()
    private var waitingForRoom: [IOSignal] = []
    private var isSending = false
    private var waitingToSend: [IOSignal] = []
    /// All that was sent, in bytes.
    private(set) var byteCount: UInt64 = 0

    /// `capacity` is that of the two buffers that are filled and sent in turn, in bytes.
    init(socket: Socket, capacity: Int) {
        self.socket = socket
        filling = IOBuffer(byteCount: capacity)
    }

    /// Sends what is appended, until `finish` was called and all is sent. Calls `sent` after each batch.
    func run(_ sent: () -> Void) async {
        var sending = IOBuffer(byteCount: filling.byteCount)
        let turn = IOSignal()
        while true {
            while filled == 0 {
                if isFinished { return }
                await wake.wait()
            }
            await beginSending(turn)
            swap(&filling, &sending)
            let count = filled
            filled = 0
            for waiter in waitingForRoom { waiter.signal() }
            waitingForRoom.removeAll(keepingCapacity: true)
            await send(sending.bytes.extracting(0..<count))
            endSending()
            sent()
        }
    }

    /// Ends `run` once everything is sent. Nothing is appended any more.
    func finish() {
        isFinished = true
        wake.signal()
    }

    /// Appends a copy of `reply`, which is at most as long as the capacity; waits while the client does not read.
    @inline(__always)
    func append(_ reply: RawSpan, _ signal: IOSignal) async {
        if filling.byteCount - filled < reply.byteCount { await waitForRoom(reply.byteCount, signal) }
        if filled == 0 { wake.signal() }
        var memory = filling.mutableBytes
        memory.copy(from: reply, to: filled)
        filled += reply.byteCount
    }

    /// Appends what `body` stores, at most `limit` bytes; it returns how many.
    @inline(__always)
    func append(upTo limit: Int, _ signal: IOSignal, _ body: (inout MutableRawSpan) -> Int) async {
        if filling.byteCount - filled < limit { await waitForRoom(limit, signal) }
        if filled == 0 { wake.signal() }
        var memory = filling.mutableBytes
        var room = memory._mutatingExtracting(filled..<filled + limit)
        filled += body(&room)
    }

    /// Sends `reply` from where it is, and returns when that is done.
    func sendInPlace(_ reply: RawSpan, _ signal: IOSignal) async {
        await beginSending(signal)
        await send(reply)
        endSending()
    }

    @inline(never)
    private func waitForRoom(_ byteCount: Int, _ signal: IOSignal) async {
        while filling.byteCount - filled < byteCount {
            waitingForRoom.append(signal)
            await signal.wait()
        }
    }

    private func beginSending(_ signal: IOSignal) async {
        if isSending {
            waitingToSend.append(signal)
            await signal.wait()
        }
        isSending = true
    }

    private func endSending() {
        if waitingToSend.isEmpty {
            isSending = false
        } else {
            // The turn passes on without being free in between.
            waitingToSend.removeFirst().signal()
        }
    }

    private func send(_ bytes: RawSpan) async {
        if isBroken { return }
        do throws(SystemError) {
            try await socket.send(bytes)
            byteCount += UInt64(bytes.byteCount)
        } catch {
            isBroken = true
            // What waits for the client's next request has nothing to wait for either.
            socket.shutDown()
        }
    }
}
