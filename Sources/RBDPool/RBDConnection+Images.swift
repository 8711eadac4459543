#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import SystemPackage

    /// How a new image is made.
    struct RBDLayout: Sendable {
        /// Layering, exclusive lock, object map, fast differences, deep flatten: what CloudStack asks for.
        var features: UInt64 = 61
        /// In bytes; nil for librbd's own, or that of what is cloned.
        var objectSize: UInt64?
        var dataPool: String?

        /// Runs `body` with these as librbd takes them.
        fileprivate func withOptions(_ body: (rbd_image_options_t) -> Int32) throws(SystemError) -> Int32 {
            var made: rbd_image_options_t?
            unsafe rbd_image_options_create(&made)
            guard let options = unsafe made else { throw SystemError(.noMemory, "rbd_image_options_create") }
            defer { unsafe rbd_image_options_destroy(options) }
            func set(_ option: Int, _ value: UInt64) throws(SystemError) {
                let result = unsafe rbd_image_options_set_uint64(options, Int32(option), value)
                try rbdChecked("rbd_image_options_set", Int(result))
            }
            try set(RBD_IMAGE_OPTION_FORMAT, 2)
            try set(RBD_IMAGE_OPTION_FEATURES, features)
            if let objectSize { try set(RBD_IMAGE_OPTION_ORDER, UInt64(objectSize.trailingZeroBitCount)) }
            if let dataPool {
                let result = unsafe rbd_image_options_set_string(
                    options, Int32(RBD_IMAGE_OPTION_DATA_POOL), dataPool)
                try rbdChecked("rbd_image_options_set", Int(result))
            }
            return unsafe body(options)
        }
    }

    extension RBDConnection {
        func createImage(_ name: String, size: UInt64, _ layout: RBDLayout) async throws(StorageError) {
            try await call("rbd_create", "create volume", at: name) { connection throws(SystemError) in
                let result = unsafe try layout.withOptions { options in
                    unsafe rbd_create4(connection.pool, name, size, options)
                }
                _ = try rbdChecked("rbd_create", Int(result))
            }
        }

        /// Clones a protected snapshot of an image. It is found by its name: one that is being deleted has lost that.
        func cloneImage(
            _ source: String, snapshot: String, as name: String, _ layout: RBDLayout
        ) async throws(StorageError) {
            try await call("rbd_clone", "clone volume", at: name) { connection throws(SystemError) in
                let result = unsafe try layout.withOptions { options in
                    unsafe rbd_clone3(connection.pool, source, snapshot, connection.pool, name, options)
                }
                _ = try rbdChecked("rbd_clone", Int(result))
            }
        }

        /// Throws `alreadyExists` when an image has the new name.
        func rename(_ name: String, to newName: String) async throws(StorageError) {
            try await call("rbd_rename", "rename volume", at: name) { connection throws(SystemError) in
                _ = try rbdChecked("rbd_rename", Int(unsafe rbd_rename(connection.pool, name, newName)))
            }
        }

        /// Removes an image without snapshots; one that is not there is removed already.
        func remove(_ name: String) async throws(StorageError) {
            unsafe try await longCall("rbd_remove", "delete volume", at: name) {
                connection, progress throws(SystemError) in
                let result = unsafe rbd_remove_with_progress(connection.pool, name, rbdProgress, progress)
                if result != -ENOENT { try rbdChecked("rbd_remove", Int(result)) }
            }
        }

        /// Moves an image to the trash, from where `rbd trash` restores or removes it.
        func moveToTrash(_ name: String) async throws(StorageError) {
            try await call("rbd_trash_move", "delete volume", at: name) { connection throws(SystemError) in
                let result = unsafe rbd_trash_move(connection.pool, name, 0)
                if result != -ENOENT { try rbdChecked("rbd_trash_move", Int(result)) }
            }
        }

        /// Shuts a client out of the cluster, for as long as the cluster usually does that.
        func exclude(_ client: String) async throws(StorageError) {
            try await call("rados_blocklist_add", "shut out a client", at: client) { connection throws(SystemError) in
                var address = Array(client.utf8CString)
                let result = unsafe rados_blocklist_add(connection.cluster, &address, 0)
                _ = try rbdChecked("rados_blocklist_add", Int(result))
            }
        }
    }
#endif
