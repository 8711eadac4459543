import IORuntime
import SystemPackage

/// The locks by which QEMU (since 2.10) keeps two programs from using an image in ways that exclude each other, taken
/// as its raw-posix driver takes them, so that QEMU and this module respect each other.
///
/// Each of four permissions has a byte that is locked, shared, by who uses the permission, and another by who does not
/// allow it to others. After locking, each one looks whether anyone locked the opposite byte.
package enum ImageLock {
    /// What an image is opened for.
    package enum Use: Sendable {
        /// To read, while nobody writes: also as a backing file.
        case reading
        /// To read and write, alone.
        case writing
    }

    /// Bit numbers of QEMU's `BLK_PERM_…`.
    private enum Permission {
        static let consistentRead: UInt64 = 0
        static let write: UInt64 = 1
        static let resize: UInt64 = 3
    }

    private static let usedBase: UInt64 = 100
    private static let refusedBase: UInt64 = 200
    /// All bytes that mean something.
    private static let allBytes: [Range<UInt64>] = [100..<104, 200..<204]
    /// Two that try at once may refuse each other: then luck decides who tries first again.
    private static let attempts = 4

    /// Takes or drops a lock of a range of bytes; false when another open file is in the way.
    package typealias Lock = (File.LockKind, Range<UInt64>) async throws(StorageError) -> Bool
    /// Whether another open file holds a lock in the range that the kind would conflict with.
    package typealias Probe = (File.LockKind, Range<UInt64>) async throws(StorageError) -> Bool

    /// Locks a file for `use`; false when another open file's locks exclude it.
    package static func acquire(
        _ use: Use, lock: Lock, isLockedByOther: Probe
    ) async throws(StorageError) -> Bool {
        for attempt in 1...attempts {
            if try await tryAcquire(use, lock, isLockedByOther) { return true }
            if attempt < attempts { try? await Task.sleep(for: .microseconds(Int.random(in: 200...2000))) }
        }
        return false
    }

    /// Locks a file of this host, where its file system has locks.
    package static func acquire(_ use: Use, on file: File) async throws(StorageError) -> Bool {
        func attempt(_ body: () async throws(SystemError) -> Bool, unsupported: Bool) async throws(StorageError) -> Bool
        {
            do throws(SystemError) {
                return try await body()
            } catch  where error.errno == .noLocks || error.errno == .notSupported {
                return unsupported
            } catch {
                throw StorageError(error, "lock file", at: file.path.string)
            }
        }
        return try await acquire(use) { kind, range async throws(StorageError) in
            try await attempt({ () async throws(SystemError) in try await file.lock(kind, range) }, unsupported: true)
        } isLockedByOther: { kind, range async throws(StorageError) in
            try await attempt(
                { () async throws(SystemError) in try await file.isLockedByOther(kind, range) }, unsupported: false)
        }
    }

    private static func tryAcquire(
        _ use: Use, _ lock: Lock, _ isLockedByOther: Probe
    ) async throws(StorageError) -> Bool {
        let used: [UInt64] =
            switch use {
            case .reading: [Permission.consistentRead]
            case .writing: [Permission.consistentRead, Permission.write, Permission.resize]
            }
        // Others may read consistently beside a reader only: a writer's half-done changes are not for them, but QEMU
        // says so by what the reader refuses.
        let refused = [Permission.write, Permission.resize]
        var isFree = true
        for byte in used.map({ usedBase + $0 }) + refused.map({ refusedBase + $0 }) where isFree {
            isFree = try await lock(.shared, byte..<byte + 1)
        }
        for byte in used.map({ refusedBase + $0 }) + refused.map({ usedBase + $0 }) where isFree {
            isFree = try await !isLockedByOther(.exclusive, byte..<byte + 1)
        }
        if !isFree {
            for range in allBytes { _ = try await lock(.unlocked, range) }
        }
        return isFree
    }
}
