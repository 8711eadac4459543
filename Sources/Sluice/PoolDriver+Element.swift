#if ISCSI
    import BlockStorage
    import ElementAPI
    import FilePool
    import ISCSIPool
    import SystemPackage

    extension PoolDriver {
        /// Pools whose volumes are volumes of a NetApp Element array. `observer` sees the name of each method
        /// before the array is asked for it.
        static func element(observer: (@Sendable (String) -> Void)? = nil) -> PoolDriver {
            let parameters = ElementLocation.parameters.union(ISCSILocation.parameters)
            var driver = PoolDriver(scheme: ElementLocation.scheme, parameters: parameters) {
                configuration throws(StorageError) in
                let (location, units) = (try ElementLocation(configuration.url), try ISCSILocation(configuration.url))
                guard let password = configuration.secret else {
                    throw StorageError(
                        .invalidArgument, "open pool", at: configuration.name,
                        why: "the array asks for the administrator's password: give it with --secret-file")
                }
                let endpoint = try ElementEndpoint(location, password: password)
                if let policy = location.shared {
                    return try await openShared(configuration, location, endpoint, policy)
                }
                var settings = ElementProvisioner.Settings(location, pool: configuration)
                settings.isMutual = units.isMutual
                settings.observer = observer
                let provisioner = try await ElementProvisioner.open(endpoint, settings)
                try await checkPortals(location.portals, of: configuration)
                return try await openUnits(configuration, provisioner, units, nil)
            }
            driver.checkLocation = { url throws(StorageError) in
                let (location, units) = (try ElementLocation(url), try ISCSILocation(url))
                guard units.isMutual, case .group = location.access else { return }
                throw StorageError(
                    .invalidArgument, "pool URL", at: "\(ElementLocation.scheme)://…",
                    why: "'chap=mutual' is for access=account: an access group lets initiators in without CHAP")
            }
            return driver
        }

        /// One volume of the array for all hosts, whose policy all its volumes share: prepared on the array, and served as
        /// the mount point that it has on this host.
        ///
        /// Adding the pool says what the array shall have, and that is made so. Opening it later asks only for the
        /// policy: an administrator may have changed that, and the file system that is mounted works while the array's
        /// management is away.
        private static func openShared(
            _ configuration: PoolConfiguration, _ location: ElementLocation, _ endpoint: ElementEndpoint,
            _ policy: QoSPolicy
        ) async throws(StorageError) -> OpenedPool {
            let settings = ElementProvisioner.Settings(location, pool: configuration)
            guard let path = location.mountPoint else {
                let volume = try await prepareShared(configuration, endpoint, settings, policy)
                let steps = volume.remainingSteps.enumerated().map { "(\($0.offset + 1)) \($0.element)" }
                    .joined(separator: " ")
                throw StorageError(
                    .notAttached, "open pool", at: configuration.name,
                    why: "the array is ready. What remains: \(steps)")
            }
            var files = configuration
            if configuration.identity == nil {
                files.sharedPolicy = try await prepareShared(configuration, endpoint, settings, policy).policy
            } else {
                files.sharedPolicy = try await currentPolicy(of: configuration.name, endpoint, settings, or: policy)
            }
            let common = configuration.url.parameters.filter { PoolURL.commonParameters.contains($0.key) }
            files.url = PoolURL(scheme: "sharedmountpoint", authority: "", path: path, parameters: common)
            return try await openFiles(files, .sharedMountPoint(isForced: files.url.isForced))
        }

        private static func prepareShared(
            _ configuration: PoolConfiguration, _ endpoint: ElementEndpoint, _ settings: ElementProvisioner.Settings,
            _ policy: QoSPolicy
        ) async throws(StorageError) -> ElementSharedVolume {
            guard let size = configuration.limits.capacityBytes else {
                throw StorageError(
                    .invalidArgument, "open pool", at: configuration.name,
                    why: "a volume that hosts share needs its size: --capacity-bytes N")
            }
            return try await ElementSharedVolume.prepare(
                endpoint, settings, name: configuration.name, size: size, policy: policy,
                initiators: [try await initiator(ISCSILocation(configuration.url))])
        }

        /// The policy that a shared volume has; the one that the pool's URL states where the array does not tell, for
        /// whatever reason: nothing else depends on it.
        private static func currentPolicy(
            of name: String, _ endpoint: ElementEndpoint, _ settings: ElementProvisioner.Settings,
            or stated: QoSPolicy
        ) async throws(StorageError) -> QoSPolicy {
            do throws(StorageError) {
                return try await ElementSharedVolume.policy(of: name, endpoint, settings) ?? stated
            } catch {
                if error.code == .cancelled { throw error }
                return stated
            }
        }
    }

    extension ElementEndpoint {
        fileprivate init(_ location: ElementLocation, password: Secret) throws(StorageError) {
            let trust: Trust
            switch location.trust {
            case .system: trust = .system
            case .authorities(let file): trust = .authorities(FilePath(file))
            case .certificate(let digits):
                trust = .certificate(try CertificateFingerprint(digits))
            case .unencrypted: trust = .unencrypted
            }
            self.init(
                host: location.host, port: location.port, user: location.user, password: password, trust: trust)
        }
    }

    extension ElementProvisioner.Settings {
        fileprivate init(_ location: ElementLocation, pool: PoolConfiguration) {
            self.init(account: location.account)
            portals = location.portals.map { $0.withPort(usual: ISCSILocation.usualPort).description }
            if case .group(let name) = location.access { access = .group(name ?? "sluice-\(pool.name)") }
            (minIOPS, maxIOPS) = (location.defaultMinIOPS, location.defaultMaxIOPS)
            burstFactor = location.burstFactor
            (lowestIOPS, highestIOPS) = (location.lowestIOPS, location.highestIOPS)
            deadline = .seconds(pool.url.deadlineSeconds)
        }
    }
#endif
