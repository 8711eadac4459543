/// What will happen, by time; in the order of scheduling where times are equal.
struct EventQueue: Sendable {
    enum Kind: UInt64 {
        /// A request ends; the index is its place in flight.
        case completion
        /// A stream issues a request.
        case arrival
        /// A stream begins or ends being active.
        case activity
        /// A limiter in the hypervisor lets a volume's next request go.
        case release
    }

    /// The most streams or volumes that an event can name.
    static let largestIndex = 1 << 20

    private struct Event {
        var time: UInt64
        /// The number in the order of scheduling, above the kind, above the index.
        var identity: UInt64

        @inline(__always)
        func precedes(_ other: Event) -> Bool {
            time < other.time || (time == other.time && identity < other.identity)
        }
    }

    private static let indexBits: UInt64 = 21
    private static let kindBits: UInt64 = 2

    private var heap: [Event] = []
    private var scheduled: UInt64 = 0

    /// When the next event is, `UInt64.max` where there is none.
    @inline(__always)
    var nextTime: UInt64 { heap.isEmpty ? .max : heap[0].time }

    @inline(__always)
    mutating func schedule(_ kind: Kind, _ index: Int, at time: UInt64) {
        let identity =
            (scheduled << (Self.indexBits + Self.kindBits)) | (kind.rawValue << Self.indexBits) | UInt64(index)
        scheduled &+= 1
        let event = Event(time: time, identity: identity)
        heap.append(event)
        var place = heap.count - 1
        while place > 0 {
            let parent = (place - 1) >> 2
            guard event.precedes(heap[parent]) else { break }
            heap[place] = heap[parent]
            place = parent
        }
        heap[place] = event
    }

    @inline(__always)
    mutating func popFirst() -> (kind: Kind, index: Int)? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return Self.decode(last) }
        let count = heap.count
        var place = 0
        while true {
            let child = place << 2 + 1
            guard child < count else { break }
            var least = child
            for other in (child + 1)..<max(child + 1, min(child + 4, count)) where heap[other].precedes(heap[least]) {
                least = other
            }
            guard heap[least].precedes(last) else { break }
            heap[place] = heap[least]
            place = least
        }
        heap[place] = last
        return Self.decode(first)
    }

    @inline(__always)
    private static func decode(_ event: Event) -> (kind: Kind, index: Int)? {
        guard let kind = Kind(rawValue: (event.identity >> indexBits) & ((1 << kindBits) - 1)) else { return nil }
        return (kind, Int(event.identity & ((1 << indexBits) - 1)))
    }
}
