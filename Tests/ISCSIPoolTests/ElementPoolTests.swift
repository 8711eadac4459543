#if ISCSI
    import BlockStorage
    import ElementSimulator
    import IORuntime
    import StorageConformance
    import Testing

    @testable import ISCSIPool

    @Suite struct ElementPoolTests {
        @Test("A pool of units on an Element array keeps every promise of a pool", .timeLimit(.minutes(10)))
        func conformance() async throws {
            let array = try await ElementTestArray.start(isServed: true) { configuration in
                // The tests' volumes are small.
                configuration.limits.volumeSize = 1 << 20...8_000_000_491_520
                configuration.cloneSeconds = 0
            }
            let pool = try await array.pool()
            var options = PoolConformance.Options()
            options.limited = { (limits) async throws(StorageError) in
                try await array.pool(host: "host-b") { $0.limits = limits }
            }
            let suite = PoolConformance(pool, options: options)
            // Images on units are the same wherever the units are.
            let cases = suite.list.map(\.name).filter { !$0.hasSuffix("[qcow2]") }
            let results = try await suite.run(only: cases)
            for result in results where result.outcome == .failed {
                Issue.record("\(result.name): \(result.reason ?? "")")
            }
            #expect(results.count { $0.outcome == .passed } > 40)
            // Nothing of it is left, deleted neither.
            #expect(try await pool.provisioner.units().isEmpty)
            #expect(await array.call("ListDeletedVolumes")["volumes"] == [])
        }

        @Test(
            "of a deletion and an attachment at the same moment one succeeds at most, and nothing is left of the other")
        func race() async throws {
            let array = try await ElementTestArray.start(isServed: true) {
                $0.limits.volumeSize = 1 << 20...8_000_000_491_520
            }
            let (first, second) = (try await array.pool(), try await array.pool(host: "host-b"))
            for round in 0..<16 {
                _ = try await first.createVolume("v", CreateRequest(size: 1 << 20, format: .raw))
                async let refusal = failure { try await first.deleteVolume("v", policy: .refuse) }
                async let attachment = Task {
                    await IOExecutor.sleep(for: .milliseconds(round * 2))
                    return try await second.openVolume(VolumeReference("v"), mode: .exclusive)
                }.result
                let (deletion, attached) = await (refusal, attachment)
                switch attached {
                case .success(let volume):
                    #expect(deletion != nil)
                    try await volume.fill(1, 0..<4096)
                    try await volume.flush()
                    try await volume.close()
                case .failure(let error):
                    let code = (error as? StorageError)?.code
                    // Whoever had just logged in loses the connection.
                    #expect([.busy, .conflict, .notFound, .connectionLost].contains(code), "\(error)")
                }
                let unit = try await first.provisioner.units().first
                guard let deletion else {
                    #expect(unit == nil)
                    continue
                }
                #expect([.busy, .conflict].contains(deletion.code), "\(deletion)")
                let mark = try #require(unit?.mark)
                #expect(mark.phase == .ready && mark.ticket == nil && mark.holder == nil && unit?.isLocked == false)
                try await first.deleteVolume("v", policy: .refuse)
            }
        }

        @Test("a target proves itself with the account's other secret, to whoever asks for that")
        func mutual() async throws {
            let array = try await ElementTestArray.start(isServed: true) {
                $0.limits.volumeSize = 1 << 20...8_000_000_491_520
            }
            let pool = try await array.pool()
            _ = try await pool.createVolume("a", CreateRequest(size: 1 << 20, format: .raw))
            let unit = try await pool.findManaged("a", "test")
            let asked = try await array.provisioner { $0.isMutual = true }.access(to: unit, for: "iqn.2026-01.org:a")
            let account = await array.call("GetAccountByName", ["username": "sluice"])
            guard case .string(let secret)? = account["account"]?["targetSecret"] else {
                Issue.record("no secret")
                return
            }
            #expect(asked.targetCredentials?.secret == Secret(secret) && asked.targetCredentials?.user == "")
            #expect(asked.credentials?.secret != Secret(secret))
            var (target, lun) = try await pool.target(of: unit)
            #expect(target.targetCredentials == nil)
            target.targetCredentials = .init(user: "sluice.target", secret: Secret(secret))
            try await ISCSIVolume.open(target, lun: lun).close()
            target.targetCredentials = .init(user: "sluice.target", secret: Secret("not-the-secret1"))
            let wrong = target
            #expect(
                await failure { _ = try await ISCSIVolume.open(wrong, lun: lun) }?.code == .authenticationFailed)
            // Another secret counts from then on.
            _ = await array.call(
                "ModifyAccount",
                ["accountID": try #require(account["account"]?["accountID"]), "targetSecret": "another-secret1"])
            target.targetCredentials = .init(user: "sluice.target", secret: Secret("another-secret1"))
            try await ISCSIVolume.open(target, lun: lun).close()
        }

        @Test("a volume that is deleted cannot be read by whoever was logged in, and a new one reads zeros")
        func reuse() async throws {
            let array = try await ElementTestArray.start(isServed: true) {
                $0.limits.volumeSize = 1 << 20...8_000_000_491_520
            }
            let pool = try await array.pool()
            let request = CreateRequest(size: 4 << 20, format: .raw)
            _ = try await pool.createVolume("a", request)
            let old = try await pool.openVolume(VolumeReference("a"), mode: .exclusive)
            try await old.fill(0x5a, 0..<(4 << 20))
            try await old.close()
            let impatient = try await array.pool(host: "host-b") { $0.deadline = .seconds(20) }
            let stale = try await impatient.openVolume(VolumeReference("a"), mode: .readOnly)
            #expect(try await stale.bytes(at: 0, count: 512) == [UInt8](repeating: 0x5a, count: 512))
            let units = try await pool.provisioner.units()
            // The array ends its sessions, whatever this host thinks.
            try await pool.provisioner.delete(try #require(units.first).id)
            _ = try await pool.createVolume("b", request)
            #expect(await failure { _ = try await stale.bytes(at: 0, count: 512) } != nil)
            try? await stale.close()
            let new = try await pool.openVolume(VolumeReference("b"), mode: .readOnly)
            #expect(try await new.bytes(at: 0, count: 4 << 20) == [UInt8](repeating: 0, count: 4 << 20))
            try await new.close()
        }
    }
#endif
