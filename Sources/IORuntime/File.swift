import CURing
import Glibc
import SystemPackage

/// An open file.
///
/// Transfers are whole or fail: a short one is continued until the file ends. Any number may be in flight. A cancelled
/// task's request ends with `ECANCELED`, once the kernel has let go of the memory.
///
/// Where the blocking pool has a deadline, so have all requests: what takes longer throws `ETIMEDOUT`. After a late
/// change of the file (a write, an allocation, a new size) everything throws `ETIMEDOUT` at once, until the kernel has
/// given that change back: it cannot fall on newer bytes.
public final class File: Sendable {
    /// How a file is opened.
    public struct Options: OptionSet, Sendable {
        public let rawValue: Int32

        public init(rawValue: Int32) { self.rawValue = rawValue }

        /// For writing as well as reading.
        public static let write = Options(rawValue: 1)
        /// Make the file if it does not exist.
        public static let create = Options(rawValue: 2)
        /// Fail if the file exists. The corresponding C constant is `O_EXCL`.
        public static let exclusive = Options(rawValue: 4)
        /// Past the page cache: memory, offsets and lengths must be aligned. The corresponding C constant is `O_DIRECT`.
        public static let direct = Options(rawValue: 8)
        /// Refuse a symbolic link as the last component. The corresponding C constant is `O_NOFOLLOW`.
        public static let noFollow = Options(rawValue: 16)
        /// A directory, to be synchronised.
        public static let directory = Options(rawValue: 32)
        /// Cut an existing file to length 0.
        public static let truncate = Options(rawValue: 64)

        var flags: Int32 {
            var flags = O_CLOEXEC | O_NOCTTY | (contains(.write) ? O_RDWR : O_RDONLY)
            if contains(.create) { flags |= O_CREAT }
            if contains(.exclusive) { flags |= O_EXCL }
            if contains(.direct) { flags |= O_DIRECT }
            if contains(.noFollow) { flags |= O_NOFOLLOW }
            if contains(.directory) { flags |= O_DIRECTORY }
            if contains(.truncate) { flags |= O_TRUNC }
            return flags
        }
    }

    public let path: FilePath
    /// Valid as long as the file is open.
    public let descriptor: FileDescriptor
    /// Where calls run that can only block.
    let blocking: BlockingPool
    private let isClosed = Locked(false)
    /// Whether a lock was ever taken through this file.
    let mayHoldLocks = Locked(false)
    private let cachedReads: CachedReads
    private let fence: FileFence?
    /// Longer transfers with a deadline are done in parts, because each needs a copy of its bytes in memory.
    private static let largestGuardedTransfer = 4 << 20

    /// Takes over an open descriptor.
    public convenience init(owning descriptor: FileDescriptor, path: FilePath, blocking: BlockingPool = .shared) {
        let fence = blocking.deadline.map { FileFence($0, path: path.string, workers: blocking) }
        self.init(owning: descriptor, path: path, blocking: blocking, fence: fence)
    }

    private init(owning descriptor: FileDescriptor, path: FilePath, blocking: BlockingPool, fence: FileFence?) {
        self.descriptor = descriptor
        let flags = fcntl(descriptor.rawValue, F_GETFL)
        cachedReads = CachedReads(isPossible: flags >= 0 && flags & O_DIRECT == 0)
        self.path = path
        self.blocking = blocking
        self.fence = fence
    }

    deinit {
        if !isClosed.withLock({ $0 }) { _ = Glibc.close(descriptor.rawValue) }
    }

    /// Opens the file at `path`. A FIFO or device without its other end does not block.
    public static func open(
        _ path: FilePath, _ options: Options = [], permissions: FilePermissions = .ownerReadWrite,
        blocking: BlockingPool = .shared
    ) async throws(SystemError) -> File {
        let descriptor = try await descriptor(path, options, permissions, blocking)
        return File(owning: descriptor, path: path, blocking: blocking)
    }

    /// Opens the same file again, with other options, whatever has its path now. A late change through either shuts
    /// both.
    public func opened(again options: Options) async throws(SystemError) -> File {
        let path = FilePath("/proc/self/fd/\(descriptor.rawValue)")
        let descriptor = try await Self.descriptor(path, options, .ownerReadWrite, blocking)
        return File(owning: descriptor, path: self.path, blocking: blocking, fence: fence)
    }

    private static func descriptor(
        _ path: FilePath, _ options: Options, _ permissions: FilePermissions, _ blocking: BlockingPool
    ) async throws(SystemError) -> FileDescriptor {
        let descriptor = try await blocking.call("open", path.string, ifLate: { _ = Glibc.close($0) }) {
            () throws(SystemError) in
            let descriptor = unsafe path.withPlatformString {
                unsafe Glibc.open($0, options.flags | O_NONBLOCK, permissions.rawValue)
            }
            guard descriptor >= 0 else { throw SystemError(Errno(rawValue: errno), "open") }
            return descriptor
        }
        return FileDescriptor(rawValue: descriptor)
    }

