#if ISCSI
    import BlockStorage
    import ElementAPI
    import Foundation
    import IORuntime

    /// Units on a NetApp Element (SolidFire) array: each a volume of one of its accounts, which is the pool.
    ///
    /// A unit's mark stands in the volume's attributes, under `sluice`, as JSON; what others keep there stays. The array
    /// holds volumes to their policies and makes snapshots and clones itself, of volumes that are in use too.
    public final class ElementProvisioner: LUNProvisioner {
        /// Who may log in to the units.
        public enum Access: Hashable, Sendable {
            /// Whoever has the CHAP secret of the account.
            case account
            /// The initiators of the volume access group with this name, without CHAP.
            case group(String)
        }

        /// What the pool's URL says, beyond where the array is.
        public struct Settings: Sendable {
            /// Of the array, 1 to 64 characters; made where it is not there.
            public var account: String
            /// `HOST:PORT`, those to try first first; empty for where the array says that its volumes are.
            public var portals: [String] = []
            public var access = Access.account
            /// Whether targets have to prove themselves, too, with the account's other secret. Not with an access group.
            public var isMutual = false
            /// What a unit gets of which nothing is said, as far as the array takes it.
            public var minIOPS: UInt64 = 100
            public var maxIOPS: UInt64 = 15_000
            /// A burst of which nothing is said is the maximum, this many times.
            public var burstFactor = 1.5
            /// The lowest minimum; nil for what the array says.
            public var lowestIOPS: UInt64?
            /// The highest maximum and burst; nil for what the array says.
            public var highestIOPS: UInt64?
            /// How long a call may take. Clones have `ElementOptions.operationTime`.
            public var deadline = Duration.seconds(60)
            /// Sees the name of every method before the array is asked for it.
            package var observer: (@Sendable (_ method: String) -> Void)?

            public init(account: String) { self.account = account }
        }

        public let kind = "element"
        public let place: String
        public let profile: LUNProfile
        let client: ElementClient
        let settings: Settings
        let accountID: Int64
        /// The access group; nil where the account decides.
        let groupID: Int64?
        private let cluster: ElementClusterInfo
        let portals: [String]
        private let trouble = Locked<String?>(nil)

        /// Asks the array who it is and what it allows, and makes the account, its secrets and the access group where they
        /// are not there.
        ///
        /// Throws `authenticationFailed` for a wrong password or certificate, and `connectionLost` or `timedOut` where
        /// nobody answers.
        public static func open(
            _ endpoint: ElementEndpoint, _ settings: Settings, clock: any Clock<Duration> = ContinuousClock()
        ) async throws(StorageError) -> ElementProvisioner {
            var options = ElementOptions()
            options.deadline = settings.deadline
            options.requestTime = min(options.requestTime, settings.deadline)
            options.connectTime = min(options.connectTime, settings.deadline)
            options.observer = settings.observer
            let client = try ElementClient(endpoint, options: options, clock: clock)
            let cluster = try await client.clusterInfo()
            let profile = LUNProfile(try await client.limits(), settings)
            let account = try await account(settings.account, client)
            var groupID: Int64?
            if case .group(let name) = settings.access { groupID = try await group(name, client) }
            var portals = settings.portals
            if portals.isEmpty, !cluster.storageAddress.isEmpty {
                let address = cluster.storageAddress
                portals = [address.contains(":") ? "[\(address)]" : address]
            }
            guard !portals.isEmpty, portals.allSatisfy({ ISCSIAddress.parse($0) != nil }) else {
                throw StorageError(
                    .invalidArgument, "open pool", at: endpoint.description,
                    why: "the array does not say where its volumes are, and the pool's URL does not either")
            }
            let provisioner = ElementProvisioner(client, settings, cluster, account.id, groupID, portals, profile)
            try await provisioner.purgeLeftovers()
            return provisioner
        }

        private init(
            _ client: ElementClient, _ settings: Settings, _ cluster: ElementClusterInfo, _ accountID: Int64,
            _ groupID: Int64?, _ portals: [String], _ profile: LUNProfile
        ) {
            (self.client, self.settings, self.cluster) = (client, settings, cluster)
            (self.accountID, self.groupID, self.portals, self.profile) = (accountID, groupID, portals, profile)
            place = "\(client.endpoint), account \(settings.account)"
        }

        public var health: PoolHealth {
            trouble.withLock { $0.map { .unresponsive(reason: $0) } } ?? .healthy
        }

        public func identity() async throws(StorageError) -> String {
            try await watching { () async throws(StorageError) in
                let cluster = try await client.clusterInfo()
                return "\(cluster.uuid.isEmpty ? cluster.uniqueID : cluster.uuid)/\(accountID)"
            }
        }

        public func capacity() async throws(StorageError) -> LUNCapacity {
            try await watching { () async throws(StorageError) in
                let capacity = try await client.capacity()
                return LUNCapacity(
                    bytes: capacity.maxUsedSpace, used: capacity.usedSpace,
                    iops: capacity.maxIOPS > 0 ? capacity.maxIOPS : nil)
            }
        }

        // MARK: - Account and access

        /// The account with this name and an initiator's secret, made where it is not there.
        private static func account(
            _ name: String, _ client: ElementClient
        ) async throws(StorageError) -> ElementAccount {
            if let account = try await client.account(named: name) {
                // Whoever does so last decides for everybody: secrets are read before each login.
                if account.initiatorSecret == nil {
                    try await client.modifyAccount(account.id, initiatorSecret: newSecret())
                }
                if account.targetSecret == nil {
                    try await client.modifyAccount(account.id, targetSecret: newSecret())
                }
                return account
            }
            do throws(StorageError) {
                return try await client.addAccount(
                    named: name, initiatorSecret: newSecret(), targetSecret: newSecret(),
                    attributes: ["sluice": "pool"])
            } catch {
                // Another host was first.
                guard error.code == .alreadyExists, let account = try await client.account(named: name) else {
                    throw error
                }
                return account
            }
        }

        /// 16 letters and digits: the longest that the array takes, of what every initiator takes.
        private static func newSecret() -> Secret {
            let signs = Array("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789")
            var generator = SystemRandomNumberGenerator()
            return Secret(String((0..<16).map { _ in signs.randomElement(using: &generator) ?? "x" }))
        }

        /// The number of the group with this name, which is made where it is not there; of several the first one.
        private static func group(_ name: String, _ client: ElementClient) async throws(StorageError) -> Int64 {
            func existing() async throws(StorageError) -> Int64? {
                try await client.accessGroups().first { $0.name == name }?.id
            }
            if let id = try await existing() { return id }
            let made = try await client.createAccessGroup(named: name, attributes: ["sluice": "pool"]).id
            // Two hosts may have done so at the same time: both take the first one.
            let first = try await existing() ?? made
            if first != made { try await client.deleteAccessGroup(made) }
            return first
        }

        public func access(to unit: LUN, for initiator: String) async throws(StorageError) -> LUNAccess {
            try await watching { () async throws(StorageError) in
                guard let groupID else {
                    guard let account = try await client.account(accountID), let secret = account.initiatorSecret else {
                        throw failure(.notFound, "log in", "the account has no secret, or is gone")
                    }
                    var access = LUNAccess(portals: portals, credentials: .init(user: account.name, secret: secret))
                    guard settings.isMutual else { return access }
                    guard let targetSecret = account.targetSecret else {
                        throw failure(
                            .notFound, "log in", "the account has no secret that targets could prove themselves with")
                    }
                    // By which name they do so the array does not say.
                    access.targetCredentials = .init(user: "", secret: targetSecret)
                    return access
                }
                try await client.addInitiators([initiator], to: groupID)
                try await client.addVolumes([Int64(clamping: unit.id)], to: groupID)
                return LUNAccess(portals: portals)
            }
        }

        public func sessions(of id: LUN.ID) async throws(StorageError) -> [LUNSession] {
            try await watching { () async throws(StorageError) in
                // Whichever way an initiator has written its name, it is compared in lower case.
                try await client.sessions().filter { $0.volumeID == Int64(clamping: id) }
                    .map { LUNSession(initiator: $0.initiatorName.lowercased(), address: $0.initiatorIP) }
            }
        }

        // MARK: - Helpers

        func failure(_ code: StorageError.Code, _ what: String, _ why: String) -> StorageError {
            StorageError(code, what, at: place, why: why)
        }

        /// Runs `body`, and remembers whether the array answers.
        func watching<Result>(
            _ body: () async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            do throws(StorageError) {
                let result = try await body()
                trouble.withLock { $0 = nil }
                return result
            } catch {
                let isSilent = error.code == .timedOut || error.code == .connectionLost
                if error.code != .cancelled { trouble.withLock { $0 = isSilent ? error.why : nil } }
                throw error
            }
        }
    }

    extension LUNProfile {
        /// What the array allows, as far as it says so, and what the pool's URL says instead.
        init(_ limits: ElementLimits, _ settings: ElementProvisioner.Settings) {
            func range(_ lowest: UInt64, _ highest: UInt64) -> ClosedRange<UInt64> { lowest...max(lowest, highest) }
            let largest = min(limits.volumeSizeMax ?? 8_000_000_491_520, 1 << 60)
            let minimums = range(
                max(1, settings.lowestIOPS ?? limits.volumeMinIOPSMin ?? 100), limits.volumeMinIOPSMax ?? 15_000)
            let maximums = range(
                max(1, limits.volumeMaxIOPSMin ?? 100), settings.highestIOPS ?? limits.volumeMaxIOPSMax ?? 100_000)
            let minimum = min(max(settings.minIOPS, minimums.lowerBound), minimums.upperBound)
            let maximum = min(max(settings.maxIOPS, minimum, maximums.lowerBound), maximums.upperBound)
            let factor = settings.burstFactor >= 1 ? settings.burstFactor : 1
            let burst = min(
                UInt64(exactly: (Double(maximum) * factor).rounded(.down)) ?? .max, maximums.upperBound)
            self.init(
                smallestSize: min(limits.volumeSizeMin ?? 1_000_000_000, largest), largestSize: largest,
                granularity: 1 << 20, minIOPS: minimums, maxIOPS: maximums,
                // Nil where the array's limits contradict each other: then nothing is made without a policy.
                defaults: try? QoSPolicy(minIOPS: minimum, maxIOPS: maximum, burstIOPS: burst), burstFactor: factor,
                enforcesPolicies: true,
                largestSnapshotCount: Int(clamping: limits.snapshotsPerVolumeMax ?? 32))
        }
    }
#endif
