import BlockStorage
import FilePool

extension PoolDriver {
    /// The drivers of this build, as its package traits say.
    public static let all: [PoolDriver] = files + clusters + arrays

    private static let files: [PoolDriver] = [
        PoolDriver(scheme: "dir", isLocal: true) { configuration throws(StorageError) in
            try await openFiles(configuration, .directory)
        },
        PoolDriver(scheme: "sharedmountpoint", isLocal: true) { configuration throws(StorageError) in
            try await openFiles(configuration, .sharedMountPoint(isForced: configuration.url.isForced))
        },
    ]

    #if RBD
        private static let clusters: [PoolDriver] = [.rbd()]
    #else
        private static let clusters: [PoolDriver] = []
    #endif

    #if ISCSI
        private static let arrays: [PoolDriver] = [.element(), .tgt()]
    #else
        private static let arrays: [PoolDriver] = []
    #endif

    static func openFiles(
        _ configuration: PoolConfiguration, _ kind: FilePool.Kind
    ) async throws(StorageError) -> OpenedPool {
        var options = FilePool.Options()
        options.journalDirectory = configuration.journalDirectory
        options.deadline = .seconds(configuration.url.deadlineSeconds)
        options.isDirect = configuration.isDirect
        options.expectedIdentity = configuration.identity
        options.limits = configuration.limits
        options.sharedPolicy = configuration.sharedPolicy
        let pool = try await FilePool.open(configuration.name, kind, path: configuration.url.path, options: options)
        return OpenedPool(pool, identity: pool.identity)
    }
}
