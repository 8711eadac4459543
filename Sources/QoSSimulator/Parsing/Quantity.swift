/// Numbers with units, as scenario files write them. Nil for what is no such number or does not fit.
enum Quantity {
    private static let times: [String: UInt64] = [
        "ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000,
        "min": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000,
    ]
    private static let sizes: [String: UInt64] = [
        "": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50,
    ]
    private static let multiples: [String: UInt64] = ["": 1, "k": 1000, "m": 1_000_000]

    /// `200us`, `1.5s`, `10min`: in nanoseconds, up to a hundred years.
    static func time(_ text: String) -> UInt64? { scaled(text, times, limit: 3_155_760_000_000_000_000) }

    /// `4k`, `64KiB`, `10G`: in bytes, binary.
    static func size(_ text: String) -> UInt64? {
        var text = text.lowercased()
        if text.hasSuffix("ib") { text.removeLast(2) } else if text.hasSuffix("b") { text.removeLast() }
        return scaled(text, sizes, limit: 1 << 60)
    }

    /// `400000`, `400k`, `1.5M`.
    static func count(_ text: String) -> UInt64? { scaled(text.lowercased(), multiples, limit: 1 << 40) }

    /// `70%` or `70`.
    static func percent(_ text: String) -> UInt64? {
        count(text.hasSuffix("%") ? String(text.dropLast()) : text)
    }

    /// `13.33`, `1.5k`; with a `%` after it where it is a percentage.
    static func figure(_ text: String, isPercentage: Bool = false) -> Double? {
        let text = isPercentage && text.hasSuffix("%") ? String(text.dropLast()) : text.lowercased()
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let value = Double(digits), value.isFinite,
            let factor = multiples[String(text.dropFirst(digits.count).drop { $0 == " " })]
        else { return nil }
        return value * Double(factor)
    }

    /// Exact: digits are counted, not rounded.
    private static func scaled(_ text: String, _ units: [String: UInt64], limit: UInt64) -> UInt64? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == "." || $0 == "_") }
        let unit = text.dropFirst(digits.count).drop { $0 == " " }
        guard let factor = units[String(unit)] else { return nil }
        let parts = digits.filter { $0 != "_" }.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let whole = UInt64(parts[0]) else { return nil }
        var sum = UInt128(whole) * UInt128(factor)
        if parts.count == 2 {
            guard !parts[1].isEmpty, parts[1].count <= 9, let fraction = UInt64(parts[1]) else { return nil }
            var divisor: UInt128 = 1
            for _ in parts[1] { divisor *= 10 }
            let product = UInt128(fraction) * UInt128(factor)
            // What would have to be rounded is a mistake.
            guard product % divisor == 0 else { return nil }
            sum += product / divisor
        }
        return sum <= UInt128(limit) ? UInt64(sum) : nil
    }
}
