import Glibc
import SystemPackage

/// Byte-range locks that belong to the open file: other descriptors conflict, even of the same process, and they go
/// when the file is closed or the process dies. The corresponding C constants are `F_OFD_SETLK` and `F_OFD_GETLK`.
extension File {
    public enum LockKind: Sendable {
        /// Many may hold it.
        case shared
        /// One alone may hold it; the file must be open for writing.
        case exclusive
        case unlocked

        fileprivate var type: Int16 {
            switch self {
            case .shared: Int16(F_RDLCK)
            case .exclusive: Int16(F_WRLCK)
            case .unlocked: Int16(F_UNLCK)
            }
        }
    }

    /// Takes, changes or drops a lock without waiting; false when another open file is in the way.
    public func lock(_ kind: LockKind, _ range: Range<UInt64>) async throws(SystemError) -> Bool {
        if kind != .unlocked { mayHoldLocks.withLock { $0 = true } }
        // A lock that nobody waits for any more is dropped, and one that is dropped is dropped however late.
        let isTaking = kind != .unlocked
        do throws(SystemError) {
            _ = try await blocking.call(
                "fcntl", path.string, mustRun: !isTaking,
                ifLate: { [descriptor] _ in
                    if isTaking { _ = Self.set(.unlocked, range, descriptor.rawValue) }
                },
                { [descriptor] () throws(SystemError) in
                    try checked("fcntl") { Int(Self.set(kind, range, descriptor.rawValue)) }
                })
            return true
        } catch  where error.errno == .resourceTemporarilyUnavailable || error.errno == .permissionDenied {
            return false
        }
    }

    /// Whether another open file holds a lock in `range` that `kind` would conflict with.
    public func isLockedByOther(_ kind: LockKind, _ range: Range<UInt64>) async throws(SystemError) -> Bool {
        try await blocking.call("fcntl", path.string) { [descriptor] () throws(SystemError) in
            var lock = Self.description(kind, range)
            guard unsafe fcntl(descriptor.rawValue, Self.getLock, &lock) == 0 else {
                throw SystemError(Errno(rawValue: errno), "fcntl")
            }
            return lock.l_type != Int16(F_UNLCK)
        }
    }

    /// Drops all locks of the open file, whoever else has it open.
    static func unlockAll(_ descriptor: Int32) {
        // A length of 0 means up to the end.
        _ = set(.unlocked, 0..<0, descriptor)
    }

    private static func set(_ kind: LockKind, _ range: Range<UInt64>, _ descriptor: Int32) -> Int32 {
        var lock = description(kind, range)
        // Sound: the structure outlives the call.
        return unsafe fcntl(descriptor, setLock, &lock)
    }

    // F_OFD_GETLK and F_OFD_SETLK, which the C library declares for GNU sources only.
    private static let getLock: Int32 = 36
    private static let setLock: Int32 = 37

    private static func description(_ kind: LockKind, _ range: Range<UInt64>) -> flock {
        var lock = flock()
        lock.l_type = kind.type
        lock.l_whence = Int16(SEEK_SET)
        lock.l_start = off_t(clamping: range.lowerBound)
        lock.l_len = off_t(clamping: range.upperBound - range.lowerBound)
        return lock
    }
}
