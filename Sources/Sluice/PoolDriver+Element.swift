#if ISCSI
    import BlockStorage
    import ElementAPI
    import ISCSIPool
    import SystemPackage

    extension PoolDriver {
        /// Pools whose volumes are volumes of a NetApp Element array. `observer` sees the name of each call to the array's
        /// provisioner before it is made.
        static func element(observer: (@Sendable (String) -> Void)? = nil) -> PoolDriver {
            let parameters = ElementLocation.parameters.union(ISCSILocation.parameters)
            var driver = PoolDriver(scheme: ElementLocation.scheme, parameters: parameters) {
                configuration throws(StorageError) in
                let location = try ElementLocation(configuration.url)
                guard let password = configuration.secret else {
                    throw StorageError(
                        .invalidArgument, "open pool", at: configuration.name,
                        why: "the array asks for the administrator's password: give it with --secret-file")
                }
                let provisioner = try await ElementProvisioner.open(
                    try ElementEndpoint(location, password: password),
                    ElementProvisioner.Settings(location, pool: configuration))
                return try await openUnits(
                    configuration, provisioner, try ISCSILocation(configuration.url), observer)
            }
            driver.checkLocation = { url throws(StorageError) in
                _ = try ISCSILocation(url)
                guard try ElementLocation(url).shared == nil else {
                    throw StorageError(
                        .notSupported, "pool URL", at: "\(url.scheme)://…",
                        why: "one volume for all, with minIops, maxIops and burstIops, has to be made on the array and "
                            + "mounted on the hosts: add the mount as sharedmountpoint:///PATH")
                }
            }
            return driver
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
            portals = location.portals.map { HostAndPort($0.host, port: $0.port ?? 3260).description }
            if case .group(let name) = location.access { access = .group(name ?? "sluice-\(pool.name)") }
            (minIOPS, maxIOPS) = (location.defaultMinIOPS, location.defaultMaxIOPS)
            burstFactor = location.burstFactor
            (lowestIOPS, highestIOPS) = (location.lowestIOPS, location.highestIOPS)
            deadline = .seconds(pool.url.deadlineSeconds)
        }
    }
#endif
