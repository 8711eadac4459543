import BlockStorage
import IORuntime

extension QCOW2Volume {
    public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        let token = try await enter()
        defer { leave(token) }
        try state.withLock { state throws(StorageError) in
            try state.check(range.lowerBound, Int(clamping: range.upperBound - range.lowerBound))
        }
        var extents: [Extent] = []
        var position = range.lowerBound
        while position < range.upperBound {
            let mapping = try await mapping(position, range.upperBound - position)
            let part = position..<position + mapping.byteCount
            switch mapping.place {
            case .host, .compressed: extents.appendJoining(Extent(part, .data))
            case .zero: extents.appendJoining(Extent(part, .zero))
            case .unallocated: try await addBackingExtents(part, to: &extents)
            }
            position = part.upperBound
        }
        return extents
    }

    /// Adds what the backing file has for `range`, which is not allocated here.
    private func addBackingExtents(_ range: Range<UInt64>, to extents: inout [Extent]) async throws(StorageError) {
        guard let backing else { return extents.appendJoining(Extent(range, .hole)) }
        let end = min(max(backing.geometry.size, range.lowerBound), range.upperBound)
        if range.lowerBound < end {
            for extent in try await backing.extents(in: range.lowerBound..<end) { extents.appendJoining(extent) }
        }
        if end < range.upperBound { extents.appendJoining(Extent(end..<range.upperBound, .hole)) }
    }
}

extension [Extent] {
    /// Adds an extent, as part of the last one where that has the same kind and ends where it begins.
    mutating func appendJoining(_ extent: Extent) {
        if let last, last.kind == extent.kind, last.range.upperBound == extent.range.lowerBound {
            self[count - 1].range = last.range.lowerBound..<extent.range.upperBound
        } else {
            append(extent)
        }
    }
}
