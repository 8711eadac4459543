/// A key or password, which prints as `<redacted>` wherever it is interpolated, dumped or logged.
///
/// Its text is reached through `reveal` only, so that every use can be found by name.
public struct Secret: Hashable, Sendable {
    private let text: String

    /// Longer ones are refused wherever secrets are read: no backend has any.
    public static let largestByteCount = 4096

    public init(_ text: String) {
        self.text = text
    }

    /// Calls `body` with the text itself.
    public func reveal<Result, Failure: Error>(_ body: (String) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(text)
    }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<redacted>" }
    public var debugDescription: String { description }
    /// Hides the text from `dump` and from mirrors.
    public var customMirror: Mirror { Mirror(self, children: EmptyCollection()) }
}