    /// Closes the descriptor, once; no request may be in flight.
    public func close() async throws(SystemError) {
        let wasClosed = isClosed.withLock { isClosed in
            defer { isClosed = true }
            return isClosed
        }
        if wasClosed { return }
        let descriptor = descriptor.rawValue
        let mayHoldLocks = mayHoldLocks.withLock { $0 }
        try await blocking.call("close", path.string, mustRun: true) { () throws(SystemError) in
            // A program that this process is just starting has the file open too, until it runs.
            if mayHoldLocks { Self.unlockAll(descriptor) }
            if Glibc.close(descriptor) != 0 && errno != EINTR { throw SystemError(Errno(rawValue: errno), "close") }
        }
    }

    /// Fills `buffer` from `offset`. Returns less than its size only at the end of the file.
    public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(SystemError) -> Int {
        let memory = unsafe buffer.pinned
        try checkFence("read")
        let done = unsafe cachedReads.read(descriptor.rawValue, memory, at: offset)
        if done == memory.count { return done }
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[done...])
        return unsafe try await transfer(.read, rest, at: offset + UInt64(done)) + done
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: RawSpan, at offset: UInt64) async throws(SystemError) {
        _ = unsafe try await transfer(.write, bytes.pinned, at: offset)
    }

    private func transfer(
        _ operation: IORequest.Operation, _ memory: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) async throws(SystemError) -> Int {
        if fence != nil, memory.count > Self.largestGuardedTransfer {
            return unsafe try await transferInParts(operation, memory, at: offset)
        }
        try checkFence("\(operation)")
        return try await IOExecutor.transfer(
            unsafe IORequest(operation, descriptor.rawValue, memory.baseAddress, count: memory.count, offset: offset),
            fence
        ).checked(operation == .read ? "read" : "write")
    }

    private func transferInParts(
        _ operation: IORequest.Operation, _ memory: UnsafeMutableRawBufferPointer, at offset: UInt64
    ) async throws(SystemError) -> Int {
        var done = 0
        while done < memory.count {
            let end = min(memory.count, done + Self.largestGuardedTransfer)
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: memory[done..<end])
            let count = unsafe try await transfer(operation, part, at: offset + UInt64(done))
            done += count
            if count < part.count { break }
        }
        return done
    }

    /// Fills all segments; contiguous ones by one call. Returns the bytes read, less than the sum only past the end.
    public func readv(_ vector: IOVector) async throws(SystemError) -> Int {
        try await transfer(vector, .read)
    }

    /// Writes all segments; contiguous ones by one call.
    public func writev(_ vector: IOVector) async throws(SystemError) {
        _ = try await transfer(vector, .write)
    }

    private func transfer(
        _ vector: IOVector, _ operation: IORequest.Operation
    ) async throws(SystemError) -> Int {
        if fence != nil, vector.byteCount > Self.largestGuardedTransfer {
            var done = 0
            for index in 0..<vector.count {
                done += unsafe try await transfer(operation, vector[index].memory, at: vector[index].offset)
            }
            return done
        }
        try checkFence("\(operation)")
        return try await IOExecutor.transfer(
            vector, isWrite: operation == .write, descriptor: descriptor.rawValue, fence
        ).checked(operation == .read ? "readv" : "writev")
    }

    /// Throws while a late change of the file is not back.
    @inline(__always)
    private func checkFence(_ call: @autoclosure () -> String) throws(SystemError) {
        if let fence, fence.isShut { throw SystemError(.timedOut, call()) }
    }

    /// Makes completed writes durable; with `dataOnly`, without times that nothing needs to find the data.
    public func synchronize(dataOnly: Bool = true) async throws(SystemError) {
        let operation: IORequest.Operation = dataOnly ? .dataSync : .sync
        try checkFence("\(operation)")
        _ = try await IOExecutor.transfer(unsafe IORequest(operation, descriptor.rawValue), fence)
            .checked(dataOnly ? "fdatasync" : "fsync")
    }

    /// What `allocate` does with a range.
    public enum AllocationMode: Sendable {
        /// Reserve space; grows the file. The corresponding C value is 0.
        case reserve
        /// Reserve space without changing the size. The corresponding C constant is `FALLOC_FL_KEEP_SIZE`.
        case reserveKeepingSize
        /// Free space; the range reads as zeros. The corresponding C constant is `FALLOC_FL_PUNCH_HOLE`.
        case punchHole
        /// Keep space; the range reads as zeros. The corresponding C constant is `FALLOC_FL_ZERO_RANGE`.
        case zero

        var flags: Int32 {
            switch self {
            case .reserve: 0
            case .reserveKeepingSize: FALLOC_FL_KEEP_SIZE
            case .punchHole: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            case .zero: FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
            }
        }
    }

    /// Throws `EOPNOTSUPP` where the file system cannot do it.
    public func allocate(_ mode: AllocationMode, _ range: Range<UInt64>) async throws(SystemError) {
        if range.isEmpty { return }
        guard range.upperBound <= Int64.max else { throw SystemError(.fileTooLarge, "fallocate") }
        try checkFence("fallocate")
        _ = try await IOExecutor.transfer(
            unsafe IORequest(
                .allocate, descriptor.rawValue, count: Int(range.upperBound - range.lowerBound),
                offset: range.lowerBound, flags: mode.flags), fence
        ).checked("fallocate")
    }

    /// Sets the size in bytes. New bytes read as zeros.
    public func truncate(to size: UInt64) async throws(SystemError) {
        guard size <= Int64.max else { throw SystemError(.fileTooLarge, "ftruncate") }
        try await call("ftruncate", isChange: true) { [descriptor] in
            Int(ftruncate(descriptor.rawValue, off_t(size)))
        }
    }

    /// Sets who may open the file.
    public func setPermissions(_ permissions: FilePermissions) async throws(SystemError) {
        try await call("fchmod") { [descriptor] in Int(fchmod(descriptor.rawValue, permissions.rawValue)) }
    }

    /// The size in bytes: of a regular file, or of a block device.
    public func size() async throws(SystemError) -> UInt64 {
        UInt64(try await call("lseek") { [descriptor] in Int(lseek(descriptor.rawValue, 0, SEEK_END)) })
    }

    /// The first byte of data at or after `offset`; nil when there is none before the end.
    public func seekData(from offset: UInt64) async throws(SystemError) -> UInt64? {
        try await seek(offset, SEEK_DATA)
    }

    /// The first byte of a hole at or after `offset`: at the latest, the end of the file. Nil past the end.
    public func seekHole(from offset: UInt64) async throws(SystemError) -> UInt64? {
        try await seek(offset, SEEK_HOLE)
    }

    private func seek(_ offset: UInt64, _ whence: Int32) async throws(SystemError) -> UInt64? {
        guard offset <= Int64.max else { return nil }
        do throws(SystemError) {
            return UInt64(
                try await call("lseek") { [descriptor] in Int(lseek(descriptor.rawValue, off_t(offset), whence)) })
        } catch  where error.errno == .noSuchAddressOrDevice {
            return nil
        }
    }

    /// The file's status.
    public func status() async throws(SystemError) -> FileStatus {
        try await blocking.call("fstat", path.string) { [descriptor] () throws(SystemError) in
            var status = stat()
            guard unsafe fstat(descriptor.rawValue, &status) == 0 else {
                throw SystemError(Errno(rawValue: errno), "fstat")
            }
            return FileStatus(status)
        }
    }

    /// Runs a system call that can only block, away from the I/O executors.
    @discardableResult
    func call(
        _ name: String, isChange: Bool = false, _ body: @escaping @Sendable () -> Int
    ) async throws(SystemError) -> Int {
        try checkFence(name)
        return try await blocking.call(name, path.string, fence: isChange ? fence : nil) { () throws(SystemError) in
            try checked(name, body)
        }
    }
}

