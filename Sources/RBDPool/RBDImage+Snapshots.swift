#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import SystemPackage

    /// A snapshot of an image.
    struct RBDSnapshot: Equatable, Sendable {
        /// Whom it belongs to.
        enum Owner: String, Sendable { case user, group, trash, mirror, other }

        var id: UInt64
        var name: String
        /// Of the image at that time, in bytes.
        var size: UInt64
        var owner: Owner
        var isProtected: Bool
        /// Seconds since 1970, UTC.
        var createdAt: Int64

        /// Whether it was made by name, and not by a program for its own ends.
        var isUsers: Bool { owner == .user }
    }

    /// An image that reads through another.
    struct RBDChild: Equatable, Sendable {
        /// Its pool and, where it is in one, its namespace.
        var pool: String
        var name: String
        var id: String
        var isInTrash: Bool

        /// For people, from within `pool`.
        func text(in pool: String) -> String {
            (self.pool == pool ? "" : "\(self.pool)/") + name + (isInTrash ? " (in the trash)" : "")
        }
    }

    extension RBDImage {
        /// All snapshots, the oldest first.
        func snapshots() async throws(StorageError) -> [RBDSnapshot] {
            unsafe try await call("rbd_snap_list", "list snapshots") { handle throws(SystemError) in
                var count: Int32 = 64
                var list = unsafe [rbd_snap_info_t]()
                while true {
                    unsafe list = [rbd_snap_info_t](repeating: rbd_snap_info_t(), count: Int(count))
                    let result = unsafe rbd_snap_list(handle, &list, &count)
                    if result == -ERANGE, unsafe count > list.count { continue }
                    try rbdChecked("rbd_snap_list", Int(result))
                    unsafe list.removeLast(list.count - Int(result))
                    break
                }
                // librbd frees the names of as many as there are, up to one without.
                unsafe list.append(rbd_snap_info_t())
                defer { unsafe rbd_snap_list_end(&list) }
                var snapshots: [RBDSnapshot] = []
                for index in unsafe 0..<list.count - 1 {
                    let info = unsafe list[index]
                    guard let name = unsafe info.name else { continue }
                    var snapshot = unsafe RBDSnapshot(
                        id: info.id, name: String(cString: name), size: info.size, owner: .user, isProtected: false,
                        createdAt: 0)
                    var kind = RBD_SNAP_NAMESPACE_TYPE_USER
                    var time = timespec()
                    let results = unsafe [
                        rbd_snap_get_namespace_type(handle, info.id, &kind),
                        rbd_snap_get_timestamp(handle, info.id, &time),
                    ]
                    // Removed at this moment.
                    if results.contains(-ENOENT) { continue }
                    for result in results { try rbdChecked("rbd_snap_get", Int(result)) }
                    snapshot.createdAt = Int64(time.tv_sec)
                    snapshot.owner =
                        switch kind {
                        case RBD_SNAP_NAMESPACE_TYPE_USER: .user
                        case RBD_SNAP_NAMESPACE_TYPE_GROUP: .group
                        case RBD_SNAP_NAMESPACE_TYPE_TRASH: .trash
                        case RBD_SNAP_NAMESPACE_TYPE_MIRROR: .mirror
                        default: .other
                        }
                    if snapshot.isUsers {
                        var isProtected: Int32 = 0
                        let result = unsafe rbd_snap_is_protected(handle, name, &isProtected)
                        if result == -ENOENT { continue }
                        try rbdChecked("rbd_snap_is_protected", Int(result))
                        snapshot.isProtected = isProtected != 0
                    }
                    snapshots.append(snapshot)
                }
                return snapshots.sorted { $0.id < $1.id }
            }
        }

        /// Throws `alreadyExists` where there is one of that name.
        func createSnapshot(_ name: String) async throws(StorageError) {
            unsafe try await call("rbd_snap_create", "create snapshot") { handle throws(SystemError) in
                _ = try rbdChecked("rbd_snap_create", Int(unsafe rbd_snap_create(handle, name)))
            }
        }

        /// Removes a snapshot that is not protected; one that is not there is removed already.
        func removeSnapshot(_ name: String) async throws(StorageError) {
            unsafe try await call("rbd_snap_remove", "delete snapshot") { handle throws(SystemError) in
                let result = unsafe rbd_snap_remove(handle, name)
                if result != -ENOENT { try rbdChecked("rbd_snap_remove", Int(result)) }
            }
        }

        /// Removes what librbd has moved to the image's trash, which is the first step of a removal, and of nothing but
        /// snapshots of that name where one is given. What clones read through stays: it goes with the last of them.
        func emptyTrash(of name: String? = nil) async throws(StorageError) {
            for snapshot in try await snapshots() where snapshot.owner == .trash {
                unsafe try await call("rbd_snap_remove_by_id", "delete snapshot") { handle throws(SystemError) in
                    if let name {
                        var text = [CChar](repeating: 0, count: 4096)
                        let result = unsafe rbd_snap_get_trash_namespace(handle, snapshot.id, &text, text.count)
                        if result == -ENOENT { return }
                        try rbdChecked("rbd_snap_get_trash_namespace", Int(result))
                        guard String(upToZero: text) == name else { return }
                    }
                    let result = unsafe rbd_snap_remove_by_id(handle, snapshot.id)
                    if result == -ENOENT || result == -EBUSY { return }
                    try rbdChecked("rbd_snap_remove_by_id", Int(result))
                }
            }
        }

        /// Protects a snapshot, or gives that up: what is so already stays so. A snapshot that is not there throws
        /// `notFound`, unless its protection is to be given up.
        func setProtected(_ isProtected: Bool, _ name: String) async throws(StorageError) {
            let function = isProtected ? "rbd_snap_protect" : "rbd_snap_unprotect"
            let what = isProtected ? "protect snapshot" : "unprotect snapshot"
            unsafe try await call(function, what) { handle throws(SystemError) in
                let result = Int(
                    isProtected ? unsafe rbd_snap_protect(handle, name) : unsafe rbd_snap_unprotect(handle, name))
                // EBUSY: it is protected already. EINVAL: it is not, or not any more.
                if isProtected, result == -Int(EBUSY) { return }
                if !isProtected, result == -Int(EINVAL) || result == -Int(ENOENT) { return }
                try rbdChecked(function, result)
            }
        }

        /// Makes the image what it was at a snapshot.
        func rollBack(to snapshot: String) async throws(StorageError) {
            unsafe try await longCall("rbd_snap_rollback", "revert volume") { handle, progress throws(SystemError) in
                let result = unsafe rbd_snap_rollback_with_progress(handle, snapshot, rbdProgress, progress)
                _ = try rbdChecked("rbd_snap_rollback", Int(result))
            }
        }

        /// The images that read through this one: through the snapshot that it was opened at, or through any.
        func children() async throws(StorageError) -> [RBDChild] {
            unsafe try await call("rbd_list_children", "list clones") { handle throws(SystemError) in
                var count = 64
                while true {
                    var list = unsafe [rbd_linked_image_spec_t](repeating: rbd_linked_image_spec_t(), count: count)
                    let result = unsafe rbd_list_children3(handle, &list, &count)
                    if result == -ERANGE, unsafe count > list.count { continue }
                    try rbdChecked("rbd_list_children", Int(result))
                    defer { unsafe rbd_linked_image_spec_list_cleanup(&list, count) }
                    func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
                        unsafe pointer.map { unsafe String(cString: $0) } ?? ""
                    }
                    return unsafe list.prefix(count).map { child in
                        let namespace = unsafe text(child.pool_namespace)
                        return unsafe RBDChild(
                            pool: text(child.pool_name) + (namespace.isEmpty ? "" : "/\(namespace)"),
                            name: text(child.image_name), id: text(child.image_id), isInTrash: child.trash)
                    }.sorted { $0.name < $1.name }
                }
            }
        }

        /// Copies into the image what it reads through its parent, and lets go of that.
        func flatten() async throws(StorageError) {
            unsafe try await longCall("rbd_flatten", "flatten volume") { handle, progress throws(SystemError) in
                let result = unsafe rbd_flatten_with_progress(handle, rbdProgress, progress)
                // It has no parent.
                if result != -EINVAL { try rbdChecked("rbd_flatten", Int(result)) }
            }
        }

        /// The pool that has the image's data; nil where that is its own.
        func dataPool() async throws(StorageError) -> String? {
            unsafe try await call("rbd_get_data_pool_id", "open volume") { handle throws(SystemError) in
                let id = unsafe rbd_get_data_pool_id(handle)
                guard id >= 0 else { return nil }
                var name = [CChar](repeating: 0, count: 1024)
                let result = unsafe rados_pool_reverse_lookup(self.connection.cluster, id, &name, name.count)
                try rbdChecked("rados_pool_reverse_lookup", Int(result))
                return String(upToZero: name)
            }
        }

        /// Makes the image's size that many bytes, by the one who has it locked where there is one.
        func resize(to size: UInt64, allowShrink: Bool) async throws(StorageError) {
            unsafe try await longCall("rbd_resize", "resize volume") { handle, progress throws(SystemError) in
                _ = try rbdChecked(
                    "rbd_resize", Int(unsafe rbd_resize2(handle, size, allowShrink, rbdProgress, progress)))
            }
        }
    }

    /// A text that a call writes into a buffer, which it says how long that must be.
    func rbdText(
        _ name: String, _ call: (UnsafeMutablePointer<CChar>?, inout Int) -> Int32
    ) throws(SystemError) -> String {
        var count = 256
        while true {
            var buffer = [CChar](repeating: 0, count: count)
            let offered = count
            let result = unsafe call(&buffer, &count)
            if result == -ERANGE, count > offered { continue }
            try rbdChecked(name, Int(result))
            return String(upToZero: buffer)
        }
    }

    extension String {
        /// What C wrote into a buffer: the bytes before the first zero.
        init(upToZero bytes: some Sequence<CChar>) {
            self.init(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
#endif
