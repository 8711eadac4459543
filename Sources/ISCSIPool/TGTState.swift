#if ISCSI
    import BlockStorage
    import Foundation

    /// What a tgt pool has: the truth, of which tgtd keeps nothing when it ends.
    ///
    /// It stands in one file of the pool's directory, which is replaced as a whole while its lock is held.
    struct TGTState: Codable, Equatable, Sendable {
        struct Unit: Codable, Equatable, Sendable {
            var id: UInt64
            /// In the pool's directory.
            var file: String
            /// In bytes.
            var size: UInt64
            var qos: QoSPolicy?
            var mark: LUNMark
            var phase: Phase
            var snapshots: [Snapshot] = []
            /// The process that copies from it or to it: nobody logs in meanwhile.
            var copier: ProcessIdentity?
            /// Whether tgtd may know it as it was before.
            var isStale: Bool?
            /// The file that the copier makes, for the unit to be in.
            var newFile: String?
            /// When tgtd, which had forgotten it, was told of it again, on `MonotonicTime`'s scale.
            var servedAgainAt: UInt64?
            /// Whether hypervisors were told how to get to it.
            var isLent: Bool?
            /// Whether it was there before it was ours, and is not the pool's to remove if it is no regular file.
            var isDevice = false

            /// Whether somebody copies.
            var isFrozen: Bool { copier.map { !TGTState.isGone($0) } ?? false }

            /// All files that it takes.
            var files: [String] { [file] + (newFile.map { [$0] } ?? []) + snapshots.map(\.file) }
        }

        struct Snapshot: Codable, Equatable, Sendable {
            var id: UInt64
            var name: String
            var file: String
            /// In bytes.
            var size: UInt64
            /// Seconds since 1970, UTC.
            var createdAt: Int64
            var ticket: String
            /// The process that copies to it, until it is complete.
            var copier: ProcessIdentity?
        }

        enum Phase: String, Codable, Sendable {
            /// Its bytes are being copied.
            case making
            case ready
            /// Its sessions end, and then its files go.
            case deleting
        }

        var version = 1
        /// Random, and the pool's for ever: it is in the targets' names.
        var pool: String
        /// The host that the pool is on, and the socket of the tgtd that serves it: no other may, since each would let
        /// somebody in, and tgtd knows the reservations of its own initiators only. Nil until the first one opens it.
        var machine: String?
        var socket: String?
        /// The next unit's or snapshot's. None is used twice.
        var nextID: UInt64 = 1
        var units: [Unit] = []

        init(pool: String) { self.pool = pool }

        /// Throws `corrupt` for what this version did not write.
        init(_ bytes: [UInt8], at place: String) throws(StorageError) {
            func reject(_ why: String) -> StorageError { StorageError(.corrupt, "open pool", at: place, why: why) }
            guard let state = try? JSONDecoder().decode(Self.self, from: Data(bytes)) else {
                throw reject("it is not what Sluice writes there")
            }
            guard state.version == 1 else { throw reject("version \(state.version) is not known here") }
            let isPlain = state.pool.utf8.count == 16 && state.pool.allSatisfy(\.isHexDigit)
            let files = state.units.flatMap(\.files)
            let identifiers = state.units.flatMap { unit in [unit.id] + unit.snapshots.map(\.id) }
            guard isPlain, files.allSatisfy(Self.isInside), Set(identifiers).count == identifiers.count,
                identifiers.allSatisfy({ $0 < state.nextID }), state.nextID < 1 << 63
            else { throw reject("what it says cannot be") }
            self = state
        }

        var bytes: [UInt8] {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
            // Nothing in it cannot be encoded.
            return (try? encoder.encode(self)).map(Array.init) ?? []
        }

        /// Whether a process is dead: the directory and its tgtd are of one host.
        static func isGone(_ process: ProcessIdentity) -> Bool { process.isDead || process.isOfEarlierBoot }

        mutating func takeID() -> UInt64 {
            defer { nextID += 1 }
            return nextID
        }

        subscript(id: UInt64) -> Unit? {
            get { units.first { $0.id == id } }
            set {
                guard let index = units.firstIndex(where: { $0.id == id }) else {
                    if let newValue { units.append(newValue) }
                    return
                }
                if let newValue { units[index] = newValue } else { units.remove(at: index) }
            }
        }

        /// The folder of the pool's own files.
        static let folder = "sluice"

        static func file(ofUnit id: UInt64) -> String { "\(folder)/unit-\(id).img" }
        static func file(ofSnapshot id: UInt64) -> String { "\(folder)/snapshot-\(id).img" }

        /// Whether a file of the folder holds a unit's or a snapshot's bytes.
        static func isOwn(_ name: String) -> Bool {
            (name.hasPrefix("unit-") || name.hasPrefix("snapshot-")) && name.hasSuffix(".img")
        }

        private static func isInside(_ file: String) -> Bool {
            let parts = file.split(separator: "/", omittingEmptySubsequences: false)
            guard let last = parts.last, !last.isEmpty, last != ".", last != ".." else { return false }
            return parts.count == 1 || parts.count == 2 && parts[0] == folder
        }

        /// The name of a unit's target. No other unit ever has it.
        func targetName(_ id: UInt64) -> String { "\(targetPrefix)\(id)" }

        /// The number of a unit's target at tgtd, which is part of what a unit says of itself, so that it must be the
        /// same when tgtd was restarted. Those that people give are small.
        func targetNumber(_ id: UInt64) -> Int32 {
            let base = UInt64(pool, radix: 16) ?? 0
            return Int32(truncatingIfNeeded: (1 << 16) + (base &+ id) % (1 << 30))
        }

        /// What the names of the pool's targets begin with.
        var targetPrefix: String { "iqn.2026-01.org.sluice:\(pool)." }

        /// The account by which initiators log in to the pool's targets.
        var user: String { "sluice-\(pool)" }
        /// The account by which the pool's targets prove themselves to initiators that ask for it.
        var targetUser: String { "\(user)-target" }

        /// What tells a unit from any other, in at most 24 signs.
        func identity(_ id: UInt64) -> String { "\(pool.prefix(12))-\(id)" }

        /// The number of each unit in its target; tgtd's own is 0.
        static let unitNumber: UInt16 = 1
    }
#endif
