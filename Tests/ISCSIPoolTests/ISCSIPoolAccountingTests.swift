#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    /// What counts against a pool's limits, whoever made it, and whenever.
    @Suite struct ISCSIPoolAccountingTests {
        private static let size: UInt64 = 1 << 20

        /// What another tool made: a volume on the array with a minimum of 30 IOPS, or a file that nobody serves.
        private static func foreign(_ name: String, _ id: LUN.ID, isServed: Bool = true) throws -> LUN {
            let path = ISCSIPath(target: "iqn.2026-01.org:\(name)", lun: 0)
            let qos = try QoSPolicy(minIOPS: 30)
            return LUN(id: id, name: name, path: isServed ? path : nil, size: size, qos: isServed ? qos : nil)
        }

        private static func request(_ size: UInt64, minIOPS: UInt64) throws -> CreateRequest {
            CreateRequest(size: size, format: .raw, qos: try QoSPolicy(minIOPS: minIOPS))
        }

        @Test("What other tools made on an array counts whatever is asked for, and files that nobody serves do not")
        func others() async throws {
            let array = MemoryProvisioner()
            let units = [try Self.foreign("theirs", 1 << 40), try Self.foreign("file", 1 << 41, isServed: false)]
            array.state.withLock { $0.units = units }
            let pool = try await array.open {
                $0.limits = PoolLimits(capacityBytes: 4 * Self.size, capacityIOPS: 50)
            }
            #expect(try await pool.provisioned() == Provisioned(bytes: Self.size, minIOPS: 30))
            _ = try await pool.createVolume("v", Self.request(Self.size, minIOPS: 10))
            #expect(try await pool.provisioned() == Provisioned(bytes: 2 * Self.size, minIOPS: 40))
            for body in [
                { _ = try await pool.createVolume("w", Self.request(Self.size, minIOPS: 11)) },
                { _ = try await pool.createVolume("w", Self.request(3 * Self.size, minIOPS: 10)) },
                {
                    let request = CloneRequest(qos: try QoSPolicy(minIOPS: 11))
                    _ = try await pool.cloneVolume(VolumeReference("v"), as: "w", request)
                },
                { try await pool.setQoS(QoSPolicy(minIOPS: 21), of: "v") },
                { try await pool.resizeVolume("v", to: 4 * Self.size, allowShrink: false) },
            ] as [@Sendable () async throws -> Void] {
                #expect(await failure(body)?.code == .quotaExceeded)
            }
            try await pool.setQoS(QoSPolicy(minIOPS: 20), of: "v")
            try await pool.resizeVolume("v", to: 3 * Self.size, allowShrink: false)
            #expect(try await pool.provisioned() == Provisioned(bytes: 4 * Self.size, minIOPS: 50))
        }

        @Test("What another tool makes just after a creation has looked for room counts, too")
        func meanwhile() async throws {
            let array = MemoryProvisioner()
            let theirs = try Self.foreign("theirs", 1 << 40)
            let watched = MemoryProvisioner(array) { name in
                if name == "create" { array.state.withLock { $0.units.append(theirs) } }
                return .done
            }
            let pool = try await watched.open { $0.limits = PoolLimits(capacityIOPS: 35) }
            let error = await failure { _ = try await pool.createVolume("v", Self.request(Self.size, minIOPS: 10)) }
            #expect(error?.code == .quotaExceeded)
            #expect(array.state.withLock { $0.units } == [theirs])
        }

        @Test("What another tool made can be adopted where there is no other room, and counts once all the time")
        func adoption() async throws {
            let array = MemoryProvisioner()
            let theirs = try Self.foreign("theirs", 1 << 40)
            array.state.withLock { $0.units = [theirs] }
            let expected = Provisioned(bytes: Self.size, minIOPS: 30)
            let seen = Locked<[Provisioned]>([])
            let watched = MemoryProvisioner(array) { _ in
                let census = UnitCensus(units: array.state.withLock { $0.units }, snapshots: [:])
                let (settled, pending) = census.provisioned(without: nil)
                seen.withLock { $0.append(settled + pending) }
                return .done
            }
            let pool = try await watched.open {
                $0.limits = PoolLimits(capacityBytes: Self.size, capacityIOPS: 30)
            }
            #expect(try await pool.adoptVolume("theirs", format: .raw).isManaged)
            #expect(try await pool.provisioned() == expected)
            #expect(seen.withLock { Set($0) } == [expected])
        }

        @Test("Of files that hosts adopt at once as many become volumes as there is room for")
        func filesAtOnce() async throws {
            for _ in 0..<20 {
                let array = MemoryProvisioner(isSlow: true)
                let files = [
                    try Self.foreign("a", 1 << 40, isServed: false), try Self.foreign("b", 1 << 41, isServed: false),
                ]
                array.state.withLock { $0.units = files }
                let limits = PoolLimits(capacityBytes: Self.size)
                let pools = [
                    try await array.open { $0.limits = limits }, try await array.open { $0.limits = limits },
                ]
                let codes = await withTaskGroup(of: StorageError.Code?.self) { group in
                    for (pool, file) in zip(pools, files) {
                        group.addTask {
                            do throws(StorageError) {
                                _ = try await pool.adoptVolume(file.name, format: .raw)
                                return nil
                            } catch {
                                return error.code
                            }
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(codes.count { $0 == nil } == 1)
                #expect(codes.count { $0 == .quotaExceeded } == 1)
                // What kept the room is gone.
                let units = array.state.withLock { $0.units }
                #expect(units.count == 2)
                #expect(units.compactMap(\.mark).map(\.phase) == [.ready])
                #expect(units.allSatisfy { $0.mark?.ticket == nil })
            }
        }

        @Test("What a raised minimum adds is told from what there is when the raise begins")
        func policyMeanwhile() async throws {
            let array = MemoryProvisioner()
            _ = try await array.open().createVolume("v", Self.request(Self.size, minIOPS: 30))
            let lowered = try QoSPolicy(minIOPS: 10)
            let other = LUN(
                id: 200, name: "unit", path: nil, size: Self.size, qos: try QoSPolicy(minIOPS: 15),
                mark: LUNMark(name: "w"))
            let watched = MemoryProvisioner(array) { name in
                // Another host's change, which is waited for, ends, and somebody gets what it leaves.
                if name == "unit" {
                    array.state.withLock { state in
                        guard state.units.count == 1 else { return }
                        state.units[0].qos = lowered
                        state.units.append(other)
                    }
                }
                return .done
            }
            let pool = try await watched.open { $0.limits = PoolLimits(capacityIOPS: 40) }
            let error = await failure { try await pool.setQoS(QoSPolicy(minIOPS: 40), of: "v") }
            #expect(error?.code == .quotaExceeded)
            let unit = try #require(array.state.withLock { $0.units.first })
            #expect(unit.qos == lowered && unit.mark?.ticket == nil && unit.mark?.promisedIOPS == nil)
            try await pool.setQoS(QoSPolicy(minIOPS: 25), of: "v")
            #expect(try await pool.provisioned().minIOPS == 40)
        }

        // MARK: - Snapshots that are opened

        /// An array with a volume `v` of 10 IOPS, and its snapshot `s`.
        private func arrayWithSnapshot() async throws -> MemoryProvisioner {
            var profile = LUNProfile.target
            profile.defaults = try QoSPolicy(minIOPS: 10, maxIOPS: 20, burstIOPS: 20)
            let array = MemoryProvisioner(profile: profile)
            let pool = try await array.open()
            _ = try await pool.createVolume("v", CreateRequest(size: Self.size, format: .raw))
            _ = try await pool.createSnapshot("s", of: "v")
            return array
        }

        @Test("A snapshot can be read where there is no room for anything, and its clone counts meanwhile")
        func snapshotInFullPool() async throws {
            let array = try await arrayWithSnapshot()
            let counted = Locked<[Provisioned]>([])
            let watched = MemoryProvisioner(array) { name in
                if name == "access", let unit = array.state.withLock({ $0.units.last }), unit.mark?.kind == .template {
                    let (settled, pending) = UnitCensus(units: [unit], snapshots: [:]).provisioned(unit)
                    counted.withLock { $0 = [settled, pending] }
                }
                return .done
            }
            let pool = try await watched.open {
                $0.limits = PoolLimits(capacityBytes: 2 * Self.size, capacityIOPS: 10)
            }
            // As far as a target that is in memory lets anybody come.
            let error = await failure {
                _ = try await pool.openVolume(VolumeReference("v", snapshot: "s"), mode: .readOnly)
            }
            #expect(error?.code == .connectionLost)
            #expect(counted.withLock { $0 } == [Provisioned(), Provisioned(bytes: Self.size, minIOPS: 10)])
        }

        @Test("Of a snapshot that cannot be opened nothing is left, also where the array does not tell what it made")
        func failedOpening() async throws {
            let array = try await arrayWithSnapshot()
            for fate in [MemoryProvisioner.Fate.done, .lost, .doneAndLost] {
                let failing = MemoryProvisioner(array) { $0 == "clone" ? fate : .done }
                let pool = try await failing.open()
                // Nobody can log in to what is in memory.
                let error = await failure {
                    _ = try await pool.openVolume(VolumeReference("v", snapshot: "s"), mode: .readOnly)
                }
                #expect(error?.code == .connectionLost)
                #expect(array.state.withLock { $0.units.count } == 1)
            }
        }
    }
#endif
