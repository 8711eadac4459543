import BlockStorage
import IORuntime
import QCOW2

/// Volumes as plain files in a directory: raw and QCOW2 images that qemu-img, libvirt and CloudStack use as they are.
///
/// A volume or template `NAME` is the file `NAME`, nothing added. What is not in its bytes (that it is managed, its
/// declared format) stands in the hidden directory `.sluice`, which any host that mounts the directory reads:
/// `.sluice/volumes/NAME` is a symbolic link to `volume:qcow2:thin` or the like, and `.sluice/identity` tells this
/// directory from any other. A linked clone is a QCOW2 image whose backing file is its source, by relative name and
/// with its format, so that the pool may be mounted anywhere.
///
/// Everything new is built in a hidden file, made durable, and gets its name in one step; what a crash leaves of it is
/// removed when the pool is next opened. Which clones depend on an image is read from the images themselves, whoever
/// made them.
public final class FilePool: StoragePool {
    /// The kinds of directory.
    public enum Kind: Sendable, Equatable {
        /// A directory that only this host uses.
        case directory
        /// The mount point of a file system that several hosts mount. `isForced` accepts file systems that are not
        /// known to allow that.
        case sharedMountPoint(isForced: Bool)

        /// The scheme of its URL.
        var scheme: String {
            switch self {
            case .directory: "dir"
            case .sharedMountPoint: "sharedmountpoint"
            }
        }
    }

    /// How a pool is used on this host.
    public struct Options: Sendable {
        /// A private directory in memory for the journals of writers; nil for none.
        public var journalDirectory: String?
        /// Whether volumes go past the page cache.
        public var isDirect = false
        /// Refuses to open any other directory than the one with this identity, as another host reported it; nil for
        /// any.
        public var expectedIdentity: String?
        /// How much this host lets the pool promise.
        public var limits = PoolLimits.none
        /// What the storage below holds all volumes to together; nil where it knows no policies.
        public var sharedPolicy: QoSPolicy?

        /// How long the file system may take for a request; nil for as long as it likes.
        public var deadline: Duration?

        /// No deadline, no journal, through the page cache, any identity, no limits.
        public init() {}
    }

    public let name: String
    public let kind: String
    public let formats: [VolumeFormat] = [.qcow2, .raw]
    /// The same on every host that has opened this directory.
    public let identity: String
    let store: any FileStore
    let options: Options
    let images = ImageCatalog()
    let names = NameQueue()
    let attachments = Attachments()
    let bootTag: String
    let accountsFile: AccountsFile
    /// Whether no other host uses the directory.
    let isHostLocal: Bool

    /// Opens the pool in the directory `path`, making it one if it is none yet, and cleans up after crashed processes.
    ///
    /// Throws `notFound` when there is no such directory, `invalidArgument` when it is not what `kind` asks for, and
    /// `conflict` when its identity is not the expected one.
    public static func open(
        _ name: String, _ kind: Kind, path: String, options: Options = Options()
    ) async throws(StorageError) -> FilePool {
        let mounts: MountTable
        do throws(SystemError) {
            mounts = MountTable(try await SystemFiles.text(of: "/proc/self/mountinfo"))
        } catch {
            throw StorageError(error, "read the mount table")
        }
        return try await open(name, kind, path: path, options: options, mounts: mounts)
    }

    static func open(
        _ name: String, _ kind: Kind, path: String, options: Options, mounts: MountTable
    ) async throws(StorageError) -> FilePool {
        // A file system that hangs holds up its own threads only.
        let blocking = BlockingPool(threads: 32, deadline: options.deadline.map { IODeadline($0) })
        let store = try await LocalFileStore(path, isDirect: options.isDirect, blocking: blocking)
        if case .sharedMountPoint(let isForced) = kind {
            try mounts.checkShared(store.location(of: ""), isForced: isForced)
        }
        return try await open(name, kind, store: store, options: options)
    }

    static func open(
        _ name: String, _ kind: Kind, store: any FileStore, options: Options
    ) async throws(StorageError) -> FilePool {
        try VolumeName.check(name, as: "pool name")
        let bootTag: String
        do throws(SystemError) {
            bootTag = try await SystemFiles.bootTag()
        } catch {
            throw StorageError(error, "read the boot id")
        }
        for directory in [HiddenName.directory, HiddenName.declarations] {
            do throws(StorageError) {
                try await store.makeDirectory(directory)
            } catch {
                if error.code != .alreadyExists { throw error }
            }
        }
        let identity = try await PoolIdentity.establish(in: store)
        if let expected = options.expectedIdentity, expected != identity {
            throw StorageError(
                .conflict, "open pool", at: store.location(of: ""),
                why: "it is pool \(identity), not \(expected): is the right file system mounted there?")
        }
        let accounts = try await AccountsFile.open(in: store)
        let pool = FilePool(name, kind, store, options, identity: identity, bootTag: bootTag, accounts)
        try await pool.removeLeftovers()
        return pool
    }

