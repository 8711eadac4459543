import CURing
import Glibc
import SystemPackage

/// An open directory, in which names are looked up whatever becomes of its path: a file system that is mounted over
/// the path later, or unmounted, cannot make a call land in another directory.
///
/// Names are relative to the directory and may contain slashes. Calls block on a thread of the pool given at opening,
/// never on an I/O executor.
public final class Directory: Sendable {
    /// A name in a directory, and what `lstat` says of it.
    public struct Entry: Sendable {
        public var name: String
        public var status: FileStatus
    }

    /// Where in an entry its name begins, in bytes.
    private static let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) ?? 19

    public let path: FilePath
    private let descriptor: Int32
    private let blocking: BlockingPool

    private init(owning descriptor: Int32, path: FilePath, blocking: BlockingPool) {
        self.descriptor = descriptor
        self.path = path
        self.blocking = blocking
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Opens the directory at `path`.
    public static func open(
        _ path: FilePath, blocking: BlockingPool = .shared
    ) async throws(SystemError) -> Directory {
        let close: @Sendable (Int) -> Void = { _ = Glibc.close(Int32($0)) }
        let descriptor = try await blocking.call("open", path.string, ifLate: close) { () throws(SystemError) in
            let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC
            return try checked("open") { Int(unsafe path.withPlatformString { unsafe Glibc.open($0, flags) }) }
        }
        return Directory(owning: Int32(descriptor), path: path, blocking: blocking)
    }

    /// Where the directory is now, without symbolic links.
    public func resolvedPath() async throws(SystemError) -> String {
        try await blocking.call("readlink", path.string) { [self] () throws(SystemError) in
            try Self.targetOfSymbolicLink("/proc/self/fd/\(descriptor)", in: descriptor)
        }
    }

    /// Opens the file `name`; a symbolic link as the last component is refused.
    public func open(
        _ name: String, _ options: File.Options = [], permissions: FilePermissions = .ownerReadWrite
    ) async throws(SystemError) -> File {
        let flags = options.union(.noFollow).flags | O_NONBLOCK
        let opened = try await run("openat", ifLate: { _ = Glibc.close(Int32($0)) }) { directory in
            unsafe name.withPlatformString { unsafe openat(directory, $0, flags, permissions.rawValue) }
        }
        return File(owning: FileDescriptor(rawValue: Int32(opened)), path: path.appending(name), blocking: blocking)
    }

    /// The status of `name`, or of the directory itself for an empty name.
    public func status(of name: String, followsLinks: Bool = false) async throws(SystemError) -> FileStatus {
        try await blocking.call("fstatat", path.string) { [self] () throws(SystemError) in
            try Self.status(of: name, in: descriptor, followsLinks: followsLinks)
        }
    }

    /// The names in the directory `name` (empty: this one) except `.` and `..`, with their statuses. What disappears
    /// meanwhile is left out.
    public func entries(in name: String = "") async throws(SystemError) -> [Entry] {
        try await collect(from: name) { (entry, opened) throws(SystemError) in
            Entry(name: entry, status: try Self.status(of: entry, in: opened))
        }
    }

    /// The names in the directory `name` (empty: this one) except `.` and `..`.
    public func names(in name: String = "") async throws(SystemError) -> [String] {
        try await collect(from: name) { (entry, _) throws(SystemError) in entry }
    }

    /// The targets of the symbolic links in the directory `name` (empty: this one), by their names.
    public func targetsOfSymbolicLinks(in name: String = "") async throws(SystemError) -> [String: String] {
        let links = try await collect(from: name) { (entry, opened) throws(SystemError) -> (String, String)? in
            do throws(SystemError) {
                return (entry, try Self.targetOfSymbolicLink(entry, in: opened))
            } catch  where error.errno == .invalidArgument {
                // No link.
                return nil
            }
        }
        return Dictionary(links.compactMap(\.self)) { first, _ in first }
    }

    /// Runs `body` for each name in a directory, with the directory's descriptor. What is gone then is left out.
    private func collect<Element: Sendable>(
        from name: String, _ body: @escaping @Sendable (String, Int32) throws(SystemError) -> Element
    ) async throws(SystemError) -> [Element] {
        try await blocking.call("readdir", path.string) { [self] () throws(SystemError) in
            let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
            let path = name.isEmpty ? "." : name
            let opened = try checked("openat") {
                Int(unsafe path.withPlatformString { unsafe openat(descriptor, $0, flags) })
            }
            // Sound: the stream is used on this thread alone and closed once; its entries are copied before the next
            // call.
            guard let stream = unsafe fdopendir(Int32(opened)) else {
                let error = SystemError(Errno(rawValue: errno), "fdopendir")
                _ = Glibc.close(Int32(opened))
                throw error
            }
            defer { unsafe closedir(stream) }
            var elements: [Element] = []
            while true {
                errno = 0
                guard let found = unsafe readdir(stream) else {
                    if errno != 0 { throw SystemError(Errno(rawValue: errno), "readdir") }
                    return elements
                }
                // Sound: the name ends with a zero. Never `d_name` as a value: it has 256 bytes, and an entry ends with its
                // name, maybe where the memory ends.
                let entry = unsafe String(
                    validatingCString: (UnsafeRawPointer(found) + Self.nameOffset).assumingMemoryBound(to: CChar.self))
                // A name that is not UTF-8 cannot be the name of anything here.
                guard let entry, entry != ".", entry != ".." else { continue }
                do throws(SystemError) {
                    elements.append(try body(entry, Int32(opened)))
                } catch {
                    if error.errno != .noSuchFileOrDirectory { throw error }
                }
            }
        }
    }

    /// The first `count` bytes of each of the files, or all where it has fewer; nil for what cannot be read or is no
    /// regular file. One call for many small reads.
    public func beginnings(of names: [String], count: Int) async -> [[UInt8]?] {
        let read = try? await blocking.call("pread", path.string) { [self] () throws(SystemError) in
            names.map { name -> [UInt8]? in
                let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
                let file = unsafe name.withCString { unsafe openat(descriptor, $0, flags) }
                guard file >= 0 else { return nil }
                defer { _ = Glibc.close(file) }
                // Sound: the kernel writes no more than the buffer holds and says how much that is.
                return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
                    initialized = max(0, unsafe pread(file, buffer.baseAddress, buffer.count, 0))
                }
            }
        }
        return read ?? names.map { _ in nil }
    }

    /// Makes a directory; throws `EEXIST` when something has that name.
    public func makeDirectory(_ name: String, permissions: FilePermissions = .ownerReadWriteExecute)
        async throws(SystemError)
    {
        try await run("mkdirat") { directory in
            unsafe name.withPlatformString { unsafe mkdirat(directory, $0, permissions.rawValue) }
        }
    }

    /// Makes a symbolic link with any text as its target; throws `EEXIST` when something has that name.
    public func makeSymbolicLink(_ name: String, to target: String) async throws(SystemError) {
        try await run("symlinkat") { directory in
            unsafe target.withPlatformString { target in
                unsafe name.withPlatformString { unsafe symlinkat(target, directory, $0) }
            }
        }
    }

    /// The text that a symbolic link holds.
    public func targetOfSymbolicLink(_ name: String) async throws(SystemError) -> String {
        try await blocking.call("readlinkat", path.string) { [self] () throws(SystemError) in
            try Self.targetOfSymbolicLink(name, in: descriptor)
        }
    }

    private static func targetOfSymbolicLink(_ name: String, in directory: Int32) throws(SystemError) -> String {
        // Sound: the kernel writes no more than the buffer holds and says how much that is, which alone is read.
        try unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) {
            (buffer) throws(SystemError) in
            guard let memory = buffer.baseAddress else { return "" }
            let count = try checked("readlinkat") {
                unsafe name.withCString { unsafe readlinkat(directory, $0, memory, buffer.count) }
            }
            return unsafe String(decoding: UnsafeRawBufferPointer(start: memory, count: count), as: UTF8.self)
        }
    }

    /// Gives a file another name. Throws `EEXIST`, and changes nothing, when something has that name and `replacing`
    /// is false: by the kernel's own check, or where the file system lacks it by making a second link, which has it.
    public func rename(_ name: String, to newName: String, replacing: Bool = false) async throws(SystemError) {
        let flags: UInt32 = replacing ? 0 : UInt32(RENAME_NOREPLACE)
        do throws(SystemError) {
            try await run("renameat2") { directory in
                unsafe name.withPlatformString { name in
                    unsafe newName.withPlatformString {
                        unsafe renameat2(directory, name, directory, $0, flags)
                    }
                }
            }
        } catch {
            let isUnknown =
                error.errno == .invalidArgument || error.errno == .noFunction || error.errno == .notSupported
            guard !replacing, isUnknown else { throw error }
            try await link(name, to: newName)
            try await remove(name)
        }
    }

    /// Gives a file a second name; throws `EEXIST` when something has that name.
    public func link(_ name: String, to newName: String) async throws(SystemError) {
        try await run("linkat") { directory in
            unsafe name.withPlatformString { name in
                unsafe newName.withPlatformString { unsafe linkat(directory, name, directory, $0, 0) }
            }
        }
    }

    /// Removes a name that is not a directory's.
    public func remove(_ name: String) async throws(SystemError) {
        try await run("unlinkat") { directory in
            unsafe name.withPlatformString { unsafe unlinkat(directory, $0, 0) }
        }
    }

    /// Makes what was created, renamed and removed in the directory `name` (empty: this one) durable.
    public func synchronize(_ name: String = "") async throws(SystemError) {
        try await blocking.call("fsync", path.string) { [self] () throws(SystemError) in
            if name.isEmpty {
                _ = try checked("fsync") { Int(fsync(descriptor)) }
                return
            }
            let opened = try checked("openat") {
                let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW
                return Int(unsafe name.withPlatformString { unsafe openat(descriptor, $0, flags) })
            }
            defer { _ = Glibc.close(Int32(opened)) }
            _ = try checked("fsync") { Int(fsync(Int32(opened))) }
        }
    }

    /// The space of the file system that the directory is on.
    public func fileSystemSpace() async throws(SystemError) -> FileSystemSpace {
        try await blocking.call("fstatvfs", path.string) { [self] () throws(SystemError) in
            var status = statvfs()
            _ = try checked("fstatvfs") { Int(unsafe fstatvfs(descriptor, &status)) }
            let unit = UInt64(status.f_frsize)
            return FileSystemSpace(
                capacity: UInt64(status.f_blocks).multipliedSaturating(by: unit),
                free: UInt64(status.f_bfree).multipliedSaturating(by: unit),
                available: UInt64(status.f_bavail).multipliedSaturating(by: unit))
        }
    }

    private static func status(
        of name: String, in directory: Int32, followsLinks: Bool = false
    ) throws(SystemError) -> FileStatus {
        var status = stat()
        let flags = (followsLinks ? 0 : AT_SYMLINK_NOFOLLOW) | (name.isEmpty ? AT_EMPTY_PATH : 0)
        _ = try checked("fstatat") {
            Int(unsafe name.withCString { unsafe fstatat(directory, $0, &status, flags) })
        }
        return FileStatus(status)
    }

    /// Runs a system call on a thread that may block.
    @discardableResult
    private func run(
        _ call: String, ifLate: (@Sendable (Int) -> Void)? = nil, _ body: @escaping @Sendable (Int32) -> Int32
    ) async throws(SystemError) -> Int {
        // The object itself keeps the descriptor open for a call that is late.
        try await blocking.call(call, path.string, ifLate: ifLate) { [self] () throws(SystemError) in
            try checked(call) { Int(body(descriptor)) }
        }
    }
}

/// Space on a file system, in bytes.
public struct FileSystemSpace: Equatable, Sendable {
    public var capacity: UInt64
    /// Unused, what is kept for the superuser included.
    public var free: UInt64
    /// What an ordinary user can still fill.
    public var available: UInt64
}

extension UInt64 {
    fileprivate func multipliedSaturating(by other: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
