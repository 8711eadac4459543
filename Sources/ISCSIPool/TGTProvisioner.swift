#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import SystemPackage
    import TGTControl

    /// Units on a plain Linux host: files of a directory, or block devices in it, that tgtd serves.
    ///
    /// The truth is the directory: what units there are, with their marks, policies and snapshots, stands there, and
    /// any number of processes of the host work with it. tgtd is told what it serves, again whenever it was restarted:
    /// a target with one unit for each, whose name and identity are never another's, so that nobody who was logged in
    /// to one that is deleted reads what comes after it.
    ///
    /// Snapshots and clones share blocks where the file system can do that. Where it cannot they are copies, for which
    /// nobody may be logged in to the unit, or (`isQuiet`) write to it.
    public final class TGTProvisioner: LUNProvisioner {
        public let kind = "tgt"
        public let place: String
        public let profile: LUNProfile
        let store: TGTStore
        let control: TGTControl
        let deadline: Duration
        let headerDigest: ISCSITarget.HeaderDigest
        /// Whether targets prove themselves to this process.
        let isMutual: Bool
        let grace: Duration
        let now: @Sendable () -> UInt64
        private let portals: [String]
        private let trouble = Locked<String?>(nil)

        /// Opens the directory, which is made a pool's where it is none, and has tgtd serve its units.
        ///
        /// `portal` is where initiators find tgtd: `HOST:PORT`. Where it `isMutual`, the pool has targets prove who they are,
        /// too, before it sends them anything; they can always do so. `machineFile` tells this host from others. A unit that
        /// tgtd had forgotten counts as in use for the time of `grace`, by the monotonic nanoseconds of `now`: libiscsi
        /// waits up to 30 seconds before it logs in again. tgtd knows a `headerDigest` only where it is told.
        ///
        /// Throws `notFound` where the directory is not there, `connectionLost` or `timedOut` where no tgtd answers, and
        /// `conflict` where another host, or another tgtd, has the directory.
        public static func open(
            portal: String, control: TGTControl, directory: String, deadline: Duration = .seconds(30),
            isMutual: Bool = false, profile: LUNProfile = .target,
            headerDigest: ISCSITarget.HeaderDigest = .none, machineFile: FilePath = "/etc/machine-id",
            grace: Duration = .seconds(40), now: @escaping @Sendable () -> UInt64 = MonotonicTime.nanoseconds
        ) async throws(StorageError) -> TGTProvisioner {
            guard ISCSIAddress.parse(portal) != nil else {
                throw StorageError(.invalidArgument, "open pool", at: portal, why: "this is not HOST:PORT")
            }
            let blocking = BlockingPool(threads: 8, deadline: IODeadline(deadline))
            let store = try await TGTStore(directory, deadline: deadline, blocking)
            let provisioner = TGTProvisioner(
                store, control, portal, deadline, isMutual, profile, headerDigest, grace, now)
            // Where it listens is known only of one that does.
            _ = try await provisioner.served()
            try await provisioner.prepare(
                machine: try await store.machine(machineFile), socket: try await store.resolved(control.path))
            return provisioner
        }

        private init(
            _ store: TGTStore, _ control: TGTControl, _ portal: String, _ deadline: Duration, _ isMutual: Bool,
            _ profile: LUNProfile, _ headerDigest: ISCSITarget.HeaderDigest, _ grace: Duration,
            _ now: @escaping @Sendable () -> UInt64
        ) {
            (self.store, self.control, self.deadline, self.profile) = (store, control, deadline, profile)
            (self.isMutual, self.headerDigest, self.grace, self.now) = (isMutual, headerDigest, grace, now)
            portals = [portal]
            place = "\(portal), \(store.path)"
        }

        public var health: PoolHealth {
            trouble.withLock { $0.map { .unresponsive(reason: $0) } } ?? .healthy
        }

        public func identity() async throws(StorageError) -> String { try await current().pool }

        public func capacity() async throws(StorageError) -> LUNCapacity {
            let space = try await store.space()
            return LUNCapacity(bytes: space.capacity, used: space.capacity - min(space.capacity, space.available))
        }

        // MARK: - State

        func failure(_ code: StorageError.Code, _ what: String, _ id: LUN.ID, _ why: String) -> StorageError {
            StorageError(code, what, at: "\(store.path), unit \(id)", why: why)
        }

        func current() async throws(StorageError) -> TGTState {
            guard let state = try await store.state() else { throw missing }
            return state
        }

        private var missing: StorageError {
            StorageError(.notFound, "open pool", at: store.path, why: "the pool's state is gone")
        }

        /// Runs `body` with the state, while nobody else changes it, and writes what it changes when it returns. What
        /// it changes before it throws is not written.
        func withState<Result>(
            _ what: String, _ body: (inout TGTState) async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            try await store.withLock(what) { () async throws(StorageError) in
                guard var state = try await store.begin() else { throw missing }
                let result = try await body(&state)
                try await store.save(state)
                return result
            }
        }

        private func prepare(machine: String, socket: String) async throws(StorageError) {
            try await store.withLock("open pool") { () async throws(StorageError) in
                if try await store.begin() == nil {
                    guard try await store.ownFiles().isEmpty else {
                        throw StorageError(
                            .corrupt, "open pool", at: store.path,
                            why: "there are units, and nothing tells what they are")
                    }
                    let digits = String(UInt64.random(in: 0...UInt64.max), radix: 16)
                    try await store.save(
                        TGTState(pool: String(repeating: "0", count: 16 - digits.count) + digits))
                }
                if var state = try await store.begin() {
                    guard state.machine ?? machine == machine, state.socket ?? socket == socket else {
                        throw StorageError(
                            .conflict, "open pool", at: store.path,
                            why: """
                                machine \(state.machine ?? "") serves it by the tgtd at \(state.socket ?? ""), and this \
                                is machine \(machine), with the tgtd at \(socket); where that one does so no more, \
                                remove "machine" and "socket" from its state.json
                                """)
                    }
                    (state.machine, state.socket) = (machine, socket)
                    try await store.save(state)
                }
                for party in TGTStore.Party.allCases { _ = try await store.secret(of: party, making: true) }
            }
            try await recover()
        }

        /// Removes what processes that died had begun to make, finishes what they had begun to delete, and has tgtd
        /// serve everything else.
        func recover() async throws(StorageError) {
            try await withState("open pool") { (state) async throws(StorageError) in
                for unit in state.units {
                    if unit.phase == .making, !unit.isFrozen {
                        state[unit.id] = nil
                    } else if unit.copier != nil, !unit.isFrozen {
                        state[unit.id]?.copier = nil
                        state[unit.id]?.newFile = nil
                    }
                    state[unit.id]?.snapshots.removeAll { $0.copier.map(TGTState.isGone) ?? false }
                }
                let targets = try await served()
                for unit in state.units where unit.phase == .deleting {
                    try await take(away: unit, targets, state)
                    state[unit.id] = nil
                }
                for target in targets where target.name.hasPrefix(state.targetPrefix) {
                    guard !state.units.contains(where: { state.targetName($0.id) == target.name }) else { continue }
                    try await end(target)
                }
                for unit in state.units where unit.isStale == true { try await serveAnew(unit, &state) }
                try await serve(&state)
                try await store.save(state)
                // Only now: what the state on the disk does not know is nobody's.
                let known = Set(state.units.flatMap(\.files))
                let unknown = try await store.ownFiles().filter { !known.contains($0) }
                if !unknown.isEmpty { try await store.remove(unknown) }
            }
        }

        // MARK: - Units

        public func units() async throws(StorageError) -> [LUN] {
            let state = try await current()
            var units: [LUN] = []
            for unit in state.units where unit.phase != .deleting { units.append(await describe(unit, state)) }
            let known = Set(state.units.map(\.file))
            for entry in try await store.entries() where !known.contains(entry.name) {
                units.append(try await foreign(entry))
            }
            return units
        }

        public func unit(_ id: LUN.ID) async throws(StorageError) -> LUN? {
            if id >= Self.firstForeign { return try await units().first { $0.id == id } }
            let state = try await current()
            guard let unit = state[id], unit.phase != .deleting else { return nil }
            return await describe(unit, state)
        }

        func describe(_ unit: TGTState.Unit, _ state: TGTState) async -> LUN {
            let status = await store.status(of: unit.file)
            return LUN(
                id: unit.id, name: unit.mark.name,
                path: ISCSIPath(target: state.targetName(unit.id), lun: TGTState.unitNumber), size: unit.size,
                allocatedSize: unit.isDevice ? unit.size : status?.allocatedSize, qos: unit.qos, mark: unit.mark,
                isReady: unit.phase == .ready && !unit.isFrozen,
                details: [VolumeDescription.Detail("backing file", store.path(of: unit.file))])
        }

        /// Above the numbers of units that are ours: what tells files that are not from each other.
        private static let firstForeign: UInt64 = 1 << 63

        /// Of a file by its name and by what has that name now.
        private func foreignID(_ entry: (name: String, status: FileStatus)) -> LUN.ID {
            let text = "\(entry.status.device) \(entry.status.inode) \(entry.status.deviceNumber) \(entry.name)"
            return Self.firstForeign | (UInt64(LUNMark.tag(text), radix: 16) ?? 0)
        }

        private func foreign(
            _ entry: (name: String, status: FileStatus)
        ) async throws(StorageError) -> LUN {
            let size = entry.status.isRegularFile ? entry.status.size : try await store.size(of: entry.name)
            return LUN(
                id: foreignID(entry), name: entry.name, path: nil, size: size,
                allocatedSize: entry.status.isRegularFile ? entry.status.allocatedSize : size)
        }

        public func create(_ request: LUNRequest) async throws(StorageError) -> LUN {
            try await withState("create unit") { (state) async throws(StorageError) in
                if let made = self.made(request.mark.ticket, state) { return await self.describe(made, state) }
                let id = state.takeID()
                let file = TGTState.file(ofUnit: id)
                try await self.store.create(file, size: request.size)
                state[id] = TGTState.Unit(
                    id: id, file: file, size: request.size, qos: request.qos, mark: request.mark, phase: .ready)
                // Before anybody can log in to it: a target that the state does not know would be another's later.
                try await self.store.save(state)
                try await self.serve(&state, new: id)
                return await self.describe(try self.find(id, "create unit", state), state)
            }
        }

        /// What an earlier attempt made, whose answer was lost.
        private func made(_ ticket: String?, _ state: TGTState) -> TGTState.Unit? {
            guard let ticket else { return nil }
            return state.units.first { $0.mark.ticket == ticket && $0.phase == .ready && $0.mark.phase == .building }
        }

        func find(_ id: LUN.ID, _ what: String, _ state: TGTState) throws(StorageError) -> TGTState.Unit {
            guard let unit = state[id], unit.phase != .deleting else {
                throw failure(.notFound, what, id, "there is no such unit")
            }
            return unit
        }

        public func change(_ id: LUN.ID, _ change: LUNChange) async throws(StorageError) -> LUN {
            let what = "change unit"
            return try await withState(what) { (state) async throws(StorageError) in
                if id >= Self.firstForeign { return try await self.adopt(id, change, &state) }
                var unit = try self.find(id, what, state)
                if case .some(let expected) = change.expected, expected != unit.mark {
                    throw self.failure(.conflict, what, id, "another host has changed it at this moment")
                }
                if let mark = change.mark {
                    if mark.holder != nil, mark.holder != unit.mark.holder, unit.phase == .ready {
                        // Who has it from now on has not had it when tgtd forgot it: somebody else may have.
                        try await self.serve(&state)
                        unit.servedAgainAt = state[id]?.servedAgainAt
                    }
                    unit.mark = mark
                }
                switch change.qos {
                case nil: break
                case .some(.none): unit.qos = nil
                case .policy(let policy): unit.qos = policy
                }
                if let size = change.size, size != unit.size {
                    guard size > unit.size, !unit.isDevice else {
                        throw self.failure(
                            .notSupported, what, id,
                            unit.isDevice ? "a block device has the size that it has" : "a unit only grows")
                    }
                    try await self.store.grow(unit.file, to: size)
                    unit.size = size
                    unit.isStale = true
                }
                state[id] = unit
                if unit.isStale == true {
                    // From now on it is larger: also if tgtd does not get to know it now.
                    try await self.store.save(state)
                    try await self.serveAnew(unit, &state)
                }
                return await self.describe(unit, state)
            }
        }

        /// Takes a file or device of the directory as a unit.
        private func adopt(
            _ id: LUN.ID, _ change: LUNChange, _ state: inout TGTState
        ) async throws(StorageError) -> LUN {
            let what = "adopt unit"
            let known = Set(state.units.map(\.file))
            guard let mark = change.mark,
                let entry = try await store.entries().first(where: {
                    foreignID($0) == id && !known.contains($0.name)
                })
            else { throw failure(.notFound, what, id, "there is no such file") }
            // Under another name it would be written to by somebody else.
            guard !entry.status.isRegularFile || entry.status.linkCount == 1 else {
                throw failure(.invalidArgument, what, id, "\(entry.name) has another name, too")
            }
            for unit in state.units where unit.isDevice {
                guard let status = await store.status(of: unit.file) else { continue }
                guard !status.isSame(as: entry.status) else {
                    throw failure(.invalidArgument, what, id, "\(entry.name) is the device of unit \(unit.id)")
                }
            }
            let found = try await foreign(entry)
            guard found.size > 0, found.size % 512 == 0 else {
                throw failure(.invalidArgument, what, id, "\(found.size) bytes are no whole number of sectors")
            }
            let newID = state.takeID()
            var unit = TGTState.Unit(
                id: newID, file: entry.name, size: found.size, qos: nil, mark: mark, phase: .ready,
                isDevice: !entry.status.isRegularFile)
            if case .policy(let policy)? = change.qos { unit.qos = policy }
            state[newID] = unit
            try await store.save(state)
            try await serve(&state, new: newID)
            return await describe(unit, state)
        }

        public func delete(_ id: LUN.ID) async throws(StorageError) {
            try await withState("delete unit") { (state) async throws(StorageError) in
                guard var unit = state[id] else { return }
                unit.phase = .deleting
                state[id] = unit
                // From now on it is gone, whoever finishes it.
                try await self.store.save(state)
                try await self.take(away: unit, try await self.servedIfRunning(), state)
                state[id] = nil
            }
        }

        /// Ends a unit's sessions, and removes its bytes.
        private func take(
            away unit: TGTState.Unit, _ targets: [TGTTarget], _ state: TGTState
        ) async throws(StorageError) {
            let name = state.targetName(unit.id)
            for target in targets where target.name == name { try await end(target) }
            try await store.remove((unit.isDevice ? [] : [unit.file]) + unit.snapshots.map(\.file))
        }

        // MARK: - Access

        public func access(to unit: LUN, for initiator: String) async throws(StorageError) -> LUNAccess {
            let what = "open access"
            let state = try await current()
            let found = try find(unit.id, what, state)
            if found.isFrozen {
                throw failure(.busy, what, unit.id, "it is being copied by \(found.copier.map { "\($0)" } ?? "")")
            }
            let name = state.targetName(unit.id)
            let targets = try await served()
            if !targets.contains(where: { $0.name == name && isComplete($0, found, state) }) {
                // All of them: others who log in, a hypervisor for one, wait for theirs too.
                try await recover()
            }
            var access = LUNAccess(
                portals: portals, credentials: .init(user: state.user, secret: try await store.secret(of: .initiator)))
            if isMutual {
                access.targetCredentials = .init(
                    user: state.targetUser, secret: try await store.secret(of: .target))
            }
            return access
        }

        public func lend(_ id: LUN.ID) async throws(StorageError) {
            if try await current()[id]?.isLent == true { return }
            try await withState("lend unit") { (state) async throws(StorageError) in state[id]?.isLent = true }
        }

        /// Who is logged in to the unit. Where nobody is, but tgtd had forgotten the unit not long ago: somebody who may
        /// have been, and is about to come back.
        public func sessions(of id: LUN.ID) async throws(StorageError) -> [LUNSession] {
            var state = try await current()
            func target() async throws(StorageError) -> TGTTarget? {
                try await served().first { $0.name == state.targetName(id) }
            }
            var found = try await target()
            if found == nil, state[id]?.phase == .ready {
                // tgtd was started again, and whoever was logged in waits for the unit.
                try await recover()
                state = try await current()
                found = try await target()
            }
            guard let found else { return [] }
            do throws(StorageError) {
                let connections = try await control.connections(target: found.number)
                if connections.isEmpty, let seconds = secondsLeft(state[id]) {
                    return [
                        LUNSession(
                            initiator:
                                "an initiator of before tgtd was restarted, which has \(seconds) s left to come back,",
                            isAway: state[id]?.isLent == true)
                    ]
                }
                return connections.map { LUNSession(initiator: $0.initiator, address: $0.address) }
            } catch {
                if error.code == .notFound { return [] }
                throw error
            }
        }

        /// How long who was logged in when tgtd forgot the unit has to come back. Nil: nobody was, or has any time left.
        private func secondsLeft(_ unit: TGTState.Unit?) -> Int64? {
            // Templates are read to be copied, and by nobody for longer.
            guard let unit, let time = unit.servedAgainAt, unit.mark.kind == .volume else { return nil }
            let now = now()
            // A time to come is one of an earlier run of the host.
            guard now >= time else { return nil }
            let left = grace - .nanoseconds(Int64(clamping: now - time))
            return left > .zero ? left.components.seconds + (left.components.attoseconds > 0 ? 1 : 0) : nil
        }

        // MARK: - tgtd

        /// The targets of tgtd, ours and others'.
        func served() async throws(StorageError) -> [TGTTarget] {
            do throws(StorageError) {
                let targets = try await control.targets()
                trouble.withLock { $0 = nil }
                return targets
            } catch {
                trouble.withLock { $0 = error.description }
                throw error
            }
        }

        /// Of a tgtd that does not run: none, and nobody is logged in either.
        func servedIfRunning() async throws(StorageError) -> [TGTTarget] {
            do throws(StorageError) {
                return try await served()
            } catch {
                if error.code == .connectionLost { return [] }
                throw error
            }
        }
    }

    extension FileStatus {
        /// Whether what is written to the one is in the other: one file, or nodes of one device.
        func isSame(as other: FileStatus) -> Bool {
            if isBlockDevice, other.isBlockDevice { return deviceNumber == other.deviceNumber }
            return (device, inode) == (other.device, other.inode)
        }
    }
#endif
