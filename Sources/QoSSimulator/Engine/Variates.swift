import BlockStorage

/// Random quantities that a seed repeats on every machine: nothing but additions, multiplications and divisions, which
/// are the same everywhere.
extension SeededGenerator {
    /// A generator for one of many parts of a simulation, which draws the same numbers whatever the other parts do.
    init(seed: UInt64, part: UInt64) {
        var mixer = SeededGenerator(seed: seed ^ (part &* 0x9e37_79b9_7f4a_7c15))
        self.init(seed: mixer.next() ^ part)
    }

    /// Evenly below `bound`, which is at least 1.
    @inline(__always)
    mutating func below(_ bound: UInt64) -> UInt64 { next().multipliedFullWidth(by: max(1, bound)).high }

    /// Exponentially distributed, with mean 1.
    mutating func exponential() -> Double {
        // In (0, 1], so that the logarithm is finite.
        let uniform = Double((next() >> 11) + 1) * 0x1p-53
        return -naturalLogarithm(uniform)
    }
}

/// The natural logarithm of a positive, normal number, to about 15 digits.
func naturalLogarithm(_ value: Double) -> Double {
    var exponent = Double(value.exponent)
    var significand = value.significand
    if significand > 1.414_213_562_373_095 {
        significand /= 2
        exponent += 1
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose series converges quickly near 1.
    let ratio = (significand - 1) / (significand + 1)
    let square = ratio * ratio
    var sum = 0.0
    for denominator in stride(from: 21.0, through: 1, by: -2) { sum = sum * square + 1 / denominator }
    return exponent * 0.693_147_180_559_945_3 + 2 * ratio * sum
}

/// The cosine of `turns` full turns, to about 10 digits.
func cosine(turns: Double) -> Double {
    var fraction = turns - turns.rounded(.down)
    if fraction > 0.5 { fraction = 1 - fraction }
    // Around a quarter turn the series of the sine converges quickly.
    let angle = (0.25 - fraction) * 2 * Double.pi
    let square = angle * angle
    var sum = 0.0
    for step in stride(from: 17.0, through: 3, by: -2) { sum = (1 + sum) * -square / (step * (step - 1)) }
    return angle * (1 + sum)
}
