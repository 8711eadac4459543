#if ISCSI
    import BlockStorage
    import IORuntime

    /// All units of a pool, with their snapshots, as they were listed at about one moment.
    struct UnitCensus: Sendable {
        var units: [LUN]
        var snapshots: [LUN.ID: [LUNSnapshot]]

        /// What a unit takes of the pool's limits, and what of that is only wanted so far.
        func provisioned(_ unit: LUN) -> (settled: Provisioned, pending: Provisioned) {
            let bytes = (snapshots[unit.id] ?? []).reduce(unit.size) { $0.addingSaturating($1.size) }
            let has = Provisioned(bytes: bytes, minIOPS: unit.qos?.minIOPS ?? 0)
            guard let mark = unit.mark else {
                // The array gives others' units what it gives ours. A file that nobody serves is none yet.
                return (unit.path == nil ? Provisioned() : has, Provisioned())
            }
            let promised = Provisioned(bytes: mark.promisedBytes ?? 0, minIOPS: mark.promisedIOPS ?? 0)
            return mark.phase == .building ? (Provisioned(), has + promised) : (has, promised)
        }

        /// Of all but one.
        func provisioned(without id: LUN.ID?) -> (settled: Provisioned, pending: Provisioned) {
            var (settled, pending) = (Provisioned(), Provisioned())
            for unit in units where unit.id != id {
                let own = provisioned(unit)
                settled += own.settled
                pending += own.pending
            }
            return (settled, pending)
        }
    }

    extension Provisioned {
        static func += (sum: inout Provisioned, other: Provisioned) {
            sum.bytes = sum.bytes.addingSaturating(other.bytes)
            sum.minIOPS = sum.minIOPS.addingSaturating(other.minIOPS)
        }

        static func + (one: Provisioned, other: Provisioned) -> Provisioned {
            var sum = one
            sum += other
            return sum
        }
    }

    extension LUN {
        /// The name of the volume or template that it is; nil for what is none yet, or none any more.
        var visibleName: String? {
            guard let mark else { return VolumeName.isValid(name) ? name : nil }
            return mark.phase == .ready ? mark.name : nil
        }

        var isVolume: Bool { mark?.kind != .template }
    }

    extension ISCSIPool {
        func census() async throws(StorageError) -> UnitCensus {
            // Units first: who makes a snapshot has promised its room before, and forgets the promise afterwards. So it
            // counts as one or the other, or for a moment as both.
            let units = try await provisioner.units()
            let snapshots = try await provisioner.snapshots(of: nil)
            return UnitCensus(units: units, snapshots: Dictionary(grouping: snapshots, by: \.unit))
        }

        /// The unit of a volume or template; one that nobody has adopted only where nothing managed has its name.
        func findIfPresent(_ name: String) async throws(StorageError) -> LUN? {
            try VolumeName.check(name)
            return find(name, in: try await provisioner.units())
        }

        func find(_ name: String, in units: [LUN]) -> LUN? {
            let found = units.filter { $0.visibleName == name }
            return found.filter { $0.mark != nil }.min { $0.id < $1.id } ?? found.first
        }

        func find(_ name: String, _ what: String) async throws(StorageError) -> LUN {
            guard let unit = try await findIfPresent(name) else {
                throw failure(.notFound, what, name, "there is no volume or template of that name")
            }
            return unit
        }

        /// As `find`, for what was declared. Throws `invalidArgument` where nobody did.
        func findManaged(_ name: String, _ what: String) async throws(StorageError) -> LUN {
            let unit = try await find(name, what)
            guard unit.mark != nil else {
                throw failure(.invalidArgument, what, name, "it was put there by something else: adopt it first")
            }
            return unit
        }

        /// As `findManaged`, for what no template can have done to it.
        func findVolume(_ name: String, _ what: String) async throws(StorageError) -> (LUN, LUNMark) {
            let unit = try await findManaged(name, what)
            guard let mark = unit.mark, mark.kind == .volume else {
                throw failure(.readOnly, what, name, "it is a template, and templates are never written")
            }
            return (unit, mark)
        }

        /// The size of the unit for a volume of `size` bytes.
        func rounded(_ size: UInt64, _ what: String, _ name: String) throws(StorageError) -> UInt64 {
            guard size % 512 == 0 else {
                throw failure(.invalidArgument, what, name, "\(size) bytes are no whole number of sectors")
            }
            return try provisioner.profile.rounded(size, what, at: "\(self.name)/\(name)")
        }

        /// What the unit of a volume with this policy gets.
        func completed(_ policy: QoSPolicy?, _ what: String, _ name: String) throws(StorageError) -> QoSPolicy? {
            try provisioner.profile.completed(
                policy == QoSPolicy.unlimited ? nil : policy, what, at: "\(self.name)/\(name)")
        }
    }
#endif
