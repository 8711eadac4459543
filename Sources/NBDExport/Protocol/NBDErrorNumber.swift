import BlockStorage

/// Error values of replies. They are the protocol's own numbers, whatever `errno` values the platform uses.
enum NBDErrorNumber: UInt32, Error {
    /// `NBD_EPERM`.
    case notPermitted = 1
    /// `NBD_EIO`.
    case inputOutput = 5
    /// `NBD_EINVAL`.
    case invalid = 22
    /// `NBD_ENOSPC`.
    case noSpace = 28
    /// `NBD_EOVERFLOW`.
    case overflow = 75
    /// `NBD_ENOTSUP`.
    case notSupported = 95
    /// `NBD_ESHUTDOWN`.
    case shutdown = 108

    /// What stands for `error` in a reply to a request that writes or only reads.
    init(_ error: StorageError, isWrite: Bool) {
        self =
            switch error.code {
            case .readOnly, .permissionDenied: .notPermitted
            case .noSpace, .quotaExceeded: .noSpace
            // The protocol asks for ENOSPC where a write, and for EINVAL where a read, passes the end.
            case .outOfRange: isWrite ? .noSpace : .invalid
            case .invalidArgument: .invalid
            case .notSupported: .notSupported
            case .notAttached, .fenced: .shutdown
            default: .inputOutput
            }
    }
}
