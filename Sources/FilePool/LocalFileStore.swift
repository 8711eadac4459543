import BlockStorage
import IORuntime
import SystemPackage

/// A directory of this host, of a local file system or of one that is mounted.
public final class LocalFileStore: FileStore {
    private let directory: Directory
    /// The path without symbolic links, as it was when the directory was opened.
    private let path: String
    private let isDirect: Bool
    private let deadline: IODeadline?

    /// Opens the directory at the absolute path `path`. With `isDirect` volumes go past the page cache.
    ///
    /// Throws `notFound` when it is not there.
    public init(_ path: String, isDirect: Bool = false, blocking: BlockingPool = .shared) async throws(StorageError) {
        guard path.hasPrefix("/") else {
            throw StorageError(.invalidArgument, "open pool", at: path, why: "an absolute path is needed")
        }
        do throws(SystemError) {
            directory = try await Directory.open(FilePath(path), blocking: blocking)
            self.path = try await directory.resolvedPath()
        } catch {
            throw StorageError(error, "open pool", at: path)
        }
        self.isDirect = isDirect
        deadline = blocking.deadline
    }

    public var overdue: IODeadline.Overdue? { deadline?.overdue }

    public func location(of name: String) -> String { name.isEmpty ? path : "\(path)/\(name)" }

    public func open(_ name: String, _ mode: FileOpenMode) async throws(StorageError) -> any StoredFile {
        var options: File.Options =
            switch mode {
            case .readOnly: []
            case .write: .write
            case .create: [.write, .create, .exclusive]
            }
        if isDirect { options.insert(.direct) }
        let file: File
        do throws(SystemError) {
            file = try await directory.open(name, options)
        } catch {
            if error.errno == .tooManySymbolicLinkLevels {
                throw StorageError(.unsafeImage, "open file", at: location(of: name), why: "it is a symbolic link")
            }
            throw StorageError(error, "open file", at: location(of: name))
        }
        return try await LocalFile(file, isReadOnly: mode == .readOnly, isDirect: isDirect)
    }

    public func status(of name: String, followsLinks: Bool) async throws(StorageError) -> FileStatus {
        try await attempt("look up", name) { (directory) async throws(SystemError) in
            try await directory.status(of: name, followsLinks: followsLinks)
        }
    }

    public func entries(in name: String) async throws(StorageError) -> [Directory.Entry] {
        try await attempt("list", name) { (directory) async throws(SystemError) in try await directory.entries(in: name)
        }
    }

    public func names(in name: String) async throws(StorageError) -> [String] {
        try await attempt("list", name) { (directory) async throws(SystemError) in try await directory.names(in: name) }
    }

    public func makeDirectory(_ name: String) async throws(StorageError) {
        try await attempt("create directory", name) { (directory) async throws(SystemError) in
            try await directory.makeDirectory(name)
        }
    }

    public func makeSymbolicLink(_ name: String, to target: String) async throws(StorageError) {
        try await attempt("create link", name) { (directory) async throws(SystemError) in
            try await directory.makeSymbolicLink(name, to: target)
        }
    }

    public func targetOfSymbolicLink(_ name: String) async throws(StorageError) -> String {
        try await attempt("read link", name) { (directory) async throws(SystemError) in
            try await directory.targetOfSymbolicLink(name)
        }
    }

    public func targetsOfSymbolicLinks(in name: String) async throws(StorageError) -> [String: String] {
        try await attempt("read links in", name) { (directory) async throws(SystemError) in
            try await directory.targetsOfSymbolicLinks(in: name)
        }
    }

    public func beginnings(of names: [String], count: Int) async -> [[UInt8]?] {
        await directory.beginnings(of: names, count: count)
    }

    public func rename(_ name: String, to newName: String, replacing: Bool) async throws(StorageError) {
        try await attempt("rename", newName) { (directory) async throws(SystemError) in
            try await directory.rename(name, to: newName, replacing: replacing)
        }
    }

    public func link(_ name: String, to newName: String) async throws(StorageError) {
        try await attempt("link", newName) { (directory) async throws(SystemError) in
            try await directory.link(name, to: newName)
        }
    }

    public func remove(_ name: String) async throws(StorageError) {
        try await attempt("remove", name) { (directory) async throws(SystemError) in try await directory.remove(name) }
    }

    public func synchronize(_ name: String) async throws(StorageError) {
        try await attempt("synchronize", name) { (directory) async throws(SystemError) in
            try await directory.synchronize(name)
        }
    }

    public func space() async throws(StorageError) -> FileSystemSpace {
        try await attempt("ask for the space of", "") { (directory) async throws(SystemError) in
            try await directory.fileSystemSpace()
        }
    }

    private func attempt<Result: Sendable>(
        _ what: String, _ name: String, _ body: (Directory) async throws(SystemError) -> Result
    ) async throws(StorageError) -> Result {
        do throws(SystemError) {
            return try await body(directory)
        } catch {
            throw StorageError(error, what, at: location(of: name))
        }
    }
}

private final class LocalFile: StoredFile {
    private let file: File
    private let contents: FileVolume

    var volume: any ResizableVolume { contents }

    init(_ file: File, isReadOnly: Bool, isDirect: Bool) async throws(StorageError) {
        self.file = file
        contents = try await FileVolume(file, isReadOnly: isReadOnly, isDirect: isDirect)
    }

    func status() async throws(StorageError) -> FileStatus {
        try await attempt("look up") { (file) async throws(SystemError) in try await file.status() }
    }

    func resizeBeforeFlush(to size: UInt64) async throws(StorageError) {
        try await contents.resizeBeforeFlush(to: size)
    }

    func lock(_ kind: File.LockKind, _ range: Range<UInt64>) async throws(StorageError) -> Bool {
        try await attempt("lock") { (file) async throws(SystemError) in try await file.lock(kind, range) }
    }

    func isLockedByOther(_ kind: File.LockKind, _ range: Range<UInt64>) async throws(StorageError) -> Bool {
        try await attempt("test lock of") { (file) async throws(SystemError) in
            try await file.isLockedByOther(kind, range)
        }
    }

    func protectFromWriting() async throws(StorageError) {
        try await attempt("protect") { (file) async throws(SystemError) in
            try await file.setPermissions([.ownerRead, .groupRead, .otherRead])
        }
    }

    private func attempt<Result: Sendable>(
        _ what: String, _ body: (File) async throws(SystemError) -> Result
    ) async throws(StorageError) -> Result {
        do throws(SystemError) {
            return try await body(file)
        } catch {
            throw StorageError(error, what, at: file.path.string)
        }
    }
}
