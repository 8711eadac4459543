#if RBD
    import BlockStorage
    import CRBD
    import Foundation
    import Glibc
    import IORuntime
    import SystemPackage

    extension RBDPool {
        public func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription {
            let what = "describe volume"
            let connection = try await connection
            let image = try await find(name, what, connection)
            let facts = try await connection.facts(of: [image.id])
            guard let own = facts[image.id] else {
                throw failure(.corrupt, what, name, "the image has no header: delete the volume")
            }
            var names = [image.id: image.name]
            if let parent = own.parent, parent.pool == connection.poolID {
                names[parent.image] = try await RBDDirectory(connection: connection).name(of: parent.image, what)
            }
            guard var description = try await describe([image], facts, names: names, connection).first else {
                throw failure(.notFound, what, name, "it was removed at this moment")
            }
            try RBDFeatures.check(own.features, what, at: "\(self.name)/\(name)")
            description.details = try await connection.withImage(image.reference, what) {
                (opened) async throws(StorageError) in
                try await opened.details(own)
            }
            return description
        }
    }

    extension RBDImage {
        /// What `rbd info` and `rbd status` show, and the space that is used.
        fileprivate func details(_ facts: RBDFacts) async throws(StorageError) -> [VolumeDescription.Detail] {
            let owner = try await lockOwner()
            let holder = try await holder()
            let watchers = try await watchers()
            let snapshots = try await snapshots()
            var rows = unsafe try await call("rbd_stat", "describe volume") { handle throws(SystemError) in
                try unsafe Self.rows(handle)
            }
            rows.insert(VolumeDescription.Detail("snapshots", "\(snapshots.count)"), at: min(3, rows.count))
            let used = facts.objects.map { _ in "\(facts.allocatedSize)" }
            rows.append(VolumeDescription.Detail("used bytes", used ?? "not known: the object map is off or not valid"))
            for snapshot in snapshots where !snapshot.isVisible {
                let state =
                    snapshot.isUsers ? snapshot.isProtected ? "protected" : "unprotected" : snapshot.owner.rawValue
                rows.append(VolumeDescription.Detail("other snapshot", "\(snapshot.name) (\(state))"))
            }
            if let owner {
                let who = holder?.address == owner ? holder.map { "\($0) (\(owner))" } : nil
                rows.append(VolumeDescription.Detail("lock holder", who ?? owner))
            }
            for watcher in watchers {
                rows.append(VolumeDescription.Detail("watcher", "\(watcher.address) client.\(watcher.id)"))
            }
            return rows
        }

        private static func rows(_ handle: rbd_image_t) throws(SystemError) -> [VolumeDescription.Detail] {
            var isOld: UInt8 = 0
            try rbdChecked("rbd_get_old_format", Int(unsafe rbd_get_old_format(handle, &isOld)))
            var info = rbd_image_info_t()
            try rbdChecked(
                "rbd_stat", Int(unsafe rbd_stat(handle, &info, MemoryLayout<rbd_image_info_t>.size)))
            var rows = [
                VolumeDescription.Detail("objects", "\(info.num_objs)"),
                VolumeDescription.Detail("order", "\(info.order)"),
                VolumeDescription.Detail("object size", "\(info.obj_size)"),
            ]
            func add(_ label: String, _ value: String) { rows.append(VolumeDescription.Detail(label, value)) }
            let id = try unsafe rbdText("rbd_get_id") { buffer, count in unsafe rbd_get_id(handle, buffer, count) }
            add("id", id)
            let pool = unsafe rbd_get_data_pool_id(handle)
            if pool >= 0 { add("data pool", "\(pool)") }
            let prefix = try unsafe rbdText("rbd_get_block_name_prefix") { buffer, count in
                unsafe rbd_get_block_name_prefix(handle, buffer, count)
            }
            add("block name prefix", prefix)
            add("image format", isOld == 0 ? "2" : "1")
            var (features, operations, flags) = (UInt64(0), UInt64(0), UInt64(0))
            try rbdChecked("rbd_get_features", Int(unsafe rbd_get_features(handle, &features)))
            try rbdChecked("rbd_get_op_features", Int(unsafe rbd_get_op_features(handle, &operations)))
            try rbdChecked("rbd_get_flags", Int(unsafe rbd_get_flags(handle, &flags)))
            add("features", RBDFeatures.text(features, RBDFeatures.names))
            add("operation features", RBDFeatures.text(operations, RBDFeatures.operationNames))
            add("flags", RBDFeatures.text(flags, RBDFeatures.flagNames))
            var (created, accessed, modified) = (timespec(), timespec(), timespec())
            try rbdChecked("rbd_get_create_timestamp", Int(unsafe rbd_get_create_timestamp(handle, &created)))
            try rbdChecked("rbd_get_access_timestamp", Int(unsafe rbd_get_access_timestamp(handle, &accessed)))
            try rbdChecked("rbd_get_modify_timestamp", Int(unsafe rbd_get_modify_timestamp(handle, &modified)))
            for (label, time) in [("created", created), ("accessed", accessed), ("modified", modified)] {
                add(label, Date(timeIntervalSince1970: TimeInterval(time.tv_sec)).formatted(.iso8601))
            }
            var parent = unsafe rbd_linked_image_spec_t()
            var snapshot = unsafe rbd_snap_spec_t()
            let result = unsafe rbd_get_parent(handle, &parent, &snapshot)
            if result == -ENOENT { return rows }
            try rbdChecked("rbd_get_parent", Int(result))
            defer {
                unsafe rbd_linked_image_spec_cleanup(&parent)
                unsafe rbd_snap_spec_cleanup(&snapshot)
            }
            let parts = unsafe [parent.pool_name, parent.pool_namespace, parent.image_name].compactMap { part in
                unsafe part.map { unsafe String(cString: $0) }
            }
            let snapshotName = unsafe snapshot.name.map { unsafe String(cString: $0) } ?? ""
            let place = parts.filter { !$0.isEmpty }.joined(separator: "/") + "@\(snapshotName)"
            add("parent", unsafe parent.trash ? "\(place) (in the trash)" : place)
            var overlap: UInt64 = 0
            try rbdChecked("rbd_get_overlap", Int(unsafe rbd_get_overlap(handle, &overlap)))
            add("overlap", "\(overlap)")
            return rows
        }
    }

    extension RBDFeatures {
        static let names = [
            "layering", "striping", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling",
            "data-pool", "operations", "migrating", "non-primary", "dirty-cache",
        ]
        static let operationNames = ["clone-parent", "clone-child", "group", "snap-trash"]
        static let flagNames = ["object map invalid", "fast diff invalid"]

        /// The names of the bits that are set, and the numbers of those without one.
        static func text(_ bits: UInt64, _ names: [String]) -> String {
            (0..<64).filter { bits >> UInt64($0) & 1 == 1 }
                .map { $0 < names.count ? names[$0] : "bit \($0)" }.joined(separator: ", ")
        }
    }
#endif
