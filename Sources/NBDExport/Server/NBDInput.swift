import IORuntime

/// Bytes that a client sent and nobody took yet. One receive brings many requests.
struct NBDInput: ~Copyable {
    private var buffer: IOBuffer
    private var start = 0
    private var end = 0

    /// `capacity`: bytes that can wait at once, and so the longest message that can be taken in one piece.
    init(capacity: Int) { buffer = IOBuffer(byteCount: capacity) }

    /// How many bytes are waiting.
    var byteCount: Int { end - start }

    /// The bytes that are waiting.
    var bytes: RawSpan {
        @_lifetime(borrow self)
        get { buffer.bytes.extracting(start..<end) }
    }

    /// Drops bytes from the front; so many must be waiting.
    mutating func drop(_ byteCount: Int) {
        precondition(byteCount <= self.byteCount, "dropping more than is there")
        start += byteCount
        if start == end { (start, end) = (0, 0) }
    }

    /// Waits for at least one more byte; false when the client has ended. There must be room.
    mutating func receive(from socket: Socket) async throws(SystemError) -> Bool {
        if end == buffer.byteCount { moveToFront() }
        precondition(end < buffer.byteCount, "no room to receive")
        let start = end
        var memory = buffer.mutableBytes
        var room = memory._mutatingExtracting(start...)
        let count = try await socket.receive(into: &room)
        end += count
        return count > 0
    }

    /// Fills `target`, first with bytes that are waiting, the rest straight from the socket. Throws where the client
    /// ended before.
    mutating func receive(into target: inout MutableRawSpan, from socket: Socket) async throws(SystemError) {
        let waiting = min(byteCount, target.byteCount)
        target.copy(from: bytes.extracting(0..<waiting))
        drop(waiting)
        if waiting == target.byteCount { return }
        var rest = target._mutatingExtracting(waiting...)
        try await socket.receiveAll(into: &rest)
    }

    /// Drops the next `count` bytes, whether they are waiting or still to come; false when the client ended before.
    mutating func skip(_ count: UInt32, from socket: Socket) async throws(SystemError) -> Bool {
        var left = Int(count)
        while left > 0 {
            if byteCount == 0 {
                guard try await receive(from: socket) else { return false }
            }
            let dropped = min(left, byteCount)
            drop(dropped)
            left -= dropped
        }
        return true
    }

    /// Makes room behind the waiting bytes: in the transmission phase they are less than a header.
    private mutating func moveToFront() {
        let (first, count) = (start, byteCount)
        var memory = buffer.mutableBytes
        for index in 0..<count {
            let byte = memory.bytes.loadBigEndian(UInt8.self, at: first + index)
            memory.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
        }
        (start, end) = (0, count)
    }
}
