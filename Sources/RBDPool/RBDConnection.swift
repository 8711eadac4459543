#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import Synchronization
    import SystemPackage

    /// One connection to a Ceph cluster, and one pool in it.
    ///
    /// Every call that blocks runs through `call`, on threads that only this pool can keep, and within its deadline. A
    /// call that is late goes on, with whatever it holds, until librados gives it up.
    @safe
    final class RBDConnection: @unchecked Sendable {
        /// Sees the name of every call to librados or librbd that blocks, before it is made.
        typealias Observer = @Sendable (_ call: String) -> Void

        // Sound: both handles are made before this object and released after it, and librados locks for itself.
        let cluster: rados_t
        let pool: rados_ioctx_t
        let settings: RBDCluster
        let blocking: BlockingPool
        private let observer: Observer?
        /// Why nothing more can be done through this connection.
        private let failure = Locked<StorageError?>(nil)

        /// Connects, and throws unless the cluster answers and has the pool.
        static func open(
            _ settings: RBDCluster, cache: RBDCachePolicy = .none, blocking: BlockingPool, observer: Observer? = nil
        ) async throws(StorageError) -> RBDConnection {
            observer?("rados_connect")
            let place = "\(settings.user)@\(settings.place)"
            let limit = blocking.deadline?.limit ?? .seconds(60)
            do throws(SystemError) {
                let handles = try await blocking.call(
                    "rados_connect", settings.place, ifLate: { (handles: RBDHandles) in handles.release() }
                ) { () throws(SystemError) in
                    try RBDHandles.connect(settings, cache, limit)
                }
                return RBDConnection(handles, settings, blocking, observer)
            } catch {
                throw Self.connectFailure(error, settings, place)
            }
        }

        private init(_ handles: RBDHandles, _ settings: RBDCluster, _ blocking: BlockingPool, _ observer: Observer?) {
            unsafe (cluster, pool) = (handles.cluster, handles.pool)
            (self.settings, self.blocking, self.observer) = (settings, blocking, observer)
        }

        deinit {
            // Images hold the connection, so none is open any more. Shutting down waits for the cluster.
            let handles = unsafe RBDHandles(cluster: cluster, pool: pool)
            blocking.enqueue { handles.release() }
        }

        /// Whether the cluster has shut this connection out, or it broke: a new one is needed.
        var isBroken: Bool { failure.withLock { $0 != nil } }

        /// Runs calls that block on a thread of the pool's own. `body` returns or throws what they did; `name` is the
        /// first of them, `place` what for.
        ///
        /// One that makes `progress` may take as long as it likes, as long as it does.
        /// With `mustRun` it begins however late, as what gives something back has to. `ifLate` gets a result that
        /// nobody waits for any more.
        func call<Result: Sendable>(
            _ name: String, _ what: String, at place: String, mustRun: Bool = false,
            progress: CallProgress? = nil, ifLate: (@Sendable (Result) -> Void)? = nil,
            _ body: @escaping @Sendable (RBDConnection) throws(SystemError) -> Result
        ) async throws(StorageError) -> Result {
            observer?(name)
            if !mustRun, let failure = failure.withLock({ $0 }) { throw failure }
            do throws(SystemError) {
                return try await blocking.call(
                    name, "\(settings.pool)/\(place)", mustRun: mustRun, progress: progress, ifLate: ifLate
                ) { () throws(SystemError) in try body(self) }
            } catch {
                throw self.error(error, what, at: place)
            }
        }

        /// What the error of a call means. An error that ends the connection is remembered.
        func error(_ error: SystemError, _ what: String, at place: String) -> StorageError {
            let place = "\(settings.pool)/\(place)"
            switch error.errno {
            case .socketShutdown:
                let fenced = StorageError(
                    .fenced, what, at: place,
                    why: "the cluster has shut this client out: another one has taken over what it had locked")
                failure.withLock { $0 = $0 ?? fenced }
                return fenced
            case .socketNotConnected:
                let lost = StorageError(.connectionLost, what, at: place, why: "\(error)")
                failure.withLock { $0 = $0 ?? lost }
                return lost
            case .timedOut:
                return StorageError(
                    .timedOut, what, at: place, why: "\(error.call) did not answer in time: see 'ceph status'")
            case .permissionDenied, .notPermitted:
                return StorageError(
                    .permissionDenied, what, at: place,
                    why:
                        "\(error): client.\(settings.user) needs mon 'profile rbd' osd 'profile rbd pool=\(settings.pool)'"
                )
            default:
                return StorageError(error, what, at: place)
            }
        }

        private static func connectFailure(
            _ error: SystemError, _ settings: RBDCluster, _ place: String
        ) -> StorageError {
            let what = "connect to the cluster"
            switch (error.errno, error.call) {
            case (.permissionDenied, _), (.notPermitted, _):
                return StorageError(
                    .authenticationFailed, what, at: place,
                    why: "the cluster refuses the key of client.\(settings.user)")
            case (.noSuchFileOrDirectory, "rados_ioctx_create"):
                return StorageError(.notFound, what, at: place, why: "the cluster has no pool '\(settings.pool)'")
            case (.noSuchFileOrDirectory, "rados_connect"):
                return StorageError(
                    .authenticationFailed, what, at: place,
                    why: "there is no key for client.\(settings.user): give a secret file or a keyring")
            case (.noSuchFileOrDirectory, "rados_conf_read_file"):
                return StorageError(
                    .notFound, what, at: place, why: "no configuration file \(settings.configurationFile ?? "")")
            case (.timedOut, _):
                return StorageError(
                    .timedOut, what, at: place, why: "no monitor answered in time: is the address right, and is it up?")
            case (.noRouteToHost, _):
                return StorageError(.connectionLost, what, at: place, why: error.call)
            default: return StorageError(error, what, at: place)
            }
        }

        /// Sends a command to the monitors, and returns what they answer, in JSON.
        func monitorCommand(_ command: String) async throws(StorageError) -> [UInt8] {
            try await call("rados_mon_command", "ask the monitors", at: "") { connection throws(SystemError) in
                var output: UnsafeMutablePointer<CChar>?
                var outputCount = 0
                var status: UnsafeMutablePointer<CChar>?
                var statusCount = 0
                // Sound: the command outlives the call, and what it returns is copied before it is freed.
                defer {
                    unsafe rados_buffer_free(output)
                    unsafe rados_buffer_free(status)
                }
                let result = unsafe command.withCString { text in
                    var text: UnsafePointer<CChar>? = unsafe text
                    return unsafe rados_mon_command(
                        connection.cluster, &text, 1, nil, 0, &output, &outputCount, &status, &statusCount)
                }
                try rbdChecked("rados_mon_command", Int(result))
                guard let output = unsafe output else { return [] }
                return unsafe [UInt8](UnsafeRawBufferPointer(start: output, count: outputCount))
            }
        }

        /// The client's id in the cluster, as lock owners and watchers are named.
        var instance: UInt64 { unsafe rados_get_instance_id(cluster) }

        /// The earliest release that the cluster lets clients have, as a number: 12 is Luminous; 0 where it does not
        /// say.
        func requiredRelease() async throws(StorageError) -> Int {
            try await call("rados_get_min_compatible_client", "ask the monitors", at: "") {
                connection throws(SystemError) in
                var minimum: Int8 = 0
                var required: Int8 = 0
                let result = unsafe rados_get_min_compatible_client(connection.cluster, &minimum, &required)
                try rbdChecked("rados_get_min_compatible_client", Int(result))
                return Int(max(minimum, required))
            }
        }
    }

    /// The handles of a connection, on their way.
    @safe
    struct RBDHandles: @unchecked Sendable {
        let cluster: rados_t
        let pool: rados_ioctx_t

        init(cluster: rados_t, pool: rados_ioctx_t) {
            unsafe (self.cluster, self.pool) = (cluster, pool)
        }

        /// Blocks for as long as `limit`, if nobody answers.
        static func connect(
            _ settings: RBDCluster, _ cache: RBDCachePolicy, _ limit: Duration
        ) throws(SystemError) -> RBDHandles {
            var made: rados_t?
            try rbdChecked("rados_create", Int(unsafe rados_create(&made, settings.user)))
            guard let cluster = unsafe made else { throw SystemError(.noMemory, "rados_create") }
            Self.openCount.wrappingAdd(1, ordering: .relaxed)
            _ = Self.exitGuard
            do throws(SystemError) {
                try unsafe configure(cluster, settings, cache, limit)
                try rbdChecked("rados_connect", Int(unsafe rados_connect(cluster)))
                var context: rados_ioctx_t?
                try rbdChecked(
                    "rados_ioctx_create", Int(unsafe rados_ioctx_create(cluster, settings.pool, &context)))
                guard let pool = unsafe context else { throw SystemError(.noMemory, "rados_ioctx_create") }
                return unsafe RBDHandles(cluster: cluster, pool: pool)
            } catch {
                unsafe shutDown(cluster)
                throw error
            }
        }

        /// Those that librados may have threads for.
        private static let openCount = Atomic<Int>(0)

        /// A process that exits with connections open ends without the destructors of librados' library: they would take
        /// apart what its threads use.
        private static let exitGuard: Void = {
            _ = unsafe on_exit(
                { status, _ in
                    guard RBDHandles.openCount.load(ordering: .relaxed) > 0 else { return }
                    flushStandardOutput()
                    _exit(status)
                }, nil)
        }()

        private static func configure(
            _ cluster: rados_t, _ settings: RBDCluster, _ cache: RBDCachePolicy, _ limit: Duration
        ) throws(SystemError) {
            if let file = settings.configurationFile {
                try rbdChecked("rados_conf_read_file", Int(unsafe rados_conf_read_file(cluster, file)))
            }
            func set(_ option: String, _ value: String) throws(SystemError) {
                let result = unsafe rados_conf_set(cluster, option, value)
                // Options come and go between releases.
                if result == -ENOENT { return }
                try rbdChecked("rados_conf_set \(option)", Int(result))
            }
            if !settings.monitors.isEmpty {
                try set("mon_host", try RBDAddresses.resolve(settings.monitors).joined(separator: ","))
            }
            if let keyring = settings.keyring { try set("keyring", keyring) }
            if let key = settings.key {
                // With no other way in, a key that is refused is an error at once.
                try set("auth_client_required", "cephx")
                try key.reveal { (text) throws(SystemError) in
                    // librados prints what it cannot read.
                    guard RBDCluster.isKey(text), unsafe rados_conf_set(cluster, "key", text) == 0 else {
                        throw SystemError(.invalidArgument, "the key is not one")
                    }
                }
            }
            let seconds = "\(max(1, limit.components.seconds))"
            try set("client_mount_timeout", seconds)
            try set("rados_mon_op_timeout", seconds)
            // With a timeout librbd's cache drops what it could not write, and its next flush succeeds.
            try set("rados_osd_op_timeout", "0")
            try set("rbd_cache", cache.byteCount > 0 ? "true" : "false")
            if cache.byteCount > 0 {
                try set("rbd_cache_size", "\(cache.byteCount)")
                try set("rbd_cache_policy", cache.isWriteback ? "writeback" : "writethrough")
                try set("rbd_cache_max_dirty", "\(cache.isWriteback ? cache.byteCount / 4 * 3 : 0)")
                try set("rbd_cache_target_dirty", "\(cache.isWriteback ? cache.byteCount / 2 : 0)")
                try set("rbd_cache_writethrough_until_flush", "true")
            }
            // Requests are sent by the thread that makes them, without a thread of librbd's in between.
            try set("rbd_non_blocking_aio", "false")
            // Nor may that thread wait until others' requests are answered: it would be for ever when a cluster is not.
            try set("objecter_inflight_ops", "0")
            try set("objecter_inflight_op_bytes", "0")
            // The memory of a write is the caller's, who may be gone before the cluster answers.
            try set("rbd_disable_zero_copy_writes", "true")
            // Nothing of a client's is for the terminal of whoever links it.
            try set("log_to_stderr", "false")
            try set("err_to_stderr", "false")
        }

        func release() {
            unsafe rados_ioctx_destroy(pool)
            unsafe Self.shutDown(cluster)
        }

        private static func shutDown(_ cluster: rados_t) {
            unsafe rados_shutdown(cluster)
            openCount.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// The result of a call that returns minus an error number where it fails.
    @discardableResult
    func rbdChecked(_ call: String, _ result: Int) throws(SystemError) -> Int {
        if result >= 0 { return result }
        throw SystemError(Errno(rawValue: CInt(truncatingIfNeeded: -result)), call)
    }
#endif
