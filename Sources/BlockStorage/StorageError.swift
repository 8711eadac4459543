import IORuntime
import SystemPackage

/// What failed, where, why, and whether trying again can help.
///
/// One word in size, so that a throwing call costs nothing until it throws.
public struct StorageError: Error, Sendable {
    /// The kinds of failure; their names are those that the `sluice` command prints.
    public enum Code: String, Sendable, Codable, CaseIterable {
        case notFound, alreadyExists, busy, notAttached, readOnly, notSupported, invalidArgument, outOfRange, noSpace
        case quotaExceeded, corrupt, unsafeImage, checksumMismatch, permissionDenied, authenticationFailed, timedOut
        case connectionLost, fenced, conflict, cancelled, inputOutput, internalError
    }

    private final class Details: Sendable {
        let code: Code, what: String, place: String, why: String

        init(_ code: Code, _ what: String, _ place: String, _ why: String) {
            (self.code, self.what, self.place, self.why) = (code, what, place, why)
        }
    }

    private let details: Details

    public var code: Code { details.code }
    /// What was being done: `"open volume"`.
    public var what: String { details.what }
    /// On what: a volume, a path, an offset.
    public var place: String { details.place }
    /// The reason, and what to do where that is known.
    public var why: String { details.why }

    /// Whether the same request may succeed later without anyone changing it.
    public var isRetryable: Bool {
        switch code {
        case .timedOut, .connectionLost, .busy, .conflict: true
        default: false
        }
    }

    public init(_ code: Code, _ what: String, at place: String = "", why: String = "") {
        details = Details(code, what, place, why)
    }

    /// The error of a system call, with the code that its `errno` stands for.
    public init(_ error: SystemError, _ what: String, at place: String = "") {
        let code: Code =
            switch error.errno {
            case .noSuchFileOrDirectory: .notFound
            case .fileExists, .directoryNotEmpty: .alreadyExists
            case .resourceBusy, .textFileBusy, .wouldBlock: .busy
            case .readOnlyFileSystem: .readOnly
            case .notSupported, .noFunction: .notSupported
            case .invalidArgument, .fileNameTooLong, .isDirectory, .notDirectory: .invalidArgument
            case .noSpace, .fileTooLarge: .noSpace
            case .diskQuotaExceeded: .quotaExceeded
            case .permissionDenied, .notPermitted: .permissionDenied
            case .timedOut: .timedOut
            case .connectionReset, .connectionRefused, .connectionAbort, .brokenPipe, .socketNotConnected,
                .staleNFSFileHandle:
                .connectionLost
            case .canceled: .cancelled
            default: .inputOutput
            }
        self.init(code, what, at: place, why: "\(error)")
    }
}

extension StorageError: CustomStringConvertible {
    /// `CODE: what, where, why` on one line, whatever the parts contain.
    public var description: String {
        let parts = [what, place, why].filter { !$0.isEmpty }.joined(separator: ", ")
        let line = parts.map { $0.isNewline || $0.isASCIIControl ? " " : String($0) }.joined()
        return "\(code.rawValue): \(line)"
    }
}

extension Character {
    fileprivate var isASCIIControl: Bool { asciiValue.map { $0 < 0x20 || $0 == 0x7f } ?? false }
}
