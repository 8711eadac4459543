import BlockStorage

/// Why tgtd refuses a request: `TGTADM_…` of `tgtadm_error.h`.
struct TGTRefusal: Equatable, Sendable {
    var number: UInt32

    /// Its number in the file, its name without `TGTADM_`, and what it means to us.
    private static let names: [(name: String, code: StorageError.Code)] = [
        ("SUCCESS", .internalError), ("UNKNOWN_ERR", .internalError), ("NOMEM", .internalError),
        ("NO_DRIVER", .notSupported), ("NO_TARGET", .notFound), ("NO_LUN", .notFound), ("NO_SESSION", .notFound),
        ("NO_CONNECTION", .notFound), ("NO_BINDING", .notFound), ("TARGET_EXIST", .alreadyExists),
        ("BINDING_EXIST", .alreadyExists), ("LUN_EXIST", .alreadyExists), ("ACL_EXIST", .alreadyExists),
        ("ACL_NOEXIST", .notFound), ("USER_EXIST", .alreadyExists), ("NO_USER", .notFound),
        ("TOO_MANY_USER", .noSpace), ("INVALID_REQUEST", .invalidArgument), ("OUTACCOUNT_EXIST", .alreadyExists),
        ("TARGET_ACTIVE", .busy), ("LUN_ACTIVE", .busy), ("DRIVER_ACTIVE", .busy),
        ("UNSUPPORTED_OPERATION", .notSupported), ("UNKNOWN_PARAM", .invalidArgument), ("PREVENT_REMOVAL", .busy),
    ]

    /// The error that it is.
    func error(_ what: String, at place: String) -> StorageError {
        guard number < Self.names.count else {
            return StorageError(.internalError, what, at: place, why: "tgtd refuses it with \(number)")
        }
        let (name, code) = Self.names[Int(number)]
        return StorageError(code, what, at: place, why: "tgtd refuses it: \(name)")
    }
}
