/// Requests that wait, in the order in which they came: a ring that grows, and allocates nothing once it is large enough.
struct RequestQueue: Sendable {
    struct Request: Sendable {
        /// The caller's own number for it.
        var id: UInt64
        var cost: Int64
        var byteCount: Int64
        /// In nanoseconds.
        var arrival: UInt64
    }

    private var ring: [Request] = []
    private var head = 0
    private(set) var count = 0

    /// Where the request is that `offset` others come before. The ring's size is a power of two.
    private func place(_ offset: Int) -> Int { (head + offset) & (ring.count - 1) }

    var first: Request? { count > 0 ? ring[head] : nil }

    mutating func append(_ request: Request) {
        if count == ring.count {
            ring = (0..<count).map { ring[place($0)] }
            head = 0
            ring.append(contentsOf: repeatElement(request, count: max(16, count)))
        }
        ring[place(count)] = request
        count += 1
    }

    mutating func popFirst() -> Request? {
        guard count > 0 else { return nil }
        defer {
            head = place(1)
            count -= 1
        }
        return ring[head]
    }

    /// Takes one out of the middle, such as one whose task was cancelled. Linear.
    mutating func remove(_ id: UInt64) -> Bool {
        guard let offset = (0..<count).first(where: { ring[place($0)].id == id }) else { return false }
        for index in offset..<(count - 1) {
            ring[place(index)] = ring[place(index + 1)]
        }
        count -= 1
        return true
    }
}
