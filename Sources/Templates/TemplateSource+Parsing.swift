import BlockStorage
import SystemPackage

extension TemplateSource where Self == FileTemplateSource {
    /// The source that an operator names: a path, or a `file:` URL of this host.
    ///
    /// Throws `notSupported` for other URLs and `invalidArgument` for a `file:` URL that names no file of this host. A
    /// URL is not repeated in the error, since it may carry a password.
    public static func named(_ text: String) throws(StorageError) -> FileTemplateSource {
        guard let colon = text.firstIndex(of: ":"), isScheme(text[..<colon]) else {
            return FileTemplateSource(path: FilePath(text))
        }
        let scheme = text[..<colon].lowercased()
        guard scheme == "file" else {
            // A path such as `images:old/debian.raw` is no URL.
            guard text[colon...].hasPrefix("://") else { return FileTemplateSource(path: FilePath(text)) }
            throw StorageError(
                .notSupported, "open template source", at: "\(scheme):", why: "use a path or a file: URL")
        }
        var path = text[text.index(after: colon)...]
        if path.hasPrefix("//") {
            path = path.dropFirst(2)
            let host = path.prefix { $0 != "/" }
            guard host.isEmpty || host.lowercased() == "localhost" else {
                throw invalid("it names another host")
            }
            path = path.dropFirst(host.count)
        }
        guard path.hasPrefix("/"), let decoded = percentDecoded(path) else {
            throw invalid("it must have an absolute path, with % before two hexadecimal digits only")
        }
        return FileTemplateSource(path: FilePath(decoded))
    }

    private static func isScheme(_ text: Substring) -> Bool {
        text.first?.isLetter == true
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    /// Nil when it is not well-formed, or holds a zero byte.
    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let digits = String(bytes: rest.prefix(2)), digits.allSatisfy(\.isHexDigit),
                let value = UInt8(digits, radix: 16), value != 0
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(bytes: bytes[...])
    }

    private static func invalid(_ why: String) -> StorageError {
        StorageError(.invalidArgument, "open template source", at: "file:", why: why)
    }
}

extension String {
    /// Nil for bytes that are not UTF-8.
    fileprivate init?(bytes: ArraySlice<UInt8>) { self.init(validating: bytes, as: UTF8.self) }
}
