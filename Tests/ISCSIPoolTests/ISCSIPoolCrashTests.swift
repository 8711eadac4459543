#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    /// What a pool leaves whose process dies at any call to the array.
    @Suite struct ISCSIPoolCrashTests {
        private static let size: UInt64 = 1 << 20

        /// An operation, and the pool that it is done in: `v` with the snapshot `s` and 10 IOPS, its clone `c`, and
        /// `foreign`, which is not ours.
        struct Operation: Sendable, CustomTestStringConvertible {
            var name: String
            var body: @Sendable (ISCSIPool) async throws(StorageError) -> Void

            var testDescription: String { name }

            init(_ name: String, _ body: @escaping @Sendable (ISCSIPool) async throws(StorageError) -> Void) {
                (self.name, self.body) = (name, body)
            }
        }

        static let operations: [Operation] = [
            Operation("create") { (pool) async throws(StorageError) in
                _ = try await pool.createVolume("new", CreateRequest(size: size, format: .raw))
            },
            Operation("clone") { (pool) async throws(StorageError) in
                _ = try await pool.cloneVolume(VolumeReference("v"), as: "new", CloneRequest())
            },
            Operation("clone of a snapshot") { (pool) async throws(StorageError) in
                _ = try await pool.cloneVolume(
                    VolumeReference("v", snapshot: "s"), as: "new", CloneRequest(size: 2 * size))
            },
            Operation("full copy") { (pool) async throws(StorageError) in
                _ = try await pool.cloneVolume(VolumeReference("v"), as: "new", CloneRequest(isFull: true))
            },
            Operation("snapshot") { (pool) async throws(StorageError) in
                _ = try await pool.createSnapshot("t", of: "v")
            },
            Operation("delete snapshot") { (pool) async throws(StorageError) in
                try await pool.deleteSnapshot("s", of: "v")
            },
            Operation("delete") { (pool) async throws(StorageError) in
                try await pool.deleteVolume("c", policy: .refuse)
            },
            Operation("delete with clones") { (pool) async throws(StorageError) in
                try await pool.deleteVolume("v", policy: .flatten)
            },
            Operation("rename") { (pool) async throws(StorageError) in try await pool.renameVolume("v", to: "w") },
            Operation("resize") { (pool) async throws(StorageError) in
                try await pool.resizeVolume("v", to: 2 * size, allowShrink: false)
            },
            Operation("set QoS") { (pool) async throws(StorageError) in
                try await pool.setQoS(QoSPolicy(minIOPS: 20, maxIOPS: 30), of: "v")
            },
            Operation("flatten") { (pool) async throws(StorageError) in try await pool.flattenVolume("c") },
            Operation("adopt") { (pool) async throws(StorageError) in
                _ = try await pool.adoptVolume("foreign", format: .raw)
            },
            Operation("revert") { (pool) async throws(StorageError) in try await pool.revert("v", to: "s") },
        ]

        @Test("An operation that dies at any call is finished or undone", arguments: operations)
        func everyCall(_ operation: Operation) async throws {
            let after = try await outcome(of: operation, dyingAt: nil, .done).array
            let before = try await array()
            var points = 0
            for fate in [MemoryProvisioner.Fate.lost, .doneAndLost] {
                var call = 0
                while true {
                    let (array, intents, isDead) = try await outcome(of: operation, dyingAt: call, fate)
                    if !isDead { break }
                    let pool = try await array.open { $0.limits = PoolLimits(capacityIOPS: 1000) }
                    for intent in intents.all { try await pool.recover(intent) }
                    let found = describe(array)
                    let isWhole = found == describe(before) || found == describe(after)
                    // Where a deletion flattens the clones first, they may be all that is done.
                    let isPart = operation.name == "delete with clones" && found.hasPrefix("c ")
                    #expect(isWhole || isPart, "\(fate) at call \(call): \(found)")
                    #expect(array.state.withLock { $0.units.allSatisfy { $0.mark?.ticket == nil } })
                    #expect(try await pool.provisioned() == promised(array))
                    // A copy has no source to be known by, and what is renamed has another name.
                    if found != describe(after) || !["full copy", "rename"].contains(operation.name) {
                        try await operation.body(pool)
                    }
                    points += 1
                    call += 1
                }
            }
            #expect(points > 5)
            print("\(operation.name): \(points) points")
        }

        @Test("What a dead process has begun is taken away when the pool is opened, without any intent")
        func sweep() async throws {
            let array = try await array()
            let dead = ProcessIdentity.deadProcess
            array.state.withLock { state in
                var building = LUNMark(name: "half", phase: .building)
                (building.ticket, building.process) = ("1", dead)
                var deleting = LUNMark(name: "gone", phase: .deleting)
                (deleting.ticket, deleting.process) = ("2", dead)
                var alive = LUNMark(name: "alive", phase: .building)
                (alive.ticket, alive.process) = ("3", ProcessIdentity.current())
                for (id, mark) in [(100 as UInt64, building), (101, deleting), (102, alive)] {
                    state.units.append(LUN(id: id, name: "unit", path: nil, size: Self.size, mark: mark))
                }
            }
            _ = try await array.open()
            #expect(array.state.withLock { $0.units.map(\.id) }.filter { (100..<200).contains($0) } == [102])
        }

        // MARK: -

        private func array() async throws -> MemoryProvisioner {
            let array = MemoryProvisioner()
            let pool = try await array.open()
            _ = try await pool.createVolume(
                "v", CreateRequest(size: Self.size, format: .raw, qos: QoSPolicy(minIOPS: 10)))
            _ = try await pool.createSnapshot("s", of: "v")
            _ = try await pool.cloneVolume(VolumeReference("v"), as: "c", CloneRequest())
            array.state.withLock { state in
                state.units.append(LUN(id: 1 << 40, name: "foreign", path: nil, size: Self.size))
            }
            return array
        }

        /// What there is after an operation that dies at a call: all calls after it fail.
        private func outcome(
            of operation: Operation, dyingAt last: Int?, _ fate: MemoryProvisioner.Fate
        ) async throws -> (array: MemoryProvisioner, intents: MemoryIntents, isDead: Bool) {
            let array = try await array()
            let intents = MemoryIntents()
            let (count, isDead) = (Locked(-1), Locked(false))
            let dying = MemoryProvisioner(array) { _ in
                let index = count.withLock { count in
                    if count >= 0 { count += 1 }
                    return count - 1
                }
                guard let last, index >= last else { return .done }
                isDead.withLock { $0 = true }
                return index == last ? fate : .lost
            }
            let pool = try await dying.open {
                $0.intents = intents
                // So that all is counted.
                $0.limits = PoolLimits(capacityIOPS: 1000)
            }
            count.withLock { $0 = 0 }
            do throws(StorageError) {
                try await operation.body(pool)
            } catch {
                #expect(error.code == .connectionLost, "\(error)")
            }
            return (array, intents, isDead.withLock { $0 })
        }

        /// All that matters, in one text.
        private func describe(_ array: MemoryProvisioner) -> String {
            array.state.withLock { state in
                state.units.map { unit in
                    let snapshots = state.snapshots.filter { $0.unit == unit.id }.map(\.name)
                    let mark = unit.mark.map {
                        "\($0.name) \($0.phase) \($0.source?.snapshot ?? "") \($0.source != nil)"
                    }
                    return "\(mark ?? "foreign") \(unit.size) \(unit.qos?.minIOPS ?? 0) \(snapshots)"
                }.sorted().joined(separator: "; ")
            }
        }

        private func promised(_ array: MemoryProvisioner) -> Provisioned {
            array.state.withLock { state in
                let units = state.units.filter { $0.mark != nil }
                let ids = Set(units.map(\.id))
                return Provisioned(
                    bytes: units.reduce(0) { $0 + $1.size }
                        + state.snapshots.filter { ids.contains($0.unit) }.reduce(0) { $0 + $1.size },
                    minIOPS: units.reduce(0) { $0 + ($1.qos?.minIOPS ?? 0) })
            }
        }
    }

    extension ProcessIdentity {
        /// One of this host that is gone: no process has number 1's beginning but itself.
        static var deadProcess: ProcessIdentity {
            var identity =
                current()
                ?? ProcessIdentity(
                    host: "", processID: 1, start: 0, boot: "", namespace: "", since: 0)
            identity.start &+= 1
            return identity
        }
    }
#endif
