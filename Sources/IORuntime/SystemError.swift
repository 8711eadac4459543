import SystemPackage

/// A system call that failed.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    public let errno: Errno
    /// The system call, for example `"fdatasync"`.
    public let call: String

    public init(_ errno: Errno, _ call: String) {
        self.errno = errno
        self.call = call
    }

    public var description: String { "\(call): \(errno)" }
}
