#if ISCSI
    import BlockStorage
    import Foundation
    import IORuntime
    import TGTControl
    import Testing

    @testable import ISCSIPool

    @Suite struct TGTPoolTests {
        private static let size: UInt64 = 4 << 20
        private let test: TestPool

        init() async throws { test = try await TestPool.start() }

        private func volume(_ name: String, in pool: ISCSIPool) async throws {
            _ = try await pool.createVolume(name, CreateRequest(size: Self.size, format: .raw))
        }

        @Test("A second host's exclusive attachment fails and names the first; preemption fences the first")
        func twoHosts() async throws {
            let (first, second) = (try await test.open(host: "host-a"), try await test.open(host: "host-b"))
            try await volume("v", in: first)
            let held = try await first.openVolume(VolumeReference("v"), mode: .exclusive)
            try await held.fill(1, 0..<4096)
            for mode in [OpenMode.exclusive, .readOnly] {
                let error = await failure { _ = try await second.openVolume(VolumeReference("v"), mode: mode) }
                #expect(error?.code == .busy)
                #expect(error?.why.contains("iqn.2026-01.org.sluice:host-a") == true, "\(error?.why ?? "")")
                #expect(error?.why.contains("pid \(getpid())") == true)
            }
            for body in [
                { try await second.deleteVolume("v", policy: .refuse) },
                { try await second.renameVolume("v", to: "w") },
            ] as [@Sendable () async throws -> Void] {
                #expect(await failure(body)?.code == .busy)
            }
            try await second.breakLock(of: "v")
            #expect(await failure { try await held.fill(2, 0..<4096) }?.code == .fenced)
            let taken = try await second.openVolume(VolumeReference("v"), mode: .exclusive)
            #expect(try await taken.bytes(at: 0, count: 4096) == [UInt8](repeating: 1, count: 4096))
            try await taken.fill(3, 0..<4096)
            #expect(await failure { try await held.fill(4, 0..<4096) }?.code == .fenced)
            try? await held.close()
            #expect(try await taken.bytes(at: 0, count: 4096) == [UInt8](repeating: 3, count: 4096))
            try await taken.close()
            try await first.deleteVolume("v", policy: .refuse)
        }

        @Test("Readers on two hosts share a volume; nobody writes meanwhile, and no session stays")
        func readers() async throws {
            let (first, second) = (try await test.open(host: "host-a"), try await test.open(host: "host-b"))
            try await volume("v", in: first)
            let readers = [
                try await first.openVolume(VolumeReference("v"), mode: .readOnly),
                try await second.openVolume(VolumeReference("v"), mode: .readOnly),
            ]
            let error = await failure { _ = try await second.openVolume(VolumeReference("v"), mode: .exclusive) }
            #expect(error?.code == .busy)
            for reader in readers { try await reader.close() }
            let unit = try await first.findManaged("v", "test")
            #expect(unit.mark?.holder == nil)
            try await second.openVolume(VolumeReference("v"), mode: .exclusive).close()
            #expect(try await first.provisioner.sessions(of: unit.id).isEmpty)
            #expect(try await first.findManaged("v", "test").mark?.holder == nil)
        }

        @Test("A stale session of a deleted volume reads nothing of its successor, which reads zeros")
        func reuse() async throws {
            let pool = try await test.open()
            try await volume("v", in: pool)
            let old = try await pool.findManaged("v", "test")
            let (target, lun) = try await pool.target(of: old)
            var options = ISCSIVolume.Options()
            options.deadline = .seconds(1)
            let stale = try await ISCSIVolume.open(target, lun: lun, options: options)
            try await stale.fill(0xee, 0..<Self.size)
            try await stale.flush()
            // As an array does that is told to, whoever is logged in.
            try await pool.provisioner.delete(old.id)
            try await volume("v", in: pool)
            let new = try await pool.findManaged("v", "test")
            #expect(new.id > old.id)
            #expect(new.path != old.path)
            #expect(await failure { _ = try await stale.bytes(at: 0, count: 4096) } != nil)
            #expect(await failure { try await stale.fill(0xdd, 0..<4096) } != nil)
            let successor = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            #expect(try await successor.bytes(at: 0, count: Int(Self.size)).allSatisfy { $0 == 0 })
            try await successor.close()
            // Nor does the old name lead anywhere.
            #expect(await failure { _ = try await ISCSIVolume.open(target, lun: lun, options: options) } != nil)
            try? await stale.close()
        }

        @Test("Targets and files of others are left alone; a file is adopted when it is asked for")
        func foreign() async throws {
            let control = test.control
            let other = "\(test.daemon.directory)/other.img"
            try Data(count: 1 << 20).write(to: URL(fileURLWithPath: other))
            try Data(repeating: 7, count: 1 << 20).write(to: URL(fileURLWithPath: "\(test.directory)/theirs"))
            try await control.createTarget(77, name: "iqn.2026-01.org.sluice:theirs")
            try await control.createUnit(1, target: 77, path: other)
            try await control.allow(.all, target: 77)
            let before = try await control.targets().filter { [1, 77].contains($0.number) }

            let pool = try await test.open()
            try await volume("v", in: pool)
            let listed = try await pool.listVolumes()
            #expect(listed.first { $0.name == "theirs" }?.isManaged == false)
            for body in [
                { try await pool.deleteVolume("theirs", policy: .refuse) },
                { try await pool.resizeVolume("theirs", to: 2 << 20, allowShrink: false) },
                { _ = try await pool.openVolume(VolumeReference("theirs"), mode: .readOnly) },
            ] as [@Sendable () async throws -> Void] {
                #expect(await failure(body)?.code == .invalidArgument)
            }
            // Under another name somebody else would go on writing to it.
            try FileManager.default.linkItem(
                atPath: "\(test.directory)/theirs", toPath: "\(test.daemon.directory)/link")
            let linked = await failure { _ = try await pool.adoptVolume("theirs", format: .raw) }
            #expect(linked?.code == .invalidArgument)
            try FileManager.default.removeItem(atPath: "\(test.daemon.directory)/link")
            let taken = await failure {
                _ = try await pool.createVolume("theirs", CreateRequest(size: Self.size, format: .raw))
            }
            #expect(taken?.code == .alreadyExists)
            _ = try await test.open()
            #expect(try await control.targets().filter { [1, 77].contains($0.number) } == before)
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(test.directory)/theirs")).count == 1 << 20)

            let adopted = try await pool.adoptVolume("theirs", format: .raw)
            #expect(adopted.isManaged && adopted.virtualSize == 1 << 20)
            let opened = try await pool.openVolume(VolumeReference("theirs"), mode: .exclusive)
            #expect(try await opened.bytes(at: 4096, count: 4096) == [UInt8](repeating: 7, count: 4096))
            try await opened.close()
            try await pool.deleteVolume("theirs", policy: .refuse)
            try await pool.deleteVolume("v", policy: .refuse)
            #expect(try await control.targets().map(\.number).sorted() == [1, 77])
        }

        @Test("Initiators log in with a secret of 16 signs that stands in one file, for its owner only")
        func secret() async throws {
            let pool = try await test.open()
            try await volume("v", in: pool)
            let folder = "\(test.directory)/sluice"
            let text = try String(contentsOfFile: "\(folder)/secret", encoding: .utf8)
            #expect(text.count == 16)
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/secret")[.posixPermissions]
            #expect((mode as? NSNumber)?.intValue == 0o600)
            #expect(try !String(contentsOfFile: "\(folder)/state.json", encoding: .utf8).contains(text))
            let (found, number) = try await pool.access(to: "v")
            var target = found
            #expect(target.credentials?.secret == Secret(text))
            target.initiatorName = "iqn.2026-01.org.sluice:thief"
            target.credentials?.secret = Secret("wrong-wrong-1234")
            let thief = target
            #expect(
                await failure { _ = try await ISCSIVolume.open(thief, lun: number) }?.code == .authenticationFailed)
            target.credentials = nil
            let anonymous = target
            #expect(await failure { _ = try await ISCSIVolume.open(anonymous, lun: number) } != nil)
        }

        @Test("A target proves itself to a pool that asks for it, and one that cannot gets nothing")
        func mutual() async throws {
            let (trusting, careful) = (try await test.open(host: "host-a"), try await test.open(isMutual: true))
            try await volume("v", in: trusting)
            #expect(try await trusting.access(to: "v").target.targetCredentials == nil)
            let (target, _) = try await careful.access(to: "v")
            let credentials = try #require(target.targetCredentials)
            #expect(credentials.secret != target.credentials?.secret)
            let secretFile = "\(test.directory)/sluice/target-secret"
            #expect(try String(contentsOfFile: secretFile, encoding: .utf8) == credentials.secret.reveal { $0 })
            let mode = try FileManager.default.attributesOfItem(atPath: secretFile)[.posixPermissions]
            #expect((mode as? NSNumber)?.intValue == 0o600)
            let held = try await careful.openVolume(VolumeReference("v"), mode: .exclusive)
            try await held.fill(1, 0..<4096)
            try await held.close()
            // Somebody who lets everybody in, and does not know the target's secret.
            try await test.control.deleteAccount(credentials.user)
            try await test.control.createAccount(credentials.user, secret: Secret("of-somebody-else"))
            let number = try #require(try await test.control.targets().first { $0.name == target.name }).number
            try await test.control.bindAccount(credentials.user, target: number, isOutgoing: true)
            let error = await failure { _ = try await careful.openVolume(VolumeReference("v"), mode: .exclusive) }
            #expect(error?.code == .authenticationFailed)
            #expect(error.map { "\($0)".contains(credentials.secret.reveal { $0 }) } == false)
            try await trusting.openVolume(VolumeReference("v"), mode: .exclusive).close()
        }

        @Test("Processes that work with one directory at once lose nothing of each other")
        func twoProcesses() async throws {
            let provisioners = [try await test.provisioner(), try await test.provisioner()]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<16 {
                    let provisioner = provisioners[index % 2]
                    group.addTask {
                        var mark = LUNMark(name: "v\(index)")
                        mark.ticket = nil
                        let unit = try await provisioner.create(
                            LUNRequest(size: Self.size, qos: nil, mark: mark))
                        if index % 4 == 3 { try await provisioner.delete(unit.id) }
                    }
                }
                try await group.waitForAll()
            }
            let units = try await provisioners[0].units()
            #expect(Set(units.compactMap { $0.mark?.name }).count == 12)
            #expect(Set(units.map(\.id)).count == 12)
            #expect(try await test.control.targets().count == 13)
        }

        @Test("A restarted tgtd serves what it served, before anybody opens it")
        func restart() async throws {
            let pool = try await test.open()
            try await volume("v", in: pool)
            try await volume("w", in: pool)
            let opened = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            try await opened.fill(5, 0..<4096)
            try await opened.close()
            let before = try await test.control.targets()
            try await test.daemon.change("kill")
            #expect(await failure { _ = try await pool.openVolume(VolumeReference("v"), mode: .readOnly) } != nil)
            // Without tgtd nobody is logged in, and a volume can go.
            try await pool.provisioner.delete(try await pool.findManaged("w", "test").id)
            try await test.daemon.change("restart")
            let reader = try await pool.openVolume(VolumeReference("v"), mode: .readOnly)
            #expect(try await reader.bytes(at: 0, count: 4096) == [UInt8](repeating: 5, count: 4096))
            try await reader.close()
            // Under the same number, which a unit's identity has in it.
            let name = try await pool.access(to: "v").target.name
            let after = try await test.control.targets()
            #expect(after.count == 2)
            #expect(after.first { $0.name == name }?.number == before.first { $0.name == name }?.number)
        }

        @Test("What a dead process has open for writing is free again when the pool is opened")
        func deadHolder() async throws {
            let pool = try await test.open()
            try await volume("v", in: pool)
            var unit = try await pool.findManaged("v", "test")
            let (target, lun) = try await pool.target(of: unit)
            var options = ISCSIVolume.Options()
            options.attachment = .exclusive
            // It goes without giving up its reservation, as a process that is killed.
            do { _ = try await ISCSIVolume.open(target, lun: lun, options: options) }
            var mark = try #require(unit.mark)
            mark.holder = LUNMark.Holder(ProcessIdentity.deadProcess, initiator: pool.options.initiatorName)
            unit = try await pool.provisioner.change(unit.id, LUNChange(mark: mark))
            let other = try await test.open(host: "host-b")
            #expect(try await other.findManaged("v", "test").mark?.holder == nil)
            try await other.openVolume(VolumeReference("v"), mode: .exclusive).close()
        }

        @Test("What a dead process was copying is gone, or free again, when the pool is opened")
        func deadCopier() async throws {
            let provisioner = try await test.provisioner()
            let made = try await provisioner.create(
                LUNRequest(size: Self.size, qos: nil, mark: LUNMark(name: "v")))
            try await provisioner.withState("test") { (state) async throws(StorageError) in
                let (copy, snapshot) = (state.takeID(), state.takeID())
                state[made.id]?.copier = ProcessIdentity.deadProcess
                state[made.id]?.newFile = TGTState.file(ofUnit: copy)
                let half = state.takeID()
                var unit = TGTState.Unit(
                    id: half, file: TGTState.file(ofUnit: half), size: Self.size, mark: LUNMark(name: "half"),
                    phase: .making)
                unit.copier = ProcessIdentity.deadProcess
                state[half] = unit
                state[made.id]?.snapshots.append(
                    TGTState.Snapshot(
                        id: snapshot, name: "s", file: "sluice/snapshot-9.img", size: Self.size, createdAt: 0,
                        ticket: "t", copier: ProcessIdentity.deadProcess))
                try await provisioner.store.create("sluice/snapshot-9.img", size: Self.size)
                try await provisioner.store.create("sluice/unit-77.img", size: Self.size)
            }
            let again = try await test.provisioner()
            let state = try await again.current()
            #expect(state.units.map(\.id) == [made.id])
            #expect(state.units[0].copier == nil && state.units[0].newFile == nil && state.units[0].snapshots.isEmpty)
            #expect(try await again.store.ownFiles() == [state.units[0].file])
        }

        @Test("Attachments and operations at once do not disturb each other")
        func atOnce() async throws {
            let (first, second) = (try await test.open(), try await test.open(host: "host-b"))
            try await volume("v", in: first)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for _ in 0..<10 {
                        try await first.openVolume(VolumeReference("v"), mode: .exclusive).close()
                    }
                }
                group.addTask {
                    for index in 1...10 as ClosedRange<UInt64> {
                        try await second.setQoS(QoSPolicy(maxIOPS: index), of: "v")
                    }
                }
                try await group.waitForAll()
            }
            let unit = try await first.findManaged("v", "test")
            #expect(unit.mark?.holder == nil && unit.mark?.ticket == nil)
            #expect(unit.qos?.maxIOPS == 10)
        }

        @Test("A volume that a hypervisor has logged in to is neither grown nor deleted under it")
        func hypervisor() async throws {
            let pool = try await test.open()
            try await volume("v", in: pool)
            let (target, lun) = try await pool.access(to: "v")
            let hypervisor = try await ISCSIVolume.open(target, lun: lun)
            for body in [
                { try await pool.resizeVolume("v", to: 2 * Self.size, allowShrink: false) },
                { try await pool.deleteVolume("v", policy: .refuse) },
                { _ = try await pool.openVolume(VolumeReference("v"), mode: .exclusive) },
            ] as [@Sendable () async throws -> Void] {
                let error = await failure(body)
                #expect(error?.code == .busy)
                #expect(error?.why.contains(pool.options.initiatorName) == true)
            }
            try await hypervisor.fill(1, 0..<4096)
            try await hypervisor.close()
            try await pool.resizeVolume("v", to: 2 * Self.size, allowShrink: false)
            let opened = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            #expect(opened.geometry.size == 2 * Self.size)
            try await pool.resizeVolume("v", to: 3 * Self.size, allowShrink: false)
            #expect(opened.geometry.size == 3 * Self.size)
            try await opened.close()
        }

        @Test("An image has a unit for all that it can be, and the snapshot reserve, which counts; it grows with both")
        func image() async throws {
            let pool = try await test.open { $0.snapshotReserve = 20 }
            let created = try await pool.createVolume("v", CreateRequest(size: 10 << 20, format: .qcow2))
            #expect(created.virtualSize == 10 << 20 && created.format == .qcow2)
            let unit = try await pool.findManaged("v", "test")
            #expect(unit.size > 12 << 20 && unit.size < 20 << 20)
            #expect(try await pool.provisioned().bytes == unit.size)
            let volume = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            #expect(volume.geometry.size == 10 << 20)
            try await volume.fill(1, 0..<10 << 20)
            _ = try await pool.createSnapshot("s", of: "v")
            try await pool.resizeVolume("v", to: 30 << 20, allowShrink: false)
            #expect(volume.geometry.size == 30 << 20)
            try await volume.fill(2, 0..<30 << 20)
            try await volume.close()
            #expect(try await pool.checkVolume("v", repair: .none).outcome == .clean)
            #expect(try await pool.describeVolume("v").virtualSize == 30 << 20)
            #expect(try await pool.listSnapshots(of: "v").map(\.size) == [10 << 20])
            let snapshot = try await pool.openVolume(VolumeReference("v", snapshot: "s"), mode: .readOnly)
            #expect(snapshot.geometry.size == 10 << 20)
            #expect(try await snapshot.bytes(at: 0, count: 10 << 20).allSatisfy { $0 == 1 })
            try await snapshot.close()
            let clone = try await pool.cloneVolume(
                VolumeReference("v", snapshot: "s"), as: "c", CloneRequest(size: 20 << 20))
            #expect(clone.virtualSize == 20 << 20)
            try await pool.revert("v", to: "s")
            #expect(try await pool.describeVolume("v").virtualSize == 10 << 20)
            let reverted = try await pool.openVolume(VolumeReference("v"), mode: .exclusive)
            #expect(reverted.geometry.size == 10 << 20)
            try await reverted.close()
        }

        @Test("A state that cannot be is an error")
        func badState() async throws {
            _ = try await test.provisioner()
            let path = "\(test.directory)/sluice/state.json"
            for text in [
                "", "{}", "nonsense", "{\"version\":2,\"pool\":\"0123456789abcdef\",\"nextID\":1,\"units\":[]}",
                "{\"version\":1,\"pool\":\"0123456789abcdef\",\"nextID\":18446744073709551615,\"units\":[]}",
            ] {
                try text.write(toFile: path, atomically: false, encoding: .utf8)
                #expect(await failure { _ = try await test.provisioner() }?.code == .corrupt)
            }
            var state = TGTState(pool: "0123456789abcdef")
            state.nextID = 5
            for file in ["../../etc/passwd", "sluice/../../x", "/etc/passwd", "", "sluice/", ".."] {
                state.units = [
                    TGTState.Unit(id: 1, file: file, size: 512, mark: LUNMark(name: "v"), phase: .ready)
                ]
                try Data(state.bytes).write(to: URL(fileURLWithPath: path))
                #expect(await failure { _ = try await test.provisioner() }?.code == .corrupt, "\(file)")
            }
        }
    }
#endif
