#if ISCSI
    import BlockStorage
    import IORuntime

    /// Volumes that are logical units of their own, made by an array or a target as they are asked for.
    ///
    /// What the pool knows of a volume stands with its unit (`LUNMark`), where every host sees it; no host's records
    /// count. Everything new is built as a unit that is marked as not ready, recorded first with the pool's
    /// `IntentLog`, and becomes visible as the last step: a crash leaves what `recover` removes, found by the ticket
    /// that is in the intent and in the mark. Units without a mark are somebody else's: they count, and are left alone.
    ///
    /// Arrays check neither that a name is given once, nor that minimums and sizes fit. Hosts agree on that by what
    /// they see: whoever wants something marks a unit so, and then looks at all others. See `contend`.
    public final class ISCSIPool: StoragePool {
        /// How a pool is used on this host.
        public struct Options: Sendable {
            /// How long the storage may take for a request.
            public var deadline = Duration.seconds(30)
            /// How much this host lets the pool promise.
            public var limits = PoolLimits.none
            /// Refuses to open any other pool than the one with this identity, as another host reported it; nil for
            /// any.
            public var expectedIdentity: String?
            /// Where the pool records what it is about to do in several steps; nil for nowhere: what a crash leaves is
            /// removed by the next pool that is opened then.
            public var intents: (any IntentLog)?
            /// This host's name as an initiator, which no other host has.
            public var initiatorName: String
            /// The address of this host that connections come from, on the storage network: nil lets the routes decide.
            public var boundAddress: String?
            public var headerDigest = ISCSITarget.HeaderDigest.none
            /// By how much the unit of a QCOW2 image is larger than all of the image can be, in percent: room for the
            /// snapshots that a hypervisor makes in it.
            public var snapshotReserve: UInt8 = 0
            /// A private directory in memory for what must outlive the process but not the host; nil where there is
            /// none.
            public var journalDirectory: String?
            /// Sees the name of every call to the array before it is made.
            package var observer: (@Sendable (_ call: String) -> Void)?

            /// 30 seconds, no limits, any identity, nothing recorded.
            public init(initiatorName: String) { self.initiatorName = initiatorName.lowercased() }
        }

        public let name: String
        public let kind: String
        public let formats: [VolumeFormat] = [.raw, .qcow2]
        /// The same on every host that has opened this pool.
        public let identity: String
        let options: Options
        let provisioner: any LUNProvisioner
        let names = NameQueue()
        let attachments: OpenUnits

        /// Opens the pool, and removes what processes of this host that died have left of it.
        ///
        /// Throws what the provisioner throws when the array does not answer, and `conflict` when its identity is not
        /// the expected one.
        public static func open(
            _ name: String, provisioner: any LUNProvisioner, options: Options
        ) async throws(StorageError) -> ISCSIPool {
            try VolumeName.check(name, as: "pool name")
            let watched = options.observer.map { ObservedProvisioner(provisioner, $0) }
            let identity = try await provisioner.identity()
            if let expected = options.expectedIdentity, expected != identity {
                throw StorageError(
                    .conflict, "open pool", at: provisioner.place,
                    why: "it is pool \(identity), not \(expected): is it the right array?")
            }
            let pool = ISCSIPool(name, watched ?? provisioner, options, identity: identity)
            try await pool.sweep()
            return pool
        }

        private init(_ name: String, _ provisioner: any LUNProvisioner, _ options: Options, identity: String) {
            (self.name, self.provisioner, self.options, self.identity) = (name, provisioner, options, identity)
            kind = provisioner.kind
            attachments = OpenUnits.ofThisProcess(pool: identity, initiator: options.initiatorName)
        }

        public var capabilities: [Capability] {
            var features: [Capability.Feature] = [
                .thinProvisioning, .cloneFromSnapshot, .snapshot, .revert, .resizeOnline, .discard, .extents,
                .exclusiveAttach, .flatten,
            ]
            if provisioner.profile.enforcesPolicies { features += [.qosMinimum, .qosMaximum, .qosBurst] }
            return [Capability(.linkedClone, states: [.base, .current, .snapshot])] + features.map { Capability($0) }
        }

        public var health: PoolHealth { provisioner.health }

        /// How this host gets to a volume without the pool: what it logs in to, as whom, and the number of the unit, which
        /// is not always the one that the volume's path says.
        public func access(to volume: String) async throws(StorageError) -> (target: ISCSITarget, lun: UInt16) {
            let unit = try await findManaged(volume, "open access")
            let session = try await connect(unit, .shared, isReadOnly: true)
            let lun = session.path.lun
            try await session.close()
            try await provisioner.lend(unit.id)
            return (try await target(of: unit).0, lun)
        }

        /// An error about a volume of this pool.
        func failure(_ code: StorageError.Code, _ what: String, _ name: String, _ why: String) -> StorageError {
            StorageError(code, what, at: "\(self.name)/\(name)", why: why)
        }

        func taken(_ name: String) -> StorageError {
            failure(.alreadyExists, "create", name, "something else has that name")
        }

        /// 128 random bits in 32 digits: what nothing else has or had.
        static func unique() -> String {
            (0..<2).map { _ in
                let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
                return String(repeating: "0", count: 16 - digits.count) + digits
            }.joined()
        }
    }
#endif