/// What `fstat` tells.
public struct FileStatus: Equatable, Sendable {
    public var device: UInt64
    public var inode: UInt64
    /// In bytes.
    public var size: UInt64
    /// In bytes: space taken on the file system.
    public var allocatedSize: UInt64
    public var mode: UInt32
    public var linkCount: UInt64
    /// Of a device's node, which device that is, whatever node it has.
    public var deviceNumber: UInt64
    /// Last change of contents and of the file's attributes, in nanoseconds since 1970.
    public var modifiedAt: Int64
    public var changedAt: Int64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = UInt64(max(0, status.st_size))
        allocatedSize = UInt64(max(0, status.st_blocks)) * 512
        mode = status.st_mode
        linkCount = UInt64(status.st_nlink)
        deviceNumber = UInt64(status.st_rdev)
        modifiedAt = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
        changedAt = Int64(status.st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_ctim.tv_nsec)
    }

    /// The status of the file at `path`, or of the link itself with `followsLinks` false. Blocks.
    public init(at path: FilePath, followsLinks: Bool = true) throws(SystemError) {
        var status = stat()
        let result = unsafe path.withPlatformString {
            unsafe fstatat(AT_FDCWD, $0, &status, followsLinks ? 0 : AT_SYMLINK_NOFOLLOW)
        }
        guard result == 0 else { throw SystemError(Errno(rawValue: errno), "stat") }
        self.init(status)
    }

    public var isRegularFile: Bool { mode & S_IFMT == S_IFREG }
    public var isDirectory: Bool { mode & S_IFMT == S_IFDIR }
    public var isBlockDevice: Bool { mode & S_IFMT == S_IFBLK }
}

extension Int {
    /// This result of a system call, or its error.
    @inline(__always)
    func checked(_ call: String) throws(SystemError) -> Int {
        if self < 0 { throw SystemError(Errno(rawValue: Int32(truncatingIfNeeded: -self)), call) }
        return self
    }
}
