/// Counts the requests in flight, in two epochs, and keeps them out while the structure of the image changes.
///
/// A host cluster that was unlinked may have requests on their way that looked it up before. Those began in the epoch
/// of the unlinking or earlier; once the next epoch has begun and the earlier one has drained, nobody uses the cluster.
struct RequestGate {
    /// What a request holds while it runs.
    struct Token {
        fileprivate let epoch: Int
    }

    private(set) var isShut = false
    private var inFlight: (Int, Int) = (0, 0)
    private var current = 0
    private var waitingForEntry: [CheckedContinuation<Void, Never>] = []
    private var waitingForDrain: CheckedContinuation<Void, Never>?

    /// The gate must not be shut.
    @inline(__always)
    mutating func enter() -> Token {
        if current == 0 { inFlight.0 += 1 } else { inFlight.1 += 1 }
        return Token(epoch: current)
    }

    @inline(__always)
    mutating func leave(_ token: Token) {
        if token.epoch == 0 { inFlight.0 -= 1 } else { inFlight.1 -= 1 }
        if isShut, isDrained, let waiter = waitingForDrain {
            waitingForDrain = nil
            waiter.resume()
        }
    }

    private var isDrained: Bool { inFlight == (0, 0) }

    /// No request of the epoch before the current one is in flight.
    var isEarlierEpochDrained: Bool { (current == 0 ? inFlight.1 : inFlight.0) == 0 }

    /// Begins an epoch; the earlier one must have drained.
    mutating func advance() { current = 1 - current }

    /// Adds a request that waits for the gate to open, or resumes it at once.
    mutating func waitForEntry(_ continuation: CheckedContinuation<Void, Never>) {
        if isShut { waitingForEntry.append(continuation) } else { continuation.resume() }
    }

    /// Keeps new requests out. One at a time may do so.
    mutating func shut() { isShut = true }

    /// Waits until no request is in flight; the gate is shut.
    mutating func waitForDrain(_ continuation: CheckedContinuation<Void, Never>) {
        if isDrained { continuation.resume() } else { waitingForDrain = continuation }
    }

    /// Lets requests in again.
    mutating func open() {
        isShut = false
        let waiting = waitingForEntry
        waitingForEntry = []
        for continuation in waiting { continuation.resume() }
    }
}
