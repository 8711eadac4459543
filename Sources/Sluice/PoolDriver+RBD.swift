#if RBD
    import BlockStorage
    import RBDPool

    extension PoolDriver {
        /// Pools of Ceph clusters, through librbd. `observer` sees the name of each call to the cluster before it is made.
        static func rbd(observer: (@Sendable (String) -> Void)? = nil) -> PoolDriver {
            var driver = PoolDriver(scheme: RBDLocation.scheme, parameters: RBDLocation.parameters) {
                configuration throws(StorageError) in
                let location = try RBDLocation(configuration.url)
                var options = RBDPool.Options()
                options.deadline = .seconds(configuration.url.deadlineSeconds)
                options.limits = configuration.limits
                options.expectedIdentity = configuration.identity
                options.intents = configuration.intents
                options.dataPool = location.dataPool
                options.objectSize = location.objectSize
                options.cache =
                    configuration.isDirect
                    ? .none : RBDCachePolicy(byteCount: location.cacheBytes, isWriteback: location.isWriteback)
                options.qosByLibrbd = location.isLimitedByLibrbd
                options.observer = observer
                let pool = try await RBDPool.open(
                    configuration.name, cluster: RBDCluster(location, key: configuration.secret), options: options)
                return OpenedPool(pool, identity: pool.identity)
            }
            driver.checkLocation = { url throws(StorageError) in _ = try RBDLocation(url) }
            driver.cacheBytes = { url throws(StorageError) in try RBDLocation(url).cacheBytes }
            driver.canonicalSecret = RBDLocation.canonicalKey
            return driver
        }
    }

    extension RBDCluster {
        init(_ location: RBDLocation, key: Secret?) {
            self.init(
                monitors: location.monitors.map { Monitor(host: $0.host, port: $0.port) }, pool: location.pool,
                user: location.user, key: key, configurationFile: location.configurationFile,
                keyring: location.keyring)
        }
    }
#endif
