import Foundation
import IORuntime
import SystemPackage

/// Standard output and standard error.
struct Terminal: Sendable {
    /// Columns of the terminal that standard output is, nil where it is none.
    static var width: Int? {
        guard isatty(STDOUT_FILENO) == 1 else { return nil }
        return TerminalSize.columns(of: .standardOutput)
            ?? ProcessInfo.processInfo.environment["COLUMNS"].flatMap { Int($0) } ?? 80
    }

    static var isErrorTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// Writes text as it is. A reader that has gone has no use for the rest.
    static func write(_ text: String, to descriptor: FileDescriptor = .standardOutput) {
        _ = try? descriptor.writeAll(text.utf8)
    }
}
