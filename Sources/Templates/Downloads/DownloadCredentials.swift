import Foundation

/// What proves to a web server who asks. Prints as `<redacted>`.
public struct DownloadCredentials: Hashable, Sendable {
    /// Of the `Authorization` header: for the request only.
    let headerValue: String

    /// `USER:PASSWORD`.
    public init(userAndPassword: String) {
        headerValue = "Basic " + Data(userAndPassword.utf8).base64EncodedString()
    }
}

extension DownloadCredentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "<redacted>" }
    public var debugDescription: String { description }
    /// Hides the text from `dump` and from mirrors.
    public var customMirror: Mirror { Mirror(self, children: EmptyCollection()) }
}
