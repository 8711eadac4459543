/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`, as it stands in the URL of a pool.
struct HostAndPort: Hashable, Sendable {
    /// A name or an address, without brackets.
    var host: String
    /// Nil where none is given.
    var port: UInt16?

    init(_ host: String, port: UInt16? = nil) { (self.host, self.port) = (host, port) }

    /// Nil for anything else.
    init?(_ text: some StringProtocol) {
        let (host, rest): (String, String)
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = String(text[text.index(after: text.startIndex)..<end])
            rest = String(text[text.index(after: end)...])
            guard host.contains(":"), host.utf8.allSatisfy({ Self.isHexadecimal($0) || ":.".utf8.contains($0) }) else {
                return nil
            }
        } else {
            host = String(text.prefix { $0 != ":" })
            rest = String(text.dropFirst(host.count))
            guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(Self.isOfName) else { return nil }
        }
        self.host = host
        if rest.isEmpty { return }
        guard rest.hasPrefix(":"), rest.dropFirst().allSatisfy(\.isASCII), rest.dropFirst().first?.isNumber == true,
            let port = UInt16(rest.dropFirst()), port > 0
        else { return nil }
        self.port = port
    }

    /// The same, with `usual` for a port that is not given.
    func withPort(usual: UInt16) -> HostAndPort { HostAndPort(host, port: port ?? usual) }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || "-._".utf8.contains(byte)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}

extension HostAndPort: CustomStringConvertible {
    var description: String { (host.contains(":") ? "[\(host)]" : host) + (port.map { ":\($0)" } ?? "") }
}
