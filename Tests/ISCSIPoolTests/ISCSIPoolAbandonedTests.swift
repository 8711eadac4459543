#if ISCSI
    import BlockStorage
    import IORuntime
    import Testing

    @testable import ISCSIPool

    /// What a host has begun that never comes back, and people who say so.
    @Suite struct ISCSIPoolAbandonedTests {
        private static let size: UInt64 = 1 << 20

        /// A process of which nothing can be known here.
        private static let elsewhere = ProcessIdentity(
            host: "elsewhere", processID: 1, start: 1, boot: "another", namespace: "another", since: 0)

        /// An array with one unit, `v`, at which a process is at work.
        private func array(
            _ process: ProcessIdentity? = elsewhere, _ change: (inout LUNMark) -> Void
        ) -> MemoryProvisioner {
            let array = MemoryProvisioner()
            var mark = LUNMark(name: "v")
            (mark.ticket, mark.process) = ("1", process)
            change(&mark)
            let path = ISCSIPath(target: "iqn.2026-01.org.sluice:1", lun: 1)
            array.state.withLock { state in
                state.nextID = 100
                state.units = [LUN(id: 1, name: "unit", path: path, size: Self.size, mark: mark)]
            }
            return array
        }

        private func found(_ array: MemoryProvisioner) -> LUNMark? {
            array.state.withLock { $0.units.first?.mark }
        }

        @Test("A volume that another host was making is in the way until its lock is broken, which the error names")
        func creation() async throws {
            let array = array { $0.phase = .building }
            let pool = try await array.open { $0.deadline = .zero }
            let request = CreateRequest(size: Self.size, format: .raw)
            let error = await failure { _ = try await pool.createVolume("v", request) }
            #expect(error?.code == .alreadyExists)
            #expect(error?.why.contains("\(Self.elsewhere)") == true)
            #expect(error?.why.contains("volume break-lock") == true)
            try await pool.breakLock(of: "v")
            #expect(array.state.withLock { $0.units.isEmpty })
            _ = try await pool.createVolume("v", request)
            // What is not there has no lock.
            #expect(await failure { try await pool.breakLock(of: "w") }?.code == .notFound)
        }

        @Test("A deletion that another host had begun is finished, or undone where the volume is in use")
        func deletion() async throws {
            let unused = array { $0.phase = .deleting }
            try await unused.open().breakLock(of: "v")
            #expect(unused.state.withLock { $0.units.isEmpty })
            let used = array { mark in
                mark.phase = .deleting
                mark.holder = LUNMark.Holder(Self.elsewhere, initiator: "iqn.2026-01.org:other")
            }
            let pool = try await used.open()
            // Its hold is broken then, for which one would have to log in.
            #expect(await failure { try await pool.breakLock(of: "v") }?.code == .connectionLost)
            let mark = try #require(found(used))
            #expect(mark.phase == .ready && mark.ticket == nil)
        }

        @Test("What another host was doing to a volume holds it up until its lock is broken, and its promise is void")
        func change() async throws {
            let array = array { $0.promisedBytes = Self.size }
            let pool = try await array.open { $0.deadline = .zero }
            let error = await failure { try await pool.setQoS(QoSPolicy(minIOPS: 10), of: "v") }
            #expect(error?.code == .busy)
            #expect(error?.why.contains("volume break-lock") == true)
            #expect(await failure { try await pool.breakLock(of: "v") }?.code == .connectionLost)
            #expect(found(array) == LUNMark(name: "v"))
        }

        @Test("A name that another host's volume was to get is free again, and the volume keeps its own")
        func renaming() async throws {
            let array = array { $0.newName = "w" }
            try await array.open().breakLock(of: "w")
            #expect(found(array) == LUNMark(name: "v"))
        }

        @Test("What a process of this host is at that runs is left to it")
        func living() async throws {
            let process = try #require(ProcessIdentity.current())
            let array = array(process) { $0.phase = .building }
            let pool = try await array.open()
            let error = await failure { try await pool.breakLock(of: "v") }
            #expect(error?.code == .busy)
            #expect(error?.why.contains("\(process)") == true)
            #expect(found(array)?.ticket == "1")
        }

        @Test("What another host completes at that moment stays")
        func completed() async throws {
            let array = array { $0.phase = .building }
            let late = MemoryProvisioner(array) { name in
                if name == "change" { array.state.withLock { $0.units[0].mark = LUNMark(name: "v") } }
                return .done
            }
            let pool = try await late.open()
            #expect(await failure { try await pool.breakLock(of: "v") }?.code == .conflict)
            #expect(found(array) == LUNMark(name: "v"))
        }

        @Test("A snapshot that another host was making is gone: that host would delete it if it did come back")
        func halfMadeSnapshot() async throws {
            let array = array { _ in }
            array.state.withLock { state in
                for (id, ticket) in [(7, "1"), (8, "0")] {
                    state.snapshots.append(
                        LUNSnapshot(
                            id: UInt64(id), unit: 1, name: "s\(id)", size: Self.size, createdAt: 0, ticket: ticket))
                }
            }
            let pool = try await array.open()
            #expect(await failure { try await pool.breakLock(of: "v") }?.code == .connectionLost)
            #expect(array.state.withLock { $0.snapshots.map(\.id) } == [8])
        }

        @Test("A snapshot that another host reads is not taken away with the lock of its volume")
        func snapshot() async throws {
            let array = array { mark in (mark.phase, mark.kind) = (.building, .template) }
            let volume = LUN(id: 2, name: "unit", path: nil, size: Self.size, mark: LUNMark(name: "v"))
            array.state.withLock { $0.units.append(volume) }
            let pool = try await array.open()
            // It names no target.
            #expect(await failure { try await pool.breakLock(of: "v") }?.code == .notFound)
            #expect(array.state.withLock { $0.units.count } == 2)
        }
    }
#endif
