#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    /// Hosts that want the same at the same time.
    @Suite struct ISCSIPoolContentionTests {
        private static let size: UInt64 = 1 << 20

        @Test("Of two hosts' creations of one name one wins, whatever the order in which the array shows them")
        func oneName() async throws {
            for _ in 0..<20 {
                let array = MemoryProvisioner(isSlow: true)
                let pools = [try await array.open(), try await array.open(), try await array.open()]
                let outcomes = await withTaskGroup(of: (UInt64, StorageError.Code?).self) { group in
                    for (index, pool) in pools.enumerated() {
                        let size = Self.size * UInt64(1 + index % 2)
                        group.addTask {
                            do throws(StorageError) {
                                _ = try await pool.createVolume("v", CreateRequest(size: size, format: .raw))
                                return (size, nil)
                            } catch {
                                return (size, error.code)
                            }
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                let units = array.state.withLock { $0.units }
                #expect(units.count == 1)
                let winner = try #require(units.first)
                #expect(winner.mark?.phase == .ready && winner.mark?.ticket == nil)
                for (size, code) in outcomes { #expect(code == (size == winner.size ? nil : .alreadyExists)) }
            }
        }

        @Test("Minimums and sizes never add up to more than the limits, and in the end to all of them")
        func limits() async throws {
            for _ in 0..<10 {
                let array = MemoryProvisioner(isSlow: true)
                let limits = PoolLimits(capacityBytes: 100 * Self.size, capacityIOPS: 50)
                let pools = [
                    try await array.open { $0.limits = limits }, try await array.open { $0.limits = limits },
                ]
                let codes = await withTaskGroup(of: StorageError.Code?.self) { group in
                    for index in 0..<12 {
                        let pool = pools[index % 2]
                        group.addTask {
                            do throws(StorageError) {
                                _ = try await pool.createVolume(
                                    "v\(index)",
                                    CreateRequest(size: Self.size, format: .raw, qos: QoSPolicy(minIOPS: 10)))
                                return nil
                            } catch {
                                return error.code
                            }
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(codes.allSatisfy { $0 == nil || $0 == .quotaExceeded })
                let count = codes.count { $0 == nil }
                #expect((1...5).contains(count))
                #expect(array.state.withLock { $0.units.count } == count)
                for index in count..<5 {
                    _ = try await pools[0].createVolume(
                        "w\(index)", CreateRequest(size: Self.size, format: .raw, qos: QoSPolicy(minIOPS: 10)))
                }
                let error = await failure {
                    _ = try await pools[1].createVolume(
                        "x", CreateRequest(size: Self.size, format: .raw, qos: QoSPolicy(minIOPS: 1)))
                }
                #expect(error?.code == .quotaExceeded)
                #expect(error?.why.contains("50 of 50") == true)
            }
        }

        @Test("What is raised and grown on two hosts at once stays within the limits")
        func growth() async throws {
            for _ in 0..<10 {
                let array = MemoryProvisioner()
                let limits = PoolLimits(capacityBytes: 3 * Self.size, capacityIOPS: 30)
                let pools = [
                    try await array.open { $0.limits = limits }, try await array.open { $0.limits = limits },
                ]
                for index in 0..<2 {
                    _ = try await pools[index].createVolume(
                        "v\(index)", CreateRequest(size: Self.size, format: .raw, qos: QoSPolicy(minIOPS: 10)))
                }
                await withTaskGroup(of: Void.self) { group in
                    for index in 0..<2 {
                        group.addTask {
                            try? await pools[index].resizeVolume("v\(index)", to: 2 * Self.size, allowShrink: false)
                            try? await pools[index].setQoS(QoSPolicy(minIOPS: 20), of: "v\(index)")
                        }
                    }
                }
                let promised = try await pools[0].provisioned()
                #expect(promised == Provisioned(bytes: 3 * Self.size, minIOPS: 30))
            }
        }

        @Test("A clone and the deletion of its source never both succeed")
        func cloneAndDelete() async throws {
            for _ in 0..<30 {
                let array = MemoryProvisioner()
                let pools = [try await array.open(), try await array.open()]
                _ = try await pools[0].createVolume("v", CreateRequest(size: Self.size, format: .raw))
                let (clone, delete) = await (
                    failure { _ = try await pools[0].cloneVolume(VolumeReference("v"), as: "c", CloneRequest()) },
                    failure { try await pools[1].deleteVolume("v", policy: .refuse) }
                )
                let names = array.state.withLock { $0.units.compactMap(\.visibleName) }.sorted()
                if clone == nil {
                    #expect(delete?.code == .busy)
                    #expect(names == ["c", "v"])
                } else {
                    #expect([.conflict, .notFound].contains(clone?.code))
                    #expect(names == (delete == nil ? [] : ["v"]))
                }
                #expect(array.state.withLock { $0.units.allSatisfy { $0.mark?.ticket == nil } })
            }
        }
    }

    @Suite struct LUNProfileTests {
        private let profile = LUNProfile(
            smallestSize: 1_000_000_000, largestSize: 8_000_000_491_520, granularity: 1 << 20, minIOPS: 50...15000,
            maxIOPS: 100...200_000, defaults: QoSPolicy.test(100, 15000, 15000), burstFactor: 2,
            enforcesPolicies: true)

        @Test("Sizes are rounded up as the array rounds them")
        func sizes() throws {
            #expect(try profile.rounded(1, "", at: "") == 954 << 20)
            #expect(try profile.rounded(1 << 30, "", at: "") == 1 << 30)
            #expect(try profile.rounded((1 << 30) + 1, "", at: "") == (1 << 30) + (1 << 20))
            for size: UInt64 in [0, .max, .max - 1, 8_000_000_491_521] {
                #expect(throws: StorageError.self) { try profile.rounded(size, "", at: "") }
            }
        }

        @Test("What a policy leaves out comes from the defaults, in order, within the limits")
        func policies() throws {
            func completed(_ min: UInt64?, _ max: UInt64?, _ burst: UInt64?) throws -> QoSPolicy? {
                try profile.completed(QoSPolicy(minIOPS: min, maxIOPS: max, burstIOPS: burst), "", at: "")
            }
            #expect(try profile.completed(nil, "", at: "") == QoSPolicy.test(100, 15000, 15000))
            #expect(try completed(200, nil, nil) == QoSPolicy.test(200, 15000, 30000))
            #expect(try completed(nil, 150_000, nil) == QoSPolicy.test(100, 150_000, 200_000))
            #expect(try completed(nil, nil, 300) == QoSPolicy.test(100, 300, 300))
            for (min, max, burst) in [(49, nil, nil), (15001, nil, nil), (nil, 99, nil), (nil, nil, 200_001)]
                as [(UInt64?, UInt64?, UInt64?)]
            {
                #expect(throws: StorageError.self) { try completed(min, max, burst) }
            }
            var generator = SeededGenerator(seed: 5)
            let seeded = (0..<1000).map { _ in
                (
                    UInt64.random(in: 50...15000, using: &generator),
                    UInt64.random(in: 100...200_000, using: &generator),
                    UInt64.random(in: 100...200_000, using: &generator)
                )
            }
            for (min, max, burst) in seeded {
                for policy in [(min, nil, nil), (nil, max, nil), (nil, nil, burst)] as [(UInt64?, UInt64?, UInt64?)] {
                    guard let whole = try completed(policy.0, policy.1, policy.2) else { continue }
                    #expect(whole.minIOPS.map(profile.minIOPS.contains) == true)
                    #expect(whole.maxIOPS.map(profile.maxIOPS.contains) == true)
                    #expect(whole.burstIOPS.map(profile.maxIOPS.contains) == true)
                }
            }
        }

        @Test("A mark survives its text, and fits an array's attributes with the longest names")
        func marks() throws {
            let name = String(repeating: "n", count: 200)
            var mark = LUNMark(name: name, phase: .building)
            mark.source = LUNMark.Source(unit: .max, snapshot: name)
            mark.ticket = ISCSIPool.unique()
            mark.process = ProcessIdentity.current()
            mark.host = LUNMark.tag("iqn.2026-01.org.sluice:host")
            #expect(LUNMark(try mark.text()) == mark)
            #expect(LUNMark.tag("a") != LUNMark.tag("b") && LUNMark.tag("").count == 16)
            for text in [
                "", "{}", "[]", "{\"n\":\"../x\",\"k\":\"volume\",\"p\":\"ready\",\"f\":\"raw\",\"a\":\"thin\"}",
            ] {
                #expect(LUNMark(text) == nil)
            }
        }
    }

    extension QoSPolicy {
        fileprivate static func test(_ min: UInt64, _ max: UInt64, _ burst: UInt64) -> QoSPolicy? {
            try? QoSPolicy(minIOPS: min, maxIOPS: max, burstIOPS: burst)
        }
    }
#endif