    private init(
        _ name: String, _ kind: Kind, _ store: any FileStore, _ options: Options, identity: String, bootTag: String,
        _ accountsFile: AccountsFile
    ) {
        self.name = name
        self.kind = kind.scheme
        self.store = store
        self.options = options
        self.identity = identity
        self.bootTag = bootTag
        self.accountsFile = accountsFile
        isHostLocal = kind == .directory
    }

    public var capabilities: [Capability] {
        [
            Capability(.thinProvisioning), Capability(.linkedClone, states: [.base, .current]),
            Capability(.snapshot, formats: [.qcow2]), Capability(.revert, formats: [.qcow2]),
            Capability(.resizeOnline), Capability(.shrink), Capability(.discard), Capability(.extents),
            Capability(.exclusiveAttach), Capability(.flatten),
        ]
    }

    public var sharedPolicy: QoSPolicy? { options.sharedPolicy }

    public var health: PoolHealth {
        guard let overdue = store.overdue else { return .healthy }
        return .unresponsive(
            reason: "\(overdue.count) requests are late, the first for \(overdue.seconds) s: \(overdue.request)")
    }

    public func statistics() async throws(StorageError) -> PoolStatistics {
        let space = try await store.space()
        return PoolStatistics(
            capacity: space.capacity, allocated: space.capacity - min(space.capacity, space.free),
            available: space.available)
    }

    /// An error about a volume of this pool.
    func failure(_ code: StorageError.Code, _ what: String, _ name: String, _ why: String) -> StorageError {
        StorageError(code, what, at: "\(self.name)/\(name)", why: why)
    }
}

/// Names in a pool's directory that no volume can have, because they begin with a dot.
enum HiddenName {
    static let directory = ".sluice"
    static let declarations = ".sluice/volumes"
    static let identity = ".sluice/identity"
    static let accounts = ".sluice/accounts"
    /// Of files in the hidden directory that may become the identity or the accounts.
    static let draftPrefixes = [identityDraftPrefix, accountsDraftPrefix]
    static let identityDraftPrefix = "identity-"
    static let accountsDraftPrefix = "accounts-"
    /// Of files that are being built, or taken apart.
    static let stagingPrefix = ".sluice-"

    /// A name that nothing has, most likely; `bootTag` says which run of which kernel uses it.
    static func staging(_ bootTag: String) -> String { "\(stagingPrefix)\(bootTag)-\(random())" }

    static func declaration(of name: String) -> String { "\(declarations)/\(name)" }

    /// 128 random bits.
    static func unique() -> String { random() + random() }

    /// 64 random bits.
    private static func random() -> String {
        let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// The text that tells one pool directory from all others, whichever host mounts it.
enum PoolIdentity {
    /// Reads the identity, or gives the directory one: of several hosts that do so at once, one wins.
    static func establish(in store: any FileStore) async throws(StorageError) -> String {
        do throws(StorageError) {
            return try await read(from: store)
        } catch {
            if error.code != .notFound { throw error }
        }
        try await store.publish(
            Array("\(HiddenName.unique())\n".utf8), as: HiddenName.identity, draft: HiddenName.identityDraftPrefix)
        return try await read(from: store)
    }

    private static func read(from store: any FileStore) async throws(StorageError) -> String {
        let file = try await store.open(HiddenName.identity, .readOnly)
        var bytes = [UInt8](repeating: 0, count: Int(min(file.volume.geometry.size, 256)))
        var failure: StorageError?
        do throws(StorageError) {
            var span = bytes.mutableRawBytes
            try await file.volume.read(into: &span, at: 0)
        } catch {
            failure = error
        }
        try? await file.volume.close()
        if let failure { throw failure }
        let identity = String(decoding: bytes, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
        guard identity.utf8.count == 32 else {
            throw StorageError(
                .corrupt, "open pool", at: store.location(of: HiddenName.identity), why: "it holds no identity")
        }
        return identity
    }
}

extension FileStore {
    /// Makes a small file in the hidden directory with all its bytes at once, unless it is there already.
    func publish(_ bytes: [UInt8], as name: String, draft prefix: String) async throws(StorageError) {
        let draft = "\(HiddenName.directory)/\(prefix)\(HiddenName.unique())"
        let file = try await open(draft, .create)
        do throws(StorageError) {
            try await file.volume.resize(to: UInt64(bytes.count))
            try await file.volume.write(bytes.rawBytes, at: 0)
            try await file.volume.close()
            try await link(draft, to: name)
        } catch {
            try? await file.volume.close()
            try? await remove(draft)
            if error.code != .alreadyExists { throw error }
            return
        }
        try await remove(draft)
        try await synchronize(HiddenName.directory)
        try await synchronize("")
    }
}
