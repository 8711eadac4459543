#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import ISCSIPool

    /// What a pool does not do to units that others use.
    @Suite struct ISCSIPoolHoldTests {
        private static let size: UInt64 = 1 << 20

        /// A process of which nothing can be known here.
        private static let elsewhere = ProcessIdentity(
            host: "elsewhere", processID: 1, start: 1, boot: "another", namespace: "another", since: 0)

        private func array(_ change: (inout LUNMark) -> Void) -> MemoryProvisioner {
            let array = MemoryProvisioner()
            var mark = LUNMark(name: "v")
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

        @Test("A deletion that died is undone where the volume is in use, or has others' snapshots")
        func interruptedDeletion() async throws {
            let uses: [@Sendable (inout MemoryProvisioner.State) -> Void] = [
                { $0.units[0].mark?.holder = LUNMark.Holder(Self.elsewhere, initiator: "iqn.2026-01.org:other") },
                { $0.sessions[1] = [LUNSession(initiator: "iqn.2026-01.org:hypervisor")] },
                {
                    $0.snapshots = [
                        LUNSnapshot(id: 7, unit: 1, name: "theirs", size: Self.size, createdAt: 0, ticket: nil)
                    ]
                },
            ]
            for use in uses {
                let array = array { mark in
                    (mark.phase, mark.ticket, mark.process) = (.deleting, "1", ProcessIdentity.deadProcess)
                }
                array.state.withLock { use(&$0) }
                _ = try await array.open()
                let mark = try #require(found(array))
                #expect(mark.phase == .ready && mark.ticket == nil)
            }
        }

        @Test("A deletion that is refused, and cannot say so at once, is not made good by its recovery")
        func refusedDeletion() async throws {
            let array = array { _ in }
            let changes = Locked(0)
            let failing = MemoryProvisioner(array) { name in
                guard name == "change" else { return .done }
                let count = changes.withLock { changes in
                    changes += 1
                    return changes
                }
                // Somebody attaches it when it is marked, and the array does not answer when the mark is to go.
                if count == 1 {
                    array.state.withLock { $0.sessions[1] = [LUNSession(initiator: "iqn.2026-01.org:hypervisor")] }
                }
                return count == 2 ? .lost : .done
            }
            let pool = try await failing.open()
            #expect(await failure { try await pool.deleteVolume("v", policy: .refuse) } != nil)
            let mark = try #require(found(array))
            #expect(mark.phase == .ready && mark.ticket == nil)
        }

        @Test(
            "A volume is neither deleted nor reverted whose mark another host has written over, at an array that does not compare",
            arguments: [false, true])
        func overwrittenMark(isReverting: Bool) async throws {
            let holder = LUNMark.Holder(Self.elsewhere, initiator: "iqn.2026-01.org:other")
            let array = array { _ in }
            array.state.withLock { state in
                state.snapshots = [
                    LUNSnapshot(id: 7, unit: 1, name: "s", size: Self.size, createdAt: 0, ticket: "earlier")
                ]
            }
            let wasLocked = Locked(false)
            let removed = Locked<[String]>([])
            let watched = MemoryProvisioner(array) { name in
                if ["delete", "rollBack"].contains(name) { removed.withLock { $0.append(name) } }
                array.state.withLock { state in
                    guard name == "sessions", state.units[0].mark?.ticket != nil else { return }
                    wasLocked.withLock { $0 = state.units[0].isLocked }
                    // Who had read it before it was marked, and attaches it.
                    var mark = LUNMark(name: "v")
                    mark.holder = holder
                    state.units[0].mark = mark
                }
                return .done
            }
            let pool = try await watched.open()
            let error = await failure {
                if isReverting {
                    try await pool.revert("v", to: "s")
                } else {
                    try await pool.deleteVolume("v", policy: .refuse)
                }
            }
            #expect(error?.code == .conflict)
            #expect(removed.withLock { $0 } == [])
            #expect(wasLocked.withLock { $0 })
            let unit = try #require(array.state.withLock { $0.units.first })
            #expect(unit.mark?.holder == holder && !unit.isLocked)
        }

        @Test("A deletion that is refused, or has died, leaves the volume usable, and what is locked is not opened")
        func unlocked() async throws {
            let dead = array { ($0.phase, $0.ticket, $0.process) = (.deleting, "1", ProcessIdentity.deadProcess) }
            dead.state.withLock { state in
                state.units[0].isLocked = true
                state.sessions[1] = [LUNSession(initiator: "iqn.2026-01.org:hypervisor")]
            }
            _ = try await dead.open()
            #expect(dead.state.withLock { $0.units.first?.isLocked } == false)
            // By somebody who has said nothing of it in the mark.
            dead.state.withLock { $0.units[0].isLocked = true }
            let pool = try await dead.open()
            let error = await failure { _ = try await pool.openVolume(VolumeReference("v"), mode: .exclusive) }
            #expect(error?.code == .busy && error?.why.contains("locked") == true)
            #expect(dead.state.withLock { $0.units.first?.isLocked } == true)
        }

        @Test("A fat volume that another host has grown meanwhile is not written to")
        func grownMeanwhile() async throws {
            let array = array { $0.provisioning = .fat }
            let late = MemoryProvisioner(array) { name in
                if name == "change" { array.state.withLock { $0.units[0].size = 2 * Self.size } }
                return .done
            }
            let pool = try await late.open()
            // Logging in fails.
            try await pool.resizeVolume("v", to: 2 * Self.size, allowShrink: false)
            #expect(found(array)?.ticket == nil)
        }

        @Test("What a fat volume has grown by is written while it still has the resize's ticket, and counts once")
        func allocation() async throws {
            let array = array { $0.provisioning = .fat }
            let seen = Locked<LUN?>(nil)
            let watched = MemoryProvisioner(array) { name in
                if name == "access" { seen.withLock { $0 = array.state.withLock { $0.units.first } } }
                return .done
            }
            let pool = try await watched.open()
            let error = await failure { try await pool.resizeVolume("v", to: 2 * Self.size, allowShrink: false) }
            #expect(error?.code == .connectionLost)
            let unit = try #require(seen.withLock { $0 })
            #expect(unit.size == 2 * Self.size)
            #expect(unit.mark?.ticket != nil && unit.mark?.promisedBytes == nil)
            #expect(found(array)?.ticket == nil)
        }

        @Test("Who lives keeps a volume that it holds, whatever became of its reservation")
        func livingHolder() async throws {
            let holder = LUNMark.Holder(Self.elsewhere, initiator: "iqn.2026-01.org:other")
            let array = array { $0.holder = holder }
            let pool = try await array.open()
            let error = await failure { _ = try await pool.openVolume(VolumeReference("v"), mode: .exclusive) }
            #expect(error?.code == .busy)
            #expect(error?.why.contains("iqn.2026-01.org:other") == true)
            #expect(found(array)?.holder == holder)
        }

        @Test("What a process has begun is recovered when it is known to be gone, and not otherwise")
        func unknownProcess() async throws {
            let array = array { ($0.phase, $0.ticket, $0.process) = (.building, "1", Self.elsewhere) }
            let pool = try await array.open()
            var namesake = try #require(ProcessIdentity.current())
            namesake.namespace = "another"
            func intent(_ process: ProcessIdentity) -> Intent {
                Intent(
                    operation: "create", pool: "p", volume: "v",
                    details: [ISCSIPool.Detail.ticket: "1", ISCSIPool.Detail.process: process.text])
            }
            let unknown = namesake
            #expect(await failure { try await pool.recover(intent(unknown)) }?.code == .busy)
            #expect(found(array) != nil)
            // Before this host was started, whatever its name was then.
            try await pool.recover(intent(Self.elsewhere))
            #expect(found(array) == nil)
        }

        @Test("A snapshot that is completed while all is counted counts, as itself or as a promise")
        func censusOrder() async throws {
            let array = array { ($0.ticket, $0.promisedBytes) = ("1", Self.size) }
            let calls = Locked(-1)
            let watched = MemoryProvisioner(array) { _ in
                let index = calls.withLock { calls in
                    if calls >= 0 { calls += 1 }
                    return calls
                }
                // Between the two lists.
                if index == 2 {
                    array.state.withLock { state in
                        state.units[0].mark = LUNMark(name: "v")
                        state.snapshots = [
                            LUNSnapshot(id: 7, unit: 1, name: "s", size: Self.size, createdAt: 0, ticket: "1")
                        ]
                    }
                }
                return .done
            }
            let pool = try await watched.open()
            calls.withLock { $0 = 0 }
            let provisioned = try await pool.census().provisioned(without: nil)
            #expect((provisioned.settled + provisioned.pending).bytes >= 2 * Self.size)
        }

        @Test(
            "Who takes away a dead process's reservation holds the volume meanwhile, and until it can do it nobody does"
        )
        func release() async throws {
            let dead = LUNMark.Holder(ProcessIdentity.deadProcess, initiator: "iqn.2026-01.org.sluice:host")
            let array = array { $0.holder = dead }
            let seen = Locked<LUNMark.Holder?>(nil)
            let watched = MemoryProvisioner(array) { name in
                if name == "access" { seen.withLock { $0 = array.state.withLock { $0.units.first?.mark?.holder } } }
                return .done
            }
            _ = try await watched.open()
            #expect(seen.withLock { $0?.process.isThisProcess } == true)
            #expect(found(array)?.holder == dead)
        }

        @Test(
            "Writes wait for a copy where the array needs that, and where it does not they go on",
            arguments: [false, true])
        func copies(isAtomic: Bool) async throws {
            let test = try await TestPool.start()
            let other = try await test.open()
            _ = try await other.createVolume("v", CreateRequest(size: Self.size, format: .raw))
            let (target, lun) = try await other.target(of: try await other.findManaged("v", "test"))
            let session = try await ISCSIVolume.open(target, lun: lun)
            let volume = UnitVolume(session, on: session, deadline: .seconds(60)) { () async throws(StorageError) in }
            var profile = LUNProfile.target
            profile.copiesInUse = isAtomic
            let seen = Locked<[String: Bool]>([:])
            let array = MemoryProvisioner(profile: profile) { name in
                seen.withLock { $0[name] = volume.gate.isOpen }
                return .done
            }
            let pool = try await array.open()
            _ = try await pool.createVolume("v", CreateRequest(size: Self.size, format: .raw))
            let unit = try await pool.findManaged("v", "test")
            #expect(pool.attachments.begin(unit.id, .exclusive))
            pool.attachments.end(unit.id, .exclusive, volume)
            _ = try await pool.createSnapshot("s", of: "v")
            _ = try await pool.cloneVolume(VolumeReference("v"), as: "w", CloneRequest())
            #expect(seen.withLock { [$0["createSnapshot"], $0["clone"]] } == [isAtomic, isAtomic])
            #expect(volume.gate.isOpen)
            try await volume.close()
        }

        @Test("A write waits for a copy no longer than the deadline, and a copy for writes; either can be cancelled")
        func gate() async throws {
            let gate = WriteGate(deadline: .milliseconds(10))
            try await gate.enter("v")
            let late = await failure { try await gate.shut("v") }
            #expect(late?.code == .timedOut && gate.isOpen)
            gate.leave()
            try await gate.shut("v")
            let refused = await failure { try await gate.enter("v") }
            #expect(refused?.code == .timedOut && refused?.why.contains("copy") == true)
            let patient = WriteGate(deadline: .seconds(600))
            try await patient.shut("v")
            let waiting = Task { await failure { try await patient.enter("v") } }
            waiting.cancel()
            #expect(await waiting.value?.code == .cancelled)
            patient.open()
            try await patient.enter("v")
            let copying = Task { await failure { try await patient.shut("v") } }
            copying.cancel()
            #expect(await copying.value?.code == .cancelled)
            #expect(patient.isOpen)
        }

        @Test("A copy that writes wait for is given up when that takes too long, and not when it is done")
        func lateCopy() async throws {
            let late = StorageError(.busy, "copy volume", at: "v")
            func copy(_ code: StorageError.Code?, for time: Duration) async -> StorageError? {
                await failure {
                    try await within(.milliseconds(10), or: late) { () async throws(StorageError) in
                        await IOExecutor.sleep(for: time)
                        if Task.isCancelled, let code { throw StorageError(code, "copy", at: "v") }
                    }
                }
            }
            #expect(await copy(.cancelled, for: .seconds(600))?.code == .busy)
            #expect(await copy(.noSpace, for: .seconds(600))?.code == .noSpace)
            #expect(await copy(nil, for: .seconds(600)) == nil)
            #expect(await copy(.cancelled, for: .zero) == nil)
            let cancelled = Task { await copy(.cancelled, for: .seconds(600)) }
            cancelled.cancel()
            #expect([.busy, .cancelled].contains(await cancelled.value?.code))
        }

        @Test("A volume that is still closing is open, in all pools of the process on the same array")
        func closing() async throws {
            let test = try await TestPool.start()
            let (first, second) = (try await test.open(), try await test.open())
            _ = try await first.createVolume("v", CreateRequest(size: Self.size, format: .raw))
            let unit = try await first.findManaged("v", "test")
            let (target, lun) = try await first.target(of: unit)
            let session = try await ISCSIVolume.open(target, lun: lun)
            let (leaving, left) = (AsyncStream.makeStream(of: Void.self), AsyncStream.makeStream(of: Void.self))
            let volume = UnitVolume(session, on: session, deadline: .seconds(60)) { () async throws(StorageError) in
                leaving.continuation.finish()
                for await _ in left.stream {}
            }
            #expect(first.attachments.begin(unit.id, .exclusive))
            first.attachments.end(unit.id, .exclusive, volume)
            let closing = Task { try await volume.close() }
            for await _ in leaving.stream {}
            #expect(!volume.isOpen)
            for pool in [first, second] {
                let error = await failure { _ = try await pool.openVolume(VolumeReference("v"), mode: .exclusive) }
                #expect(error?.code == .busy)
            }
            left.continuation.finish()
            try await closing.value
            try await second.openVolume(VolumeReference("v"), mode: .exclusive).close()
        }

        @Test("A journal of what was written after a snapshot is not replayed when the image is rolled back to it")
        func journalAfterRevert() async throws {
            let test = try await TestPool.start()
            let directory = "\(test.daemon.directory)/journals"
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
            let pool = try await test.open { $0.journalDirectory = directory }
            _ = try await pool.createVolume("v", CreateRequest(size: 4 * Self.size, format: .qcow2))
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            try await volume.fill(1, 0..<4096)
            _ = try await pool.createSnapshot("s", of: "v")
            try await volume.fill(2, Self.size..<Self.size + 4096)
            // As another host's process leaves it that dies now.
            let names = try FileManager.default.contentsOfDirectory(atPath: directory)
            let name = try #require(names.first)
            let journal = try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)"))
            try await volume.close()
            try journal.write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
            try await pool.revert("v", to: "s")
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
            try journal.write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
            let reverted = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            #expect(try await reverted.bytes(at: 0, count: 4096).allSatisfy { $0 == 1 })
            #expect(try await reverted.bytes(at: Self.size, count: 4096).allSatisfy { $0 == 0 })
            try await reverted.close()
            #expect(try await pool.checkVolume("v", repair: .none).outcome == .clean)
        }
    }
#endif
