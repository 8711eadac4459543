import Glibc
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

/// The result of a system call that is not negative, tried again when a signal interrupts it.
func checked(_ call: String, _ body: () -> Int) throws(SystemError) -> Int {
    while true {
        let result = body()
        if result >= 0 { return result }
        if errno != EINTR { throw SystemError(Errno(rawValue: errno), call) }
    }
}
