#if RBD
    import BlockStorage
    import CRBD
    import IORuntime
    import SystemPackage

    /// What the header of an image says of it, read without opening it: one request for the header, and one for the
    /// object map.
    struct RBDFacts: Equatable, Sendable {
        struct Parent: Equatable, Sendable {
            var pool: Int64
            var image: String
            var snapshot: UInt64
        }

        /// In bytes.
        var size: UInt64
        /// The exponent of the objects' size.
        var order: UInt8
        var features: UInt64
        var flags: UInt64
        var parent: Parent?
        /// The ids of its snapshots, the newest first.
        var snapshots: [UInt64]
        /// Objects that exist; nil where no valid object map says so.
        var objects: UInt64?

        /// Bytes that are allocated: all, where that is not known.
        var allocatedSize: UInt64 {
            guard let objects else { return size }
            return min(size, objects.multipliedReportingOverflow(by: 1 << UInt64(min(order, 40))).partialValue)
        }

        fileprivate static let header: [RADOSMethod] = {
            let current = CephDecoder.encode(UInt64.max - 1)
            return [
                RADOSMethod("get_size", current), RADOSMethod("get_features", current + [1]),
                RADOSMethod("get_flags", current), RADOSMethod("get_snapcontext", []),
                RADOSMethod("get_parent", current),
            ]
        }()

        fileprivate init(_ answers: [RADOSMethod.Answer]) throws(SystemError) {
            var size = CephDecoder(try answers[0].get())
            order = try size.integer(UInt8.self)
            self.size = try size.integer(UInt64.self)
            var features = CephDecoder(try answers[1].get())
            self.features = try features.integer(UInt64.self)
            var flags = CephDecoder(try answers[2].get())
            self.flags = try flags.integer(UInt64.self)
            var snapshots = CephDecoder(try answers[3].get())
            _ = try snapshots.integer(UInt64.self)
            self.snapshots = try snapshots.integers(UInt64.self)
            // An image that cannot have a parent has no answer.
            if case .success(let bytes) = answers[4] {
                var decoder = CephDecoder(bytes)
                let parent = Parent(
                    pool: try decoder.integer(Int64.self), image: try decoder.string(),
                    snapshot: try decoder.integer(UInt64.self))
                if parent.pool >= 0 { self.parent = parent }
            }
        }
    }

    /// A snapshot as an image's header has it.
    struct RBDSnapshotName: Equatable, Sendable {
        var name: String
        var isUsers: Bool

        /// From what begins with a version, the version that can read it, and a length, as does the namespace in it.
        fileprivate init(_ bytes: [UInt8]) throws(SystemError) {
            var decoder = CephDecoder(bytes)
            _ = try decoder.take(6)
            _ = try decoder.integer(UInt64.self)
            _ = try decoder.take(2)
            var namespace = CephDecoder(Array(try decoder.take(Int(try decoder.integer(UInt32.self)))))
            isUsers = try namespace.integer(UInt32.self) == 0
            name = try decoder.string()
        }
    }

    extension RBDConnection {
        /// What the headers of images say, by the images' ids. Those that are gone are left out.
        func facts(of ids: [String]) async throws(StorageError) -> [String: RBDFacts] {
            let what = "list volumes"
            var facts: [String: RBDFacts] = [:]
            let answers = try await execute(ids.map { ("rbd_header.\($0)", RBDFacts.header) }, what)
            for (id, answer) in zip(ids, answers) {
                guard let answer else { continue }
                do throws(SystemError) {
                    facts[id] = try RBDFacts(answer)
                } catch {
                    // Half made, or half gone.
                    if error.errno != .noSuchFileOrDirectory { throw self.error(error, what, at: id) }
                }
            }
            let mapped = ids.filter { id in
                guard let facts = facts[id] else { return false }
                return facts.features & RBDFeatures.objectMap != 0 && facts.flags & RBDFeatures.invalidMaps == 0
            }
            let maps = try await execute(
                mapped.map { ("rbd_object_map.\($0)", [RADOSMethod("object_map_load", [])]) }, what)
            for (id, answer) in zip(mapped, maps) {
                guard case .success(let bytes) = answer?.first else { continue }
                facts[id]?.objects = try? CephDecoder.existingObjects(inMap: bytes)
            }
            return facts
        }

        /// The names of snapshots, by the images' and their own ids.
        func snapshotNames(
            _ snapshots: [(image: String, id: UInt64)]
        ) async throws(StorageError) -> [RBDFacts.SnapshotKey: RBDSnapshotName] {
            let answers = try await execute(
                snapshots.map { snapshot in
                    (
                        "rbd_header.\(snapshot.image)",
                        [RADOSMethod("snapshot_get", CephDecoder.encode(snapshot.id))]
                    )
                }, "list volumes")
            var names: [RBDFacts.SnapshotKey: RBDSnapshotName] = [:]
            for (snapshot, answer) in zip(snapshots, answers) {
                // It may be gone.
                guard case .success(let bytes) = answer?.first, let name = try? RBDSnapshotName(bytes) else { continue }
                names[RBDFacts.SnapshotKey(image: snapshot.image, id: snapshot.id)] = name
            }
            return names
        }
    }

    extension RBDFacts {
        struct SnapshotKey: Hashable, Sendable {
            var image: String
            var id: UInt64
        }
    }
#endif
