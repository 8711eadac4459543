/// A number of bytes as people write it: `512`, `4k`, `64M`, `10G`, `2TiB`; units are powers of 1024.
public struct ByteCount: Hashable, Sendable {
    public var bytes: UInt64

    public init(_ bytes: UInt64) { self.bytes = bytes }

    /// Nil for anything but a number and a unit, and for more than 64 bits hold.
    public init?(_ text: String) {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits), let factor = Self.factor(text.dropFirst(digits.count)) else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
        if overflow { return nil }
        self.bytes = bytes
    }

    private static func factor(_ unit: Substring) -> UInt64? {
        let unit = unit.lowercased()
        if unit.isEmpty || unit == "b" { return 1 }
        guard let letter = unit.first, let power = Array("kmgtpe").firstIndex(of: letter),
            ["", "b", "ib"].contains(unit.dropFirst())
        else { return nil }
        return 1 << (10 * (UInt64(power) + 1))
    }

    /// With one decimal in the largest unit that leaves at least 1: `10.0 GiB`.
    public var text: String {
        if bytes < 1024 { return "\(bytes) B" }
        let exponent = (UInt64.bitWidth - 1 - bytes.leadingZeroBitCount) / 10
        // Integer arithmetic: a count just under a unit must not print as 1024.0 of the lower one.
        let tenths = (bytes >> UInt64(10 * (exponent - 1))).multipliedReportingOverflow(by: 10).partialValue / 1024
        let unit = Array("KMGTPE")[exponent - 1]
        return "\(tenths / 10).\(tenths % 10) \(unit)iB"
    }
}
