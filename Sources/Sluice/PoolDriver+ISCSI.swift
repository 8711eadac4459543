#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import ISCSIPool
    import SystemPackage
    import TGTControl

    extension PoolDriver {
        /// Pools whose volumes are units of a tgt target on this host. `socket` is the path that tgtd's sockets begin with,
        /// which `TGT_IPC_SOCKET` tells tgtadm, too; `observer` sees the name of each call to the target's provisioner
        /// before it is made.
        static func tgt(
            socket: String = ProcessInfo.processInfo.environment["TGT_IPC_SOCKET"] ?? TGTControl.defaultPath,
            observer: (@Sendable (String) -> Void)? = nil
        ) -> PoolDriver {
            var driver = PoolDriver(scheme: TGTLocation.scheme, parameters: TGTLocation.parameters) {
                configuration throws(StorageError) in
                let location = try TGTLocation(configuration.url)
                let deadline = Duration.seconds(configuration.url.deadlineSeconds)
                let provisioner = try await TGTProvisioner.open(
                    portal: location.portal.description,
                    control: TGTControl(port: location.control, base: socket, deadline: deadline),
                    directory: location.directory, deadline: deadline, isMutual: location.units.isMutual,
                    headerDigest: location.units.hasHeaderDigest ? .crc32c : .none)
                try await checkPortals([location.portal], of: configuration)
                return try await openUnits(configuration, provisioner, location.units, observer)
            }
            driver.checkLocation = { url throws(StorageError) in _ = try TGTLocation(url) }
            driver.hasSecret = false
            return driver
        }

        /// Opens the pool that a provisioner makes units for.
        static func openUnits(
            _ configuration: PoolConfiguration, _ provisioner: any LUNProvisioner, _ location: ISCSILocation,
            _ observer: (@Sendable (String) -> Void)?
        ) async throws(StorageError) -> OpenedPool {
            var options = ISCSIPool.Options(initiatorName: try await initiator(location))
            options.deadline = .seconds(configuration.url.deadlineSeconds)
            options.limits = configuration.limits
            options.expectedIdentity = configuration.identity
            options.intents = configuration.intents
            options.boundAddress = location.boundAddress
            options.headerDigest = location.hasHeaderDigest ? .crc32c : .none
            options.snapshotReserve = location.snapshotReserve
            options.journalDirectory = configuration.journalDirectory
            options.observer = observer
            let pool = try await ISCSIPool.open(configuration.name, provisioner: provisioner, options: options)
            return OpenedPool(pool, identity: pool.identity)
        }
    }

    extension PoolDriver {
        /// This host's name as an initiator.
        static func initiator(_ location: ISCSILocation) async throws(StorageError) -> String {
            if let name = location.initiator { return name }
            do throws(StorageError) {
                return try await ISCSIInitiator.hostName()
            } catch {
                throw StorageError(
                    error.code, error.what, at: error.place, why: "\(error.why); initiator=NAME in the URL gives one")
            }
        }
    }

    extension PoolDriver {
        /// Throws unless one of the portals takes connections from the address that the URL binds them to, so that a
        /// mistake in it shows when a pool is registered. Later a storage network that is away says so when volumes are
        /// used.
        static func checkPortals(
            _ portals: [HostAndPort], of configuration: PoolConfiguration
        ) async throws(StorageError) {
            guard configuration.identity == nil else { return }
            let source = try ISCSILocation(configuration.url).boundAddress
            let limit = Duration.seconds(min(configuration.url.deadlineSeconds, 10))
            var failure: StorageError?
            for portal in portals {
                do throws(StorageError) {
                    return try await connect(to: portal, from: source, within: limit)
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
        }

        private static func connect(
            to portal: HostAndPort, from source: String?, within limit: Duration
        ) async throws(StorageError) {
            let address = Socket.Address.tcp(host: portal.host, port: portal.port ?? ISCSILocation.usualPort)
            let what = "connect to the portal"
            let late = StorageError(.timedOut, what, at: "\(portal)", why: "nobody answers within \(limit)")
            try await within(limit, or: late) { () async throws(StorageError) in
                do throws(SystemError) {
                    try await Socket.connect(to: address, from: source).close()
                } catch {
                    if error.call == "bind", let source {
                        throw StorageError(
                            .invalidArgument, what, at: "\(portal)",
                            why: "connections cannot come from bind=\(source): \(error.errno)")
                    }
                    throw StorageError(error, what, at: "\(portal)")
                }
            }
        }
    }

    extension StorageHost {
        /// The volume as a logical unit that a hypervisor logs in to; nil where it is none.
        func iscsiDisk(
            _ volume: VolumeAddress, _ description: VolumeDescription, in pool: any StoragePool
        ) async throws(StorageError) -> ISCSIDisk? {
            guard let pool = pool as? ISCSIPool else { return nil }
            guard volume.snapshot == nil else {
                throw StorageError(
                    .notSupported, "attach snapshot", at: "\(volume)",
                    why: "a snapshot is no unit that QEMU could open: serve it first")
            }
            guard let format = description.format else {
                throw StorageError(.notSupported, "attach volume", at: "\(volume)", why: "its format is not declared")
            }
            let (target, lun) = try await pool.access(to: volume.name)
            guard let portal = target.portals.first else {
                throw StorageError(.notFound, "attach volume", at: "\(volume)", why: "the array names no portal")
            }
            guard target.targetCredentials == nil else {
                throw StorageError(
                    .notSupported, "attach volume", at: "\(volume)",
                    why: "neither QEMU nor libvirt has targets prove themselves: serve the volume")
            }
            var login: ISCSIDisk.Login?
            if let credentials = target.credentials {
                let name = SecretStore.name(of: "iscsi \(volume.pool)")
                let file = try await secrets.keep(credentials.secret, as: name)
                login = ISCSIDisk.Login(user: credentials.user, secret: name.lowercased(), secretFile: file)
            }
            return ISCSIDisk(
                format: format, portal: portal, target: target.name, lun: lun,
                initiatorName: target.initiatorName, login: login, hasHeaderDigest: target.headerDigest == .crc32c)
        }
    }
#endif
