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
        let drop: @Sendable (Int32) -> Void = { [descriptor] _ in
            guard isTaking else { return }
            var lock = Self.description(.unlocked, range)
            _ = unsafe fcntl(descriptor.rawValue, Self.setLock, &lock)
        }
        do throws(SystemError) {
            _ = try await blocking.call("fcntl", path.string, mustRun: !isTaking, ifLate: drop) {
                [descriptor] () throws(SystemError) in
                var lock = Self.description(kind, range)
                while true {
                    let result = unsafe fcntl(descriptor.rawValue, Self.setLock, &lock)
                    if result >= 0 { return result }
                    if errno != EINTR { throw SystemError(Errno(rawValue: errno), "fcntl") }
                }
            }
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
        var lock = description(.unlocked, 0..<0)
        // Sound: the structure outlives the call, and a length of 0 means up to the end.
        _ = unsafe fcntl(descriptor, setLock, &lock)
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
