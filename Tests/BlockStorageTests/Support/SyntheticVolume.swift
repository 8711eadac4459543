import BlockStorage
import IORuntime

/// A volume of any size whose bytes are computed: every 64 KiB unit is data, zeros or a hole, as its number decides.
/// What is written is compared with what this volume itself would hold.
final class SyntheticVolume: Volume {
    static let unit: UInt64 = 64 << 10

    private struct State {
        var bytesWritten: UInt64 = 0
        var isIntact = true
        var inFlight = 0
        var mostInFlight = 0
    }

    private let size: UInt64
    private let state = Locked(State())

    /// Reads wait for one another until this many have run at once.
    private let expectedInFlight: Int

    init(size: UInt64, expectedInFlight: Int = 1) {
        self.size = size
        self.expectedInFlight = expectedInFlight
    }

    var bytesWritten: UInt64 { state.withLock { $0.bytesWritten } }
    /// Whether everything written so far had the right bytes.
    var isIntact: Bool { state.withLock { $0.isIntact } }
    /// The largest number of requests that ran at once.
    var mostInFlight: Int { state.withLock { $0.mostInFlight } }

    var geometry: VolumeGeometry { VolumeGeometry(size: size) }
    var stack: String { "synthetic" }

    static func kind(ofUnit unit: UInt64) -> Extent.Kind {
        switch unit % 8 {
        case 0...4: .data
        case 5: .zero
        default: .hole
        }
    }

    func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
        try geometry.check(offset, buffer.byteCount)
        state.withLock { state in
            state.inFlight += 1
            state.mostInFlight = max(state.mostInFlight, state.inFlight)
        }
        await Task.yield()
        // Bounded: a copy that never runs so many at once ends, and its test sees how many it did run.
        var turns = 0
        while mostInFlight < expectedInFlight, turns < 100_000 {
            turns += 1
            await Task.yield()
        }
        Self.generate(into: &buffer, at: offset)
        state.withLock { $0.inFlight -= 1 }
    }

    func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
        try geometry.check(offset, bytes.byteCount)
        let isSame = Self.isGenerated(bytes, at: offset)
        state.withLock { state in
            state.bytesWritten += UInt64(bytes.byteCount)
            state.isIntact = state.isIntact && isSame
        }
    }

    func flush() async throws(StorageError) {}
    func discard(_ range: Range<UInt64>) async throws(StorageError) {}
    func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {}
    func close() async throws(StorageError) {}

    func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
        try geometry.check(range)
        var extents: [Extent] = []
        var start = range.lowerBound
        while start < range.upperBound {
            let end = min(range.upperBound, (start / Self.unit + 1) * Self.unit)
            extents.append(Extent(start..<end, Self.kind(ofUnit: start / Self.unit)))
            start = end
        }
        return extents
    }

    private static let pattern: [UInt8] = {
        var randomness = SeededGenerator(seed: 7)
        return randomness.bytes(Int(unit))
    }()

    /// The parts of a range of bytes that lie in one unit each, and where they lie in it. A unit of data is the
    /// pattern, with the unit's number in its first 8 bytes.
    private static func parts(of byteCount: Int, at offset: UInt64) -> [(number: UInt64, place: Range<Int>)] {
        var parts: [(number: UInt64, place: Range<Int>)] = []
        var position = offset
        while position < offset + UInt64(byteCount) {
            let number = position / unit
            let end = min(offset + UInt64(byteCount), (number + 1) * unit)
            parts.append((number, Int(position - number * unit)..<Int(end - number * unit)))
            position = end
        }
        return parts
    }

    private static func stamp(_ number: UInt64, _ index: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: number >> (8 * UInt64(index)))
    }

    private static func generate(into buffer: inout MutableRawSpan, at offset: UInt64) {
        var start = 0
        for (number, place) in parts(of: buffer.byteCount, at: offset) {
            var target = buffer._mutatingExtracting(start..<start + place.count)
            start += place.count
            guard kind(ofUnit: number) == .data else {
                target.zero()
                continue
            }
            target.copy(from: pattern.rawBytes.extracting(place))
            for index in place.lowerBound..<max(place.lowerBound, min(place.upperBound, 8)) {
                target.storeBytes(of: stamp(number, index), toByteOffset: index - place.lowerBound, as: UInt8.self)
            }
        }
    }

    private static func isGenerated(_ bytes: RawSpan, at offset: UInt64) -> Bool {
        var start = 0
        for (number, place) in parts(of: bytes.byteCount, at: offset) {
            let found = bytes.extracting(start..<start + place.count)
            start += place.count
            guard kind(ofUnit: number) == .data else {
                if found.isZero { continue }
                return false
            }
            let stamped = max(place.lowerBound, min(place.upperBound, 8)) - place.lowerBound
            for index in 0..<stamped where found[index] != stamp(number, index + place.lowerBound) { return false }
            let rest = pattern.rawBytes.extracting(place).extracting(droppingFirst: stamped)
            guard found.extracting(droppingFirst: stamped).hasSameBytes(as: rest) else { return false }
        }
        return true
    }
}
