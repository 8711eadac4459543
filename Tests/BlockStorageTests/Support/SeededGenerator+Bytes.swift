import BlockStorage

extension SeededGenerator {
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
