#if ISCSI
    import BlockStorage
    import ElementAPI

    /// One volume of an Element array, with one policy, that hosts share through a clustered file system on it.
    ///
    /// The array's part is made here: the account, the volume, its policy and the access group. The hosts' part, which
    /// needs their kernels' initiators and file systems, is said in `remainingSteps`.
    public struct ElementSharedVolume: Equatable, Sendable {
        /// What the kernel's initiator logs in to.
        public var path: ISCSIPath
        /// `HOST:PORT`, or `HOST` for port 3260.
        public var portals: [String]
        /// In bytes.
        public var size: UInt64
        /// What all that is kept on the volume shares.
        public var policy: QoSPolicy
        /// The volume access group of the hosts.
        public var group: String

        /// Makes what is not there, and makes what is there what it should be, whoever changed it since: again is
        /// harmless, on several hosts at once too. `initiators` are added to those that may log in; `size` in bytes
        /// only grows.
        ///
        /// Throws `invalidArgument` for a size or a policy that the array does not take, and `quotaExceeded` where the group
        /// would have more than 64 initiators or the array has no room.
        public static func prepare(
            _ endpoint: ElementEndpoint, _ settings: ElementProvisioner.Settings, name: String, size: UInt64,
            policy: QoSPolicy, initiators: [String], clock: any Clock<Duration> = ContinuousClock()
        ) async throws(StorageError) -> ElementSharedVolume {
            try VolumeName.check(name)
            var settings = settings
            // Hosts' kernels would need the account's secret in their configuration.
            if settings.access == .account { settings.access = .group(settings.account) }
            guard case .group(let group) = settings.access else {
                throw StorageError(.internalError, "prepare shared volume", at: endpoint.description)
            }
            let provisioner = try await ElementProvisioner.open(endpoint, settings, clock: clock)
            let what = "prepare shared volume"
            let rounded = try provisioner.profile.rounded(size, what, at: name)
            guard let complete = try provisioner.profile.completed(policy, what, at: name) else {
                throw StorageError(.invalidArgument, what, at: name, why: "it needs a policy")
            }
            let volume = try await provisioner.sharedVolume(name, rounded, complete)
            guard let groupID = provisioner.groupID, let path = volume.iqn.flatMap({ try? ISCSIPath("/\($0)/0") })
            else {
                throw StorageError(.inputOutput, what, at: name, why: "the array does not say where the volume is")
            }
            try await provisioner.client.addVolumes([volume.id], to: groupID)
            if !initiators.isEmpty { try await provisioner.client.addInitiators(initiators, to: groupID) }
            return ElementSharedVolume(
                path: path, portals: provisioner.portals, size: volume.size, policy: complete, group: group)
        }

        /// The policy that the volume has now, whoever set it; nil where the array does not tell. Makes and changes
        /// nothing, and asks each thing once, for `limit` at most.
        ///
        /// Throws `notFound` where the array has no such volume, and what `ElementClient` throws where nobody answers.
        public static func policy(
            of name: String, _ endpoint: ElementEndpoint, _ settings: ElementProvisioner.Settings,
            within limit: Duration = .seconds(5), clock: any Clock<Duration> = ContinuousClock()
        ) async throws(StorageError) -> QoSPolicy? {
            var options = ElementOptions()
            options.tries = 1
            // Of each of two questions.
            options.deadline = min(settings.deadline, limit) / 2
            options.connectTime = options.deadline
            options.observer = settings.observer
            let client = try ElementClient(endpoint, options: options, clock: clock)
            guard let account = try await client.account(named: settings.account),
                let volume = try await client.sharedVolumes(name, of: account.id).first
            else {
                throw StorageError(
                    .notFound, "find shared volume", at: "\(endpoint), account \(settings.account)",
                    why: "the array has no volume that was made for pool \(name)")
            }
            return volume.qos.flatMap {
                try? QoSPolicy(minIOPS: $0.minIOPS, maxIOPS: $0.maxIOPS, burstIOPS: $0.burstIOPS)
            }
        }

        /// What people have to do on the hosts until the volume can be used, a sentence each.
        public var remainingSteps: [String] {
            let portal = portals.first.flatMap(ISCSIAddress.parse) ?? ("", ISCSIAddress.defaultPort)
            let address = "\(portal.host.contains(":") ? "[\(portal.host)]" : portal.host):\(portal.port)"
            let device = "/dev/disk/by-path/ip-\(address)-iscsi-\(path.target)-lun-\(path.lun)"
            return [
                "On each host, add the name in /etc/iscsi/initiatorname.iscsi to the volume access group '\(group)', unless "
                    + "it is there.",
                "On each host, log in: iscsiadm -m discovery -t sendtargets -p \(address) && "
                    + "iscsiadm -m node -T \(path.target) -p \(address) --login",
                "On one host, once, make a clustered file system, such as OCFS2 or GFS2, on \(device)",
                "On each host, mount it, and add this pool again, with mount=MOUNTPOINT in its URL",
            ]
        }
    }

    extension ElementClient {
        /// Under which name what a shared volume is called stands in its attributes.
        fileprivate static let sharedName = "sluice-shared"

        /// Those that are called that: one, but for a moment, where hosts make it at the same time.
        fileprivate func sharedVolumes(
            _ name: String, of accountID: Int64
        ) async throws(StorageError) -> [ElementVolume] {
            try await volumes(of: accountID)
                .filter { $0.status != .deleted && $0.attributes[Self.sharedName] == name }
        }
    }

    extension ElementProvisioner {
        fileprivate func sharedVolume(
            _ name: String, _ size: UInt64, _ policy: QoSPolicy
        ) async throws(StorageError) -> ElementVolume {
            let wanted = try qos(policy)
            var found = try await client.sharedVolumes(name, of: accountID)
            if found.isEmpty {
                // A ticket of its own: a lost answer is looked up by it.
                let request = ElementVolumeRequest(
                    name: arrayName(name), accountID: accountID, size: size, qos: wanted,
                    attributes: [
                        ElementClient.sharedName: .text(name),
                        "ticket": .text(String(UInt64.random(in: 0...UInt64.max), radix: 36)),
                    ])
                let made = try await client.createVolume(request)
                // Another host may have done so at the same time: both take the older one.
                found = try await client.sharedVolumes(name, of: accountID)
                if let first = found.first, first.id != made.id {
                    try await client.deleteVolume(made.id)
                    try await client.purgeVolume(made.id)
                }
            }
            guard let volume = found.first else {
                throw failure(.inputOutput, "prepare shared volume", "the array does not list what it made")
            }
            var change = ElementVolumeChange()
            if volume.size < size { change.size = size }
            if volume.qos.map({ !$0.isSame(as: wanted) }) ?? true { change.qos = wanted }
            return change == ElementVolumeChange() ? volume : try await client.modifyVolume(volume.id, change)
        }
    }
#endif
