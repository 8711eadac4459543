import CURing
import Glibc
import SystemPackage

/// A file in memory that outlives the process: words written to it are there for the next process, however this one
/// ends. Not durable, so a place in a `tmpfs` costs least.
@safe
public final class MappedFile: @unchecked Sendable {
    // Sound: mapped until `deinit`; every access checks its bounds, and callers take turns by a lock of their own.
    private let memory: UnsafeMutableRawPointer
    /// In bytes, a multiple of 8.
    public let byteCount: Int

    /// Makes a new file of zeros that only this user can read. Its space is reserved, so that no store can fail.
    public init(creating path: FilePath, byteCount: Int) throws(SystemError) {
        let descriptor = try Self.open(path, O_RDWR | O_CREAT | O_EXCL)
        defer { close(descriptor) }
        let status = posix_fallocate(descriptor, 0, off_t(byteCount))
        guard status == 0 else {
            Self.remove(path)
            throw SystemError(Errno(rawValue: status), "posix_fallocate")
        }
        self.byteCount = byteCount
        unsafe memory = try Self.map(descriptor, byteCount, PROT_READ | PROT_WRITE)
    }

    /// Maps what another process left, to read it.
    public init(opening path: FilePath) throws(SystemError) {
        let descriptor = try Self.open(path, O_RDONLY)
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw SystemError(Errno(rawValue: errno), "fstat") }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size >= 8, status.st_size <= 1 << 30 else {
            throw SystemError(.invalidArgument, "mmap")
        }
        byteCount = Int(status.st_size) / 8 * 8
        unsafe memory = try Self.map(descriptor, byteCount, PROT_READ)
    }

    deinit { unsafe munmap(memory, byteCount) }

    private static func open(_ path: FilePath, _ flags: Int32) throws(SystemError) -> Int32 {
        let descriptor = unsafe path.withPlatformString { unsafe Glibc.open($0, flags | O_CLOEXEC | O_NOFOLLOW, 0o600) }
        guard descriptor >= 0 else { throw SystemError(Errno(rawValue: errno), "open") }
        return descriptor
    }

    private static func map(
        _ descriptor: Int32, _ byteCount: Int, _ protection: Int32
    ) throws(SystemError) -> UnsafeMutableRawPointer {
        let address = unsafe mmap(nil, byteCount, protection, MAP_SHARED, descriptor, 0)
        guard let address = unsafe address, unsafe address != MAP_FAILED else {
            throw SystemError(Errno(rawValue: errno), "mmap")
        }
        return unsafe address
    }

    /// Removes the file at `path`, if there is one.
    public static func remove(_ path: FilePath) {
        unsafe path.withPlatformString { _ = unsafe unlink($0) }
    }

    /// The word at byte `offset`, a multiple of 8 inside the file.
    public func load(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset & 7 == 0 && offset <= byteCount - 8, "a word outside the mapped file")
        return unsafe memory.load(fromByteOffset: offset, as: UInt64.self)
    }

    /// Stores a word at byte `offset`, a multiple of 8 inside a file that this process made.
    public func store(_ word: UInt64, at offset: Int) {
        precondition(offset >= 0 && offset & 7 == 0 && offset <= byteCount - 8, "a word outside the mapped file")
        unsafe memory.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
    }
}
