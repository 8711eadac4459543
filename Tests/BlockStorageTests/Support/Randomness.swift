/// SplitMix64: the same seed gives the same numbers everywhere.
struct Randomness: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 32) }
    }

    /// Runs of zeros and of random bytes, in turn, of random lengths.
    mutating func sparseBytes(_ count: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: count)
        var position = 0
        while position < count {
            let length = min(count - position, Int.random(in: 1...200_000, using: &self))
            if Bool.random(using: &self) {
                for index in position..<position + length { result[index] = UInt8.random(in: 1...255, using: &self) }
            }
            position += length
        }
        return result
    }
}
