import Foundation

/// Times and rates for people and scripts.
enum Times {
    /// Seconds since 1970 as RFC 3339 in UTC. What no calendar can hold is drawn to its nearest end.
    static func rfc3339(_ seconds: Int64) -> String {
        let end: Int64 = 253_402_300_799
        return Date(timeIntervalSince1970: Double(min(max(seconds, 0), end))).formatted(.iso8601)
    }

    /// Whole microseconds, rounded up.
    static func microseconds(_ duration: Duration) -> UInt64 {
        UInt64(clamping: Int64((duration / .microseconds(1)).rounded(.up)))
    }

    /// `0.4 ms`, `12 s`, `3:05 min`.
    static func text(_ duration: Duration) -> String {
        let seconds = duration / .seconds(1)
        switch seconds {
        case ..<0.001: return "\(fixed(seconds * 1e6, 0)) µs"
        case ..<1: return "\(fixed(seconds * 1e3, 1)) ms"
        case ..<120: return "\(fixed(seconds, 1)) s"
        case ..<360_000:
            let whole = Int(seconds)
            return "\(whole / 60):\(whole % 60 < 10 ? "0" : "")\(whole % 60) min"
        default: return "\(fixed(seconds / 3600, 0)) h"
        }
    }

    /// A number with so many decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        String(format: "%.*f", decimals, value)
    }
}
