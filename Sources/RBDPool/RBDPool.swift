#if RBD
    import BlockStorage
    import CRBD
    import IORuntime
    import SystemPackage

    /// Volumes as images in a pool of a Ceph cluster, as CloudStack, QEMU and `rbd` use them.
    ///
    /// A volume or template `NAME` is the image `NAME`. A linked clone is a clone of its template's protected snapshot
    /// `cloudstack-base-snap`, or of a snapshot that Sluice makes for it. What is not in the image (that it is managed,
    /// its policy, what it was promised) stands in the pool, in the object `sluice_volumes`, where every host sees it.
    ///
    /// Everything new is built under a name that nobody else has, recorded first with the pool's `IntentLog`, and gets
    /// its own in the last step: a crash leaves what `recover` removes by that name. Which clones depend on an image, and
    /// who has it open, is asked of the cluster.
    public final class RBDPool: StoragePool {
        /// How a pool is used on this host.
        public struct Options: Sendable {
            /// How long the cluster may take for a request; nil for as long as it likes.
            public var deadline: Duration?
            /// How much this host lets the pool promise.
            public var limits = PoolLimits.none
            /// Refuses to open any other pool than the one with this identity, as another host reported it; nil for any.
            public var expectedIdentity: String?
            /// Where the pool records what it is about to do in several steps; nil for nowhere: what a crash leaves
            /// stays then.
            public var intents: (any IntentLog)?
            /// The pool that has the data of new images, clones too; nil for this one.
            public var dataPool: String?
            /// The size of new images' objects in bytes, a power of two from 4 KiB to 32 MiB; nil for librbd's own.
            /// Clones have that of their source.
            public var objectSize: UInt64?
            /// Of each volume that is open for writing.
            public var cache = RBDCachePolicy.standard
            /// Whether librbd enforces volumes' maximums, wherever they are attached.
            public var qosByLibrbd = true
            /// How many images a clone may read through; one that would read through more is made independent at once.
            public var cloneDepth = 5
            /// Sees the name of every call to the cluster before it is made.
            package var observer: (@Sendable (_ call: String) -> Void)?

            /// No deadline, no limits, any identity, nothing recorded, librbd's own sizes and cache.
            public init() {}
        }

        public let name: String
        public let kind = "rbd"
        public let formats: [VolumeFormat] = [.raw]
        /// The same on every host that has opened this pool: the cluster's id and the pool's.
        public let identity: String
        let options: Options
        let source: RBDConnectionSource
        let names = NameQueue()
        let attachments = RBDAttachments()

        /// Opens the pool.
        ///
        /// Throws `timedOut` when no monitor answers, `authenticationFailed` when the cluster refuses the key,
        /// `notFound` when there is no such pool, `invalidArgument` when it was not made for images, `permissionDenied`
        /// when the user may not write to it, `notSupported` when librbd is older than the cluster requires, and
        /// `conflict` when its identity is not the expected one.
        public static func open(
            _ name: String, cluster: RBDCluster, options: Options = Options()
        ) async throws(StorageError) -> RBDPool {
            try VolumeName.check(name, as: "pool name")
            if let size = options.objectSize {
                guard size.nonzeroBitCount == 1, (4096...(32 << 20)).contains(size) else {
                    throw StorageError(
                        .invalidArgument, "open pool", at: name,
                        why: "\(size) bytes are no object size: use a power of two from 4 KiB to 32 MiB")
                }
            }
            let source = RBDConnectionSource(
                cluster, cache: options.cache, deadline: options.deadline, observer: options.observer)
            let connection = try await source.connection()
            try RBDRelease.check(
                installed: RBDRelease.installed, required: try await connection.requiredRelease(), at: cluster.place)
            let identity = try await connection.identity()
            if let expected = options.expectedIdentity, expected != identity {
                throw StorageError(
                    .conflict, "open pool", at: cluster.place,
                    why: "it is pool \(identity), not \(expected): is it the right cluster?")
            }
            try await connection.checkApplication()
            try await RBDDeclarations(connection: connection).prepare()
            return RBDPool(name, options, source, identity: identity)
        }

        private init(_ name: String, _ options: Options, _ source: RBDConnectionSource, identity: String) {
            (self.name, self.options, self.source, self.identity) = (name, options, source, identity)
        }

        public var capabilities: [Capability] {
            let features: [Capability.Feature] = [
                .thinProvisioning, .cloneFromSnapshot, .snapshot, .revert, .protect, .resizeOnline, .shrink, .discard,
                .extents, .changedExtents, .exclusiveAttach, .flatten, .trash,
            ]
            return [Capability(.linkedClone, states: [.base, .current, .snapshot])]
                + (features + (options.qosByLibrbd ? [.qosMaximum, .qosBurst] : [])).map { Capability($0) }
        }

        public var health: PoolHealth {
            guard let overdue = source.blocking.deadline?.overdue else { return .healthy }
            return .unresponsive(
                reason: "\(overdue.count) requests are late, the first for \(overdue.seconds) s: \(overdue.request)")
        }

        /// The connection to use for the next operation.
        var connection: RBDConnection {
            get async throws(StorageError) { try await source.connection() }
        }

        /// An error about a volume of this pool.
        func failure(_ code: StorageError.Code, _ what: String, _ name: String, _ why: String) -> StorageError {
            StorageError(code, what, at: "\(self.name)/\(name)", why: why)
        }

        func taken(_ name: String) -> StorageError {
            failure(.alreadyExists, "create", name, "something else has that name")
        }
    }

    extension RBDConnection {
        /// The cluster's id and the pool's.
        fileprivate func identity() async throws(StorageError) -> String {
            try await call("rados_cluster_fsid", "open pool", at: "") { connection throws(SystemError) in
                var text = [CChar](repeating: 0, count: 64)
                try rbdChecked(
                    "rados_cluster_fsid", Int(unsafe rados_cluster_fsid(connection.cluster, &text, text.count)))
                return "\(String(upToZero: text))/\(unsafe rados_ioctx_get_id(connection.pool))"
            }
        }

        /// Throws `invalidArgument` where the pool was not made for images.
        fileprivate func checkApplication() async throws(StorageError) {
            let applications = try await call("rados_application_list", "open pool", at: "") {
                connection throws(SystemError) in
                var text = [CChar](repeating: 0, count: 4096)
                var count = text.count
                try rbdChecked(
                    "rados_application_list", Int(unsafe rados_application_list(connection.pool, &text, &count)))
                return text.prefix(count).split(separator: 0).map { String(upToZero: $0) }
            }
            guard applications.contains("rbd") else {
                throw StorageError(
                    .invalidArgument, "open pool", at: settings.place,
                    why: "it was not made for images: run 'rbd pool init \(settings.pool)'")
            }
        }
    }
#endif
