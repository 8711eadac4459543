#if ISCSI
    import BlockStorage

    /// What makes logical units and takes them away: an array by its API, or a target on a plain host.
    ///
    /// `ISCSIPool` decides what is made, in which order, and whether it fits; a provisioner does one thing at the
    /// array, and keeps with every unit its `LUNMark`, so that all hosts see the same and none relies on its own
    /// records. A unit without a mark is somebody else's: a provisioner changes or deletes it only when the pool asks
    /// for that unit by its id, which it does for a unit that it is told to adopt, and for no other.
    ///
    /// Every call ends within the provisioner's deadline: `timedOut` or `connectionLost` then. A call that fails that
    /// way may have been done, or still be done: of what makes something the pool finds it by the mark's ticket and
    /// removes it. Calls may come from any number of tasks, and other hosts do the same meanwhile.
    public protocol LUNProvisioner: Sendable {
        /// The scheme of the pool's URL: `element`, `tgt`.
        var kind: String { get }
        /// The array, as errors name it.
        var place: String { get }
        var profile: LUNProfile { get }
        /// Whether it answers in time. Costs nothing: what the latest calls have shown.
        var health: PoolHealth { get }

        /// What tells this pool from any other, the same on every host: the array's own id, and the account's.
        func identity() async throws(StorageError) -> String
        func capacity() async throws(StorageError) -> LUNCapacity

        /// All units of the pool, ours or not, complete or not; none that is deleted.
        func units() async throws(StorageError) -> [LUN]
        /// The unit with this id, checked to be that one; nil where there is none, or it is deleted.
        func unit(_ id: LUN.ID) async throws(StorageError) -> LUN?
        /// The bytes that the array stores of units, as far as it tells, where `units` does not say so.
        func allocatedSizes(of units: [LUN.ID]) async throws(StorageError) -> [LUN.ID: UInt64]

        /// Makes a unit that reads as zeros, with the mark from the first moment at which others can see it.
        ///
        /// A call that was late or lost its connection is looked up by the mark's ticket before it is made again.
        func create(_ request: LUNRequest) async throws(StorageError) -> LUN
        /// As `create`, with the bytes of a unit, or of one of its snapshots, at a moment during the call, and zeros
        /// past them. Returns when the copy depends on nothing any more. Throws `notFound` where the source is gone.
        ///
        /// Throws `busy` where a unit that is in use cannot be copied, unless `isQuiet`: then nobody writes to it.
        func clone(
            _ source: LUN.ID, snapshot: LUNSnapshot.ID?, isQuiet: Bool, _ request: LUNRequest
        ) async throws(StorageError) -> LUN
        /// Changes what is given, all of it or nothing, while the unit is in use. Throws `notFound`, and `conflict`
        /// where its mark is not the expected one, as far as that can be told. A size only grows. A unit that had no
        /// mark, and gets one, may get another id with it.
        func change(_ id: LUN.ID, _ change: LUNChange) async throws(StorageError) -> LUN
        /// Ends the unit's sessions, takes away the access to it, and then removes it with its snapshots for good: it
        /// cannot be restored, and takes no room. One that is not there: success.
        func delete(_ id: LUN.ID) async throws(StorageError)

        /// Those of one unit, or of all (nil), the oldest first.
        func snapshots(of id: LUN.ID?) async throws(StorageError) -> [LUNSnapshot]
        /// As of a moment during the call, also while the unit is in use.
        ///
        /// Throws `busy` where that cannot be done while others write, unless `isQuiet`: then nobody does.
        func createSnapshot(
            _ name: String, of id: LUN.ID, ticket: String, isQuiet: Bool
        ) async throws(StorageError) -> LUNSnapshot
        /// One that is not there: success.
        func deleteSnapshot(_ snapshot: LUNSnapshot.ID, of id: LUN.ID) async throws(StorageError)
        /// Gives the unit the bytes that it had, and keeps its size, its policy, its mark and its snapshots. Nobody has
        /// it open.
        func rollBack(_ id: LUN.ID, to snapshot: LUNSnapshot.ID) async throws(StorageError)

        /// Lets an initiator log in to the unit, and says how. Again is harmless, and mends what a restarted target has
        /// forgotten: it is called before the first session of a volume, and when the target refuses a later one.
        func access(to unit: LUN, for initiator: String) async throws(StorageError) -> LUNAccess
        /// Takes that back, where it was given to this initiator alone. Not given: success.
        func withdrawAccess(to id: LUN.ID, for initiator: String) async throws(StorageError)
        /// Notes that whoever this host told how to get to the unit may be logged in to it without the pool.
        func lend(_ id: LUN.ID) async throws(StorageError)
        /// Who is logged in to the unit now.
        func sessions(of id: LUN.ID) async throws(StorageError) -> [LUNSession]
    }

    extension LUNProvisioner {
        public var health: PoolHealth { .healthy }

        public func allocatedSizes(of units: [LUN.ID]) async throws(StorageError) -> [LUN.ID: UInt64] { [:] }

        public func withdrawAccess(to id: LUN.ID, for initiator: String) async throws(StorageError) {}

        public func lend(_ id: LUN.ID) async throws(StorageError) {}
    }

    /// A logical unit, as the array has it.
    public struct LUN: Sendable, Equatable, Identifiable {
        /// The array's number of it. Never given to another; of two, the larger one is the later.
        public var id: UInt64
        /// What the array calls it. Others may be called the same.
        public var name: String
        /// Nil for what nobody can log in to yet.
        public var path: ISCSIPath?
        /// In bytes.
        public var size: UInt64
        /// In bytes, where the array tells.
        public var allocatedSize: UInt64?
        /// What the array enforces, or keeps for whoever does; nil where there is none.
        public var qos: QoSPolicy?
        /// What the pool knows of it; nil for what is not ours.
        public var mark: LUNMark?
        /// Whether it can be used. One that is just being copied, from or to, cannot.
        public var isReady: Bool
        /// Whether the array lets nobody read or write it, whoever is logged in.
        public var isLocked: Bool
        /// What else the array tells people of it.
        public var details: [VolumeDescription.Detail]

        public init(
            id: UInt64, name: String, path: ISCSIPath?, size: UInt64, allocatedSize: UInt64? = nil,
            qos: QoSPolicy? = nil, mark: LUNMark? = nil, isReady: Bool = true, isLocked: Bool = false,
            details: [VolumeDescription.Detail] = []
        ) {
            (self.id, self.name, self.path, self.size) = (id, name, path, size)
            (self.allocatedSize, self.qos, self.mark) = (allocatedSize, qos, mark)
            (self.isReady, self.isLocked, self.details) = (isReady, isLocked, details)
        }
    }

    /// A unit that is to be made.
    public struct LUNRequest: Sendable, Equatable {
        /// In bytes: as the profile rounds it.
        public var size: UInt64
        /// As the profile completes it.
        public var qos: QoSPolicy?
        /// Carries the volume's name and a ticket that nothing else has.
        public var mark: LUNMark

        public init(size: UInt64, qos: QoSPolicy?, mark: LUNMark) {
            (self.size, self.qos, self.mark) = (size, qos, mark)
        }
    }

    /// What a unit is to have from now on.
    public struct LUNChange: Sendable, Equatable {
        /// A policy, or that there is none, where the array can have none.
        public enum Policy: Sendable, Equatable {
            case none
            case policy(QoSPolicy)
        }

        /// In bytes; nil leaves it.
        public var size: UInt64?
        /// Nil leaves it.
        public var qos: Policy?
        /// Nil leaves it.
        public var mark: LUNMark?
        /// Whether anybody may read or write it; nil leaves it. Ignored where no mark is ever lost, which is enough then.
        public var isLocked: Bool?
        /// The mark that the unit must have; the outer nil for any, the inner one for none.
        public var expected: LUNMark??

        public init(
            size: UInt64? = nil, qos: Policy? = nil, mark: LUNMark? = nil, isLocked: Bool? = nil,
            expected: LUNMark?? = nil
        ) {
            (self.size, self.qos, self.mark, self.isLocked) = (size, qos, mark, isLocked)
            self.expected = expected
        }
    }

    /// A unit as it was at a moment.
    public struct LUNSnapshot: Sendable, Equatable, Identifiable {
        public var id: UInt64
        /// Of which unit.
        public var unit: LUN.ID
        /// The user's name of it. Of one that is not ours the array's.
        public var name: String
        /// The unit's size at that moment, in bytes.
        public var size: UInt64
        /// Seconds since 1970, UTC.
        public var createdAt: Int64
        /// What it was made with; nil for one that is not ours.
        public var ticket: String?

        public init(id: UInt64, unit: LUN.ID, name: String, size: UInt64, createdAt: Int64, ticket: String?) {
            (self.id, self.unit, self.name) = (id, unit, name)
            (self.size, self.createdAt, self.ticket) = (size, createdAt, ticket)
        }
    }

    /// How an initiator gets to a unit.
    public struct LUNAccess: Sendable {
        /// `HOST:PORT`, those to try first first.
        public var portals: [String]
        public var credentials: ISCSITarget.Credentials?
        public var targetCredentials: ISCSITarget.Credentials?

        public init(
            portals: [String], credentials: ISCSITarget.Credentials? = nil,
            targetCredentials: ISCSITarget.Credentials? = nil
        ) {
            (self.portals, self.credentials, self.targetCredentials) = (portals, credentials, targetCredentials)
        }
    }

    /// An initiator that is logged in.
    public struct LUNSession: Sendable, Equatable {
        /// Its name.
        public var initiator: String
        /// Where it is, where the array tells.
        public var address: String?
        /// Whether it is not there now, and whoever it is of was told of the unit without the pool, and may come back.
        public var isAway: Bool

        public init(initiator: String, address: String? = nil, isAway: Bool = false) {
            (self.initiator, self.address, self.isAway) = (initiator, address, isAway)
        }
    }

    /// What an array has.
    public struct LUNCapacity: Sendable, Equatable {
        /// In bytes.
        public var bytes: UInt64
        /// In bytes: what is written.
        public var used: UInt64
        /// What its minimums may add up to, where it says so.
        public var iops: UInt64?

        public init(bytes: UInt64, used: UInt64, iops: UInt64? = nil) {
            (self.bytes, self.used, self.iops) = (bytes, used, iops)
        }
    }
#endif
