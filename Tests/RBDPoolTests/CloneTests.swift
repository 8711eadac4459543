#if RBD
    import BlockStorage
    import IORuntime
    import Testing

    @testable import RBDPool

    @Suite("Templates and clones in a Ceph pool")
    struct CloneTests {
        private let size: UInt64 = 8 << 20

        private func snapshots(_ pool: RBDPool, _ name: String) async throws -> [RBDSnapshot] {
            let connection = try await pool.connection
            return try await pool.snapshots(of: pool.find(name, "test", connection), "test", connection)
        }

        @Test("A clone reads through its template's protected base snapshot, which is nobody's to see or delete")
        func template() async throws {
            let pool = try await RBDPool.test()
            let (template, clone) = (newName("template"), newName("clone"))
            try await pool.importTemplate(template, filledWith: 3)
            _ = try await pool.cloneVolume(VolumeReference(template), as: clone, CloneRequest(size: size * 2))
            let description = try await pool.describeVolume(clone)
            #expect(description.template == VolumeReference(template))
            #expect(
                description.details.contains {
                    $0.label == "parent" && $0.value == "cloudstack/\(template)@cloudstack-base-snap"
                })
            #expect(try await pool.firstByte(of: clone) == 3)
            #expect(try await pool.listSnapshots(of: template).isEmpty)
            let refusal = await failure { try await pool.deleteSnapshot("cloudstack-base-snap", of: template) }
            #expect(refusal?.code == .invalidArgument)
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteTemplate(template)
        }

        @Test(
            "Clones at once, from two hosts, of a template without its snapshot, make one, protected",
            .timeLimit(.minutes(5)))
        func race() async throws {
            let pools = try await [RBDPool.test(), RBDPool.test()]
            let place = try await TestCluster.shared.description.pool
            let template = newName("template")
            try await pools[0].importTemplate(template, filledWith: 4)
            try await ceph("rbd", "snap", "unprotect", "\(place)/\(template)@cloudstack-base-snap")
            try await ceph("rbd", "snap", "rm", "--no-progress", "\(place)/\(template)@cloudstack-base-snap")
            let clones = (0..<32).map { _ in newName("clone") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (index, clone) in clones.enumerated() {
                    group.addTask {
                        _ = try await pools[index % 2].cloneVolume(
                            VolumeReference(template), as: clone, CloneRequest())
                    }
                }
                try await group.waitForAll()
            }
            let made = try await snapshots(pools[0], template)
            #expect(made.map(\.name) == ["cloudstack-base-snap"])
            #expect(made.map(\.isProtected) == [true])
            for clone in clones {
                #expect(try await pools[0].firstByte(of: clone) == 4)
                try await pools[0].deleteVolume(clone, policy: .refuse)
            }
            try await pools[0].deleteTemplate(template)
        }

        @Test("A template that CloudStack left with an unprotected snapshot is repaired when it is cloned")
        func halfMadeTemplate() async throws {
            let pool = try await RBDPool.test()
            let place = try await TestCluster.shared.description.pool
            let (template, clone) = (newName("template"), newName("clone"))
            try await ceph("rbd", "create", "--size", "8M", "\(place)/\(template)")
            try await ceph("rbd", "snap", "create", "--no-progress", "\(place)/\(template)@cloudstack-base-snap")
            #expect(try await pool.adoptVolume(template, format: .raw).isTemplate)
            _ = try await pool.cloneVolume(VolumeReference(template), as: clone, CloneRequest())
            #expect(try await pool.describeVolume(clone).template == VolumeReference(template))
            let base = try await snapshots(pool, template)
            #expect(base.map(\.name) == ["cloudstack-base-snap"] && base.allSatisfy(\.isProtected))
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteTemplate(template)
        }

        @Test("A clone of a volume has a snapshot of its own, which goes with the clone")
        func helpers() async throws {
            let pool = try await RBDPool.test()
            let (source, first, second) = (newName(), newName("clone"), newName("clone"))
            _ = try await pool.createVolume(source, CreateRequest(size: size, format: .raw))
            try await pool.fill(source, 1)
            _ = try await pool.cloneVolume(VolumeReference(source), as: first, CloneRequest())
            try await pool.fill(source, 2)
            _ = try await pool.cloneVolume(VolumeReference(source), as: second, CloneRequest())
            #expect(try await pool.firstByte(of: first) == 1)
            #expect(try await pool.firstByte(of: second) == 2)
            #expect(try await snapshots(pool, source).count == 2)
            #expect(try await pool.describeVolume(source).snapshots.isEmpty)
            try await pool.deleteVolume(first, policy: .refuse)
            #expect(try await snapshots(pool, source).count == 1)
            try await pool.flattenVolume(second)
            #expect(try await snapshots(pool, source).isEmpty)
            try await pool.deleteVolume(source, policy: .refuse)
            #expect(try await pool.firstByte(of: second) == 2)
            try await pool.deleteVolume(second, policy: .refuse)
        }

        @Test("Clones of clones are made independent where the chain would be too long; the same again succeeds")
        func depth() async throws {
            let pool = try await RBDPool.test { $0.cloneDepth = 2 }
            var names = [newName()]
            _ = try await pool.createVolume(names[0], CreateRequest(size: size, format: .raw))
            try await pool.fill(names[0], 5)
            for index in 1...4 {
                let name = newName("clone")
                _ = try await pool.cloneVolume(VolumeReference(names[index - 1]), as: name, CloneRequest())
                names.append(name)
            }
            let templates = try await names.asyncMap { try await pool.describeVolume($0).template?.name }
            #expect(templates == [nil, names[0], names[1], nil, names[3]])
            _ = try await pool.cloneVolume(VolumeReference(names[2]), as: names[3], CloneRequest())
            for name in names { #expect(try await pool.firstByte(of: name) == 5) }
            for name in names.reversed() { try await pool.deleteVolume(name, policy: .refuse) }
        }

        @Test(
            "A snapshot that is cloned from is protected for that, and deleted as if it were not once no clone is left")
        func cloneOfSnapshot() async throws {
            let pool = try await RBDPool.test()
            let (source, clone) = (newName(), newName("clone"))
            _ = try await pool.createVolume(source, CreateRequest(size: size, format: .raw))
            try await pool.fill(source, 1)
            _ = try await pool.createSnapshot("s", of: source)
            try await pool.fill(source, 2)
            let reference = VolumeReference(source, snapshot: "s")
            _ = try await pool.cloneVolume(reference, as: clone, CloneRequest())
            #expect(try await pool.firstByte(of: clone) == 1)
            #expect(try await pool.describeVolume(clone).template == reference)
            let listed = try await pool.listSnapshots(of: source)
            #expect(listed.map(\.isProtected) == [true])
            #expect(listed.map(\.children) == [[clone]])
            let refusal = await failure { try await pool.deleteSnapshot("s", of: source) }
            #expect(refusal?.code == .busy)
            #expect(refusal?.why.contains(clone) == true)
            try await pool.deleteVolume(clone, policy: .refuse)
            try await pool.deleteSnapshot("s", of: source)
            try await pool.deleteVolume(source, policy: .refuse)
        }

        @Test("A staged template that is discarded leaves no image and no declaration")
        func discarded() async throws {
            let pool = try await RBDPool.test()
            let staged = try await pool.stageTemplate(newName("template"), size: size)
            try await staged.volume.fill(1, 0..<65536)
            let image = try #require(staged.volume as? RBDVolume).image
            let id = try #require(Self.id(image.name))
            await staged.discard()
            let connection = try await pool.connection
            #expect(try await RBDDirectory(connection: connection).name(of: id, "test") == nil)
            #expect(try await RBDDeclarations(connection: connection).values(of: [id], "test").isEmpty)
        }

        /// A staged image is opened by its id.
        private static func id(_ name: String) -> String? { name.allSatisfy(\.isHexDigit) ? name : nil }
    }

    extension Sequence {
        func asyncMap<Result>(_ body: (Element) async throws -> Result) async rethrows -> [Result] {
            var results: [Result] = []
            for element in self { results.append(try await body(element)) }
            return results
        }
    }
#endif
