#if RBD
    import BlockStorage
    import Foundation
    import IORuntime
    import Testing

    @testable import RBDPool

    /// Intents as a host keeps them: what was begun and not ended.
    private final class RecordedIntents: IntentLog {
        private let state = Locked<(next: Int64, open: [Int64: Intent])>((0, [:]))

        var open: [Intent] { state.withLock { $0.open.sorted { $0.key < $1.key }.map(\.value) } }

        func begin(_ intent: Intent) async throws(StorageError) -> IntentToken {
            IntentToken(
                id: state.withLock { state in
                    state.next += 1
                    state.open[state.next] = intent
                    return state.next
                })
        }

        func end(_ token: IntentToken) async throws(StorageError) {
            state.withLock { _ = $0.open.removeValue(forKey: token.id) }
        }
    }

    @Suite("What a crash leaves in a Ceph pool")
    struct RecoveryTests {
        private let size: UInt64 = 8 << 20

        /// An image under a temporary name, as a host that died has left it, declared for `name`; its id.
        private func leave(
            _ temporary: String, for name: String, _ pool: RBDPool
        ) async throws -> (id: String, intent: Intent) {
            let connection = try await pool.connection
            try await connection.createImage(temporary, size: size, RBDLayout())
            let id = try await pool.id(ofTemporary: temporary, name, connection)
            _ = try await pool.declare(
                id, Declaration(.volume, .raw, bytes: size), for: name, takingOver: false, "create", connection)
            let intent = Intent(
                operation: "create", pool: "p", volume: name, details: [RBDPool.Detail.temporary: temporary])
            return (id, intent)
        }

        private func isGone(_ temporary: String, _ id: String, _ pool: RBDPool) async throws -> Bool {
            let connection = try await pool.connection
            let directory = RBDDirectory(connection: connection)
            let traces = try await [
                directory.id(of: temporary, "test"), directory.name(of: id, "test"),
                directory.claimedID(of: temporary, "test"),
                RBDDeclarations(connection: connection).values(of: [id], "test")[id]?.text,
            ]
            return traces.allSatisfy { $0 == nil }
        }

        @Test("A half-made image is not seen, and goes with its snapshots and its declaration; again is harmless")
        func halfMade() async throws {
            let pool = try await RBDPool.test()
            let (name, temporary) = (newName(), PoolImage.temporaryName())
            let (id, intent) = try await leave(temporary, for: name, pool)
            var repair = BaseSnapshotRepair()
            try await pool.runRepair(&repair, id, try await pool.connection)
            #expect(try await !pool.listVolumes().contains { $0.name == temporary })
            #expect(await failure { _ = try await pool.describeVolume(temporary) }?.code == .notFound)
            for _ in 0..<2 { try await pool.recover(intent) }
            #expect(try await isGone(temporary, id, pool))
        }

        @Test("What has got its name stays, and keeps it")
        func finished() async throws {
            let pool = try await RBDPool.test()
            let (name, temporary) = (newName(), PoolImage.temporaryName())
            let (_, intent) = try await leave(temporary, for: name, pool)
            try await pool.publish(temporary, as: name, try await pool.connection)
            try await pool.recover(intent)
            #expect(try await pool.describeVolume(name).virtualSize == size)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("A rename that died on either side of its effect leaves no object behind")
        func halfRenamed() async throws {
            let pool = try await RBDPool.test()
            let connection = try await pool.connection
            let directory = RBDDirectory(connection: connection)
            // Before: the new name has its object, and the directory the old name.
            let (name, temporary) = (newName(), PoolImage.temporaryName())
            let (id, intent) = try await leave(temporary, for: name, pool)
            try await makeClaim(of: name, id)
            try await pool.recover(intent)
            #expect(try await isGone(temporary, id, pool))
            #expect(try await directory.claimedID(of: name, "test") == nil)
            _ = try await pool.createVolume(name, CreateRequest(size: size, format: .raw))
            try await pool.deleteVolume(name, policy: .refuse)
            // After: the directory has the new name, and the old one still has its object.
            let (_, next) = try await leave(temporary, for: name, pool)
            try await pool.publish(temporary, as: name, connection)
            try await makeClaim(of: temporary, try await pool.find(name, "test", connection).id)
            try await pool.recover(next)
            #expect(try await directory.claimedID(of: temporary, "test") == nil)
            #expect(try await pool.describeVolume(name).virtualSize == size)
            try await pool.deleteVolume(name, policy: .refuse)
        }

        /// Makes the object that librbd makes first and removes last when it renames.
        private func makeClaim(of name: String, _ id: String) async throws {
            let place = try await TestCluster.shared.description.pool
            let temporary = "/var/tmp/\(newName("claim"))"
            try Data(CephDecoder.encode(id)).write(to: URL(fileURLWithPath: temporary))
            defer { try? FileManager.default.removeItem(atPath: temporary) }
            try await ceph("rados", "-p", place, "put", "rbd_id.\(name)", temporary)
        }

        @Test("The half-made image of another host is not touched")
        func otherHosts() async throws {
            let pool = try await RBDPool.test()
            let (name, own, other) = (newName(), PoolImage.temporaryName(), PoolImage.temporaryName())
            let (id, intent) = try await leave(own, for: name, pool)
            let (otherID, otherIntent) = try await leave(other, for: name, pool)
            try await pool.recover(intent)
            #expect(try await isGone(own, id, pool))
            #expect(try await !isGone(other, otherID, pool))
            try await pool.recover(otherIntent)
            #expect(try await isGone(other, otherID, pool))
        }

        @Test("What a dead client still has open is given up at once, and no other client's")
        func deadClients() async throws {
            let (pool, dead) = (try await RBDPool.test(), try await RBDPool.test())
            let (name, temporary) = (newName(), PoolImage.temporaryName())
            var (id, intent) = try await leave(temporary, for: name, pool)
            let connection = try await dead.connection
            let image = try await RBDImage.open(.id(id), isReadOnly: false, connection)
            intent.details[RBDPool.Detail.client] = "\(connection.instance)"
            try await pool.recover(intent)
            #expect(try await isGone(temporary, id, pool))
            // The pool's own connection works on.
            _ = try await pool.createVolume(name, CreateRequest(size: size, format: .raw))
            try await pool.deleteVolume(name, policy: .refuse)
            try? await image.close()
        }

        @Test("A deletion that has begun is finished, one that has not is left alone")
        func deletion() async throws {
            let pool = try await RBDPool.test()
            let connection = try await pool.connection
            let (name, temporary) = (newName(), PoolImage.temporaryName())
            _ = try await pool.createVolume(name, CreateRequest(size: size, format: .raw))
            _ = try await pool.createSnapshot("s", of: name)
            try await pool.setProtected(true, snapshot: "s", of: name)
            let id = try await pool.find(name, "test", connection).id
            let intent = Intent(
                operation: "delete", pool: "p", volume: name,
                details: [RBDPool.Detail.temporary: temporary, RBDPool.Detail.images: id])
            try await pool.recover(intent)
            #expect(try await pool.describeVolume(name).snapshots == ["s"])
            try await connection.rename(name, to: temporary)
            try await pool.recover(intent)
            #expect(try await isGone(temporary, id, pool))
        }

        @Test("A deletion that a clone was faster than is undone")
        func deletionOvertaken() async throws {
            let pool = try await RBDPool.test()
            let connection = try await pool.connection
            let (template, clone, temporary) = (newName("template"), newName("clone"), PoolImage.temporaryName())
            try await pool.importTemplate(template, filledWith: 6)
            _ = try await pool.cloneVolume(VolumeReference(template), as: clone, CloneRequest())
            try await connection.rename(template, to: temporary)
            try await pool.recover(
                Intent(
                    operation: RBDPool.deletion, pool: "p", volume: template,
                    details: [RBDPool.Detail.temporary: temporary]))
            #expect(try await pool.describeVolume(clone).template == VolumeReference(template))
            #expect(try await pool.firstByte(of: clone) == 6)
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteTemplate(template)
        }

        @Test("The snapshot that was made for a clone that was not goes, one that is used stays")
        func helperSnapshot() async throws {
            let pool = try await RBDPool.test()
            let connection = try await pool.connection
            let (source, clone) = (newName(), newName("clone"))
            _ = try await pool.createVolume(source, CreateRequest(size: size, format: .raw))
            _ = try await pool.cloneVolume(VolumeReference(source), as: clone, CloneRequest())
            let image = try await pool.find(source, "test", connection)
            let unused = SnapshotName.helperPrefix + RBDPool.unique()
            try await pool.withWriter(image, "test", connection) { (image) async throws(StorageError) in
                try await image.createSnapshot(unused)
                try await image.setProtected(true, unused)
            }
            for snapshot in try await pool.snapshots(of: image, "test", connection) {
                try await pool.recover(
                    Intent(
                        operation: "clone", pool: "p", volume: newName(),
                        details: [RBDPool.Detail.source: image.id, RBDPool.Detail.snapshot: snapshot.name]))
            }
            #expect(try await pool.snapshots(of: image, "test", connection).count == 1)
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteVolume(source, policy: .refuse)
        }

        @Test("What was promised for a change that was not made is given back, and a revert that has begun is finished")
        func promises() async throws {
            let pool = try await RBDPool.test()
            let connection = try await pool.connection
            let name = newName()
            _ = try await pool.createVolume(name, CreateRequest(size: size, format: .raw))
            try await pool.fill(name, 1)
            _ = try await pool.createSnapshot("s", of: name)
            try await pool.fill(name, 2)
            let id = try await pool.find(name, "test", connection).id
            try await pool.amend(id, "test", name, connection) { $0.bytes = 100 * size }
            var details = [RBDPool.Detail.images: id, RBDPool.Detail.settles: id]
            try await pool.recover(Intent(operation: "snapshot", pool: "p", volume: name, details: details))
            #expect(try await pool.find(name, "test", connection).declaration?.bytes == 2 * size)
            #expect(try await pool.firstByte(of: name) == 2)
            // A client that dies while it reverts the volume has it locked.
            let dead = try await RBDPool.test()
            let opened = try await dead.openVolume(VolumeReference(name), mode: .exclusive)
            let volume = try #require(opened as? RBDVolume)
            details[RBDPool.Detail.target] = "s"
            details[RBDPool.Detail.client] = "\(try await dead.connection.instance)"
            // Somebody else has taken it over since: what is newer stays.
            details[RBDPool.Detail.owner] = "192.0.2.1:0/1"
            let owner = try await volume.image.lockOwner()
            var taken = details
            taken[RBDPool.Detail.client] = nil
            try await pool.recover(Intent(operation: "revert", pool: "p", volume: name, details: taken))
            #expect(try await volume.bytes(at: 0, count: 1) == [2])
            // Nobody has.
            details[RBDPool.Detail.owner] = owner
            try await pool.recover(Intent(operation: "revert", pool: "p", volume: name, details: details))
            #expect(try await pool.firstByte(of: name) == 1)
            _ = await failure { try await volume.close() }
            try await pool.deleteVolume(name, policy: .refuse)
        }

        @Test("What a process that lives has recorded is left to it")
        func alive() async throws {
            let pool = try await RBDPool.test()
            var holder = try #require(RBDHolder(address: ""))
            let sleeper = Process()
            sleeper.executableURL = URL(fileURLWithPath: "/usr/bin/sleep")
            sleeper.arguments = ["600"]
            try sleeper.run()
            defer { sleeper.terminate() }
            let status = try String(contentsOfFile: "/proc/\(sleeper.processIdentifier)/stat", encoding: .utf8)
            let start = try #require(UInt64(status.split(separator: " ")[21]))
            (holder.processID, holder.processStart) = (sleeper.processIdentifier, start)
            #expect(holder.isAlive && !holder.isThisProcess && !holder.isDead)
            let details = [RBDPool.Detail.process: try #require(holder.metadata)]
            let error = await failure {
                try await pool.recover(Intent(operation: "flatten", pool: "p", volume: "v", details: details))
            }
            #expect(error?.code == .busy)
        }

        @Test(
            "An operation that is cancelled at any of its calls is undone, and nothing stays recorded",
            .timeLimit(.minutes(5)))
        func cancelled() async throws {
            let intents = RecordedIntents()
            let pool = try await RBDPool.test { $0.intents = intents }
            let source = newName()
            _ = try await pool.createVolume(source, CreateRequest(size: size, format: .raw))
            try await pool.fill(source, 1)
            for number in stride(from: 1, through: 37, by: 4) {
                let name = newName("cancelled")
                let operation = Locked<(calls: Int, task: Task<Void, Never>?)>((0, nil))
                let counted = try await RBDPool.test { options in
                    options.intents = intents
                    options.observer = { _ in
                        let task = operation.withLock { operation in
                            operation.calls += 1
                            return operation.calls == number ? operation.task : nil
                        }
                        task?.cancel()
                    }
                }
                let task = operation.withLock { operation in
                    let task = Task {
                        _ = try? await counted.cloneVolume(
                            VolumeReference(source), as: name, CloneRequest(isFull: true))
                    }
                    operation = (0, task)
                    return task
                }
                await task.value
                #expect(intents.open.isEmpty, "cancelled at call \(number)")
                try await pool.deleteVolume(name, policy: .refuse)
            }
            let connection = try await pool.connection
            try await pool.deleteVolume(source, policy: .refuse)
            let declared = try await RBDDeclarations(connection: connection).all("test").values
            #expect(!declared.contains { RBDOrigin($0.origin)?.name.hasPrefix("cancelled-") == true })
        }

        @Test("Every operation ends what it recorded, also one that fails")
        func intentsEnd() async throws {
            let intents = RecordedIntents()
            let pool = try await RBDPool.test { $0.intents = intents }
            let (template, clone, name) = (newName("template"), newName("clone"), newName())
            try await pool.importTemplate(template, filledWith: 1)
            _ = try await pool.cloneVolume(VolumeReference(template), as: clone, CloneRequest(size: size * 2))
            _ = try await pool.createSnapshot("s", of: clone)
            try await pool.revert(clone, to: "s")
            try await pool.flattenVolume(clone)
            try await pool.renameVolume(clone, to: name)
            #expect(
                await failure { _ = try await pool.createVolume(template, CreateRequest(size: size, format: .raw)) }?
                    .code == .alreadyExists)
            let staged = try await pool.stageTemplate(newName("template"), size: size)
            await staged.discard()
            try await pool.deleteVolume(name, policy: .refuse)
            try await pool.deleteTemplate(template)
            #expect(intents.open.isEmpty)
        }
    }
#endif
