import BlockStorage
import IORuntime

/// The reply to `NBD_CMD_BLOCK_STATUS`, built from extents as they are found.
struct NBDBlockStatus {
    /// The most descriptors in a reply. The client asks again for the rest.
    static let largestCount = 2048
    /// Room for the longest reply, in bytes.
    static let longestReply = NBDReply.chunkHeaderByteCount + 4 + 8 * largestCount

    private var descriptors: [(length: UInt32, state: NBDAllocationState)] = []
    private let limit: Int
    /// The end of what is described so far.
    private(set) var end: UInt64
    private let requested: Range<UInt64>

    /// `requestOne`: the client wants one descriptor only. `requested` is not empty and shorter than 4 GiB.
    init(requested: Range<UInt64>, requestOne: Bool) {
        self.requested = requested
        limit = requestOne ? 1 : Self.largestCount
        end = requested.lowerBound
    }

    /// Adds the next extents, which go on where the last ended. Returns whether more are wanted.
    mutating func add(_ extents: [Extent]) -> Bool {
        for extent in extents {
            let upper = min(extent.range.upperBound, requested.upperBound)
            guard extent.range.lowerBound <= end, upper > end else { continue }
            let state: NBDAllocationState =
                switch extent.kind {
                case .data: []
                case .zero: .zero
                case .hole: [.hole, .zero]
                }
            // Fits: the descriptors together are no longer than the request, whose length is a UInt32.
            let length = UInt32(truncatingIfNeeded: upper - end)
            if let last = descriptors.last, last.state == state {
                descriptors[descriptors.count - 1].length = last.length + length
            } else if descriptors.count == limit {
                return false
            } else {
                descriptors.append((length, state))
            }
            end = upper
        }
        return end < requested.upperBound
    }

    /// Stores the reply; returns its length in bytes.
    func store(cookie: UInt64, into bytes: inout MutableRawSpan) -> Int {
        let payload = 4 + 8 * descriptors.count
        NBDReply.storeLastChunk(.blockStatus, cookie: cookie, length: payload, into: &bytes)
        var position = NBDReply.chunkHeaderByteCount
        bytes.storeBigEndian(NBD.allocationContextID, at: position)
        position += 4
        for (length, state) in descriptors {
            bytes.storeBigEndian(length, at: position)
            bytes.storeBigEndian(state.rawValue, at: position + 4)
            position += 8
        }
        return position
    }
}
