import BlockStorage
import IORuntime
import SystemPackage

/// Where a template comes from: a file, a web server, and whatever else can be read from beginning to end.
public protocol TemplateSource: Sendable {
    /// Names the source in messages; holds no secret.
    var name: String { get }

    /// The name of the file, whose ending tells how it is packed.
    var fileName: String { get }

    /// Begins to read. Each call begins anew. `checksum` is what the bytes will be compared with.
    func open(checksum: Checksum?) async throws(StorageError) -> any TemplateInput

    /// What became of the places that the source was read from, so far; nil for one that has only one.
    var report: DownloadReport? { get }
}

/// The bytes of a template source as they are given, before anything is unpacked.
public protocol TemplateInput: Sendable {
    /// How many bytes there are, where that is known.
    var byteCount: UInt64? { get }

    /// Whether every byte that is read is transferred: then it is better read once, and in order.
    var isRemote: Bool { get }

    /// The name of the file, where it is known only now.
    var fileName: String? { get }

    /// What the source itself says that its bytes add up to.
    var checksum: Checksum? { get }

    /// What the source says of its version.
    var version: SourceVersion? { get }

    /// Fills `buffer` with the next bytes. Returns fewer than fit only at the end, and 0 after it.
    ///
    /// May block: it is called on a thread that is made for that, one call at a time.
    func readNext(into buffer: inout MutableRawSpan) throws(StorageError) -> Int

    /// The same bytes as a volume, for a source that can be read in any order; nil for one that passes by once. Stays
    /// readable until the input is closed.
    func volume() async throws(StorageError) -> (any ResizableVolume)?

    /// Throws `conflict` when the source is known to have changed since it was opened.
    func checkUnchanged() async throws(StorageError)

    /// Tells the source whether its bytes add up. True when they did not and it makes sense to open the source again.
    func compared(matches: Bool, _ why: String) -> Bool

    /// A read in progress, and every later one, may throw `cancelled`.
    func cancel()

    func close() async
}

extension TemplateSource {
    public var fileName: String { name }
    public var report: DownloadReport? { nil }

    /// Begins to read bytes that are compared with nothing.
    public func open() async throws(StorageError) -> any TemplateInput { try await open(checksum: nil) }
}

extension TemplateInput {
    public var isRemote: Bool { false }
    public var fileName: String? { nil }
    public var checksum: Checksum? { nil }
    public var version: SourceVersion? { nil }
    public func compared(matches: Bool, _ why: String) -> Bool { false }
    public func cancel() {}
}

/// A volume that can tell what all of its bytes add up to, while others read them.
protocol SummingVolume: ResizableVolume {
    /// Adds up all bytes. Returns after `didRead`.
    func addUp(_ algorithms: [Checksum.Algorithm]) async throws(StorageError) -> [Checksum]
    /// Nothing but `addUp` reads any more.
    func didRead()
}

/// A file of this host.
public struct FileTemplateSource: TemplateSource {
    public let path: FilePath

    public init(path: FilePath) { self.path = path }

    public var name: String { path.string }

    public func open(checksum: Checksum?) async throws(StorageError) -> any TemplateInput {
        let file = try await File.openImage(path, as: "open template source", blocking: blockingWork)
        do throws(SystemError) {
            return try await FileTemplateInput(file)
        } catch {
            try? await file.close()
            throw StorageError(error, "open template source", at: path.string)
        }
    }
}

/// Threads for reading, adding up and unpacking sources. A source that hangs delays other imports at worst.
let blockingWork = BlockingPool(threads: 16)

private final class FileTemplateInput: TemplateInput {
    private let file: File
    private let status: FileStatus
    private let position = Locked<UInt64>(0)

    init(_ file: File) async throws(SystemError) {
        self.file = file
        status = try await file.status()
        // A FIFO or a device has no size to check and might never end.
        guard status.isRegularFile else { throw SystemError(.invalidArgument, "open: not a regular file") }
    }

    var byteCount: UInt64? { status.size }

    func readNext(into buffer: inout MutableRawSpan) throws(StorageError) -> Int {
        let start = position.withLock { $0 }
        var done = 0
        do {
            while done < buffer.byteCount {
                var rest = buffer._mutatingExtracting(droppingFirst: done)
                // Sound: the call fills memory of this span only, and returns before the span ends.
                let count = unsafe try file.descriptor.read(
                    fromAbsoluteOffset: Int64(start) + Int64(done), into: rest.pinned)
                if count == 0 { break }
                done += count
            }
        } catch {
            let errno = error as? Errno ?? .ioError
            throw StorageError(SystemError(errno, "pread"), "read template source", at: file.path.string)
        }
        position.withLock { $0 = start + UInt64(done) }
        return done
    }

    func volume() async throws(StorageError) -> (any ResizableVolume)? {
        try await FileVolume(file, isReadOnly: true)
    }

    func checkUnchanged() async throws(StorageError) {
        let now: FileStatus
        do throws(SystemError) {
            now = try await file.status()
        } catch {
            throw StorageError(error, "read template source", at: file.path.string)
        }
        guard now.size == status.size, now.modifiedAt == status.modifiedAt, now.changedAt == status.changedAt else {
            throw StorageError(
                .conflict, "import template", at: file.path.string, why: "the file changed while it was read")
        }
    }

    func close() async { try? await file.close() }
}
