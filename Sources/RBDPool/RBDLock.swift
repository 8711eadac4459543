#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import SystemPackage

    /// An image's exclusive lock, which librbd keeps from then on: it is given to nobody who asks for it, and who breaks
    /// it shuts this client out of the cluster first.
    final class RBDLock: Sendable {
        private let image: RBDImage
        /// Whether the image says who holds it.
        private let isRecorded: Bool

        /// How long others that have the image open, and not locked, may take to go: operations on it open it for a
        /// moment.
        /// Not the same for all, so that of two that wait for each other one goes first.
        private static var patience: Duration { .milliseconds(Int64.random(in: 500...2000)) }

        private init(_ image: RBDImage, isRecorded: Bool) { (self.image, self.isRecorded) = (image, isRecorded) }

        /// Takes the lock of an image that is open for writing.
        ///
        /// Throws `busy`, naming who it is, while anybody else has the lock or the image open for writing. The lock of a
        /// process of this host that died is broken; one that another host's process had is free when the cluster
        /// misses that, half a minute later.
        static func acquire(_ image: RBDImage) async throws(StorageError) -> RBDLock {
            var broken: String?
            if let owner = try await image.lockOwner() {
                let holder = try await image.holder()
                let isWatching = try await image.watchers().contains { $0.address == owner }
                if let holder, holder.address == owner, holder.isDead {
                    try await image.breakLock(of: owner)
                    broken = owner
                } else if isWatching {
                    throw busy(image, holder?.address == owner ? holder : nil, owner)
                }
                // Else it is dead, and librbd breaks its lock.
            }
            // From the moment that this client has the lock librbd refuses it to who has the image open, and writes then:
            // so nobody may have it open before, or come meanwhile.
            try await waitForOthers(image, except: broken)
            do throws(StorageError) {
                unsafe try await image.call("rbd_lock_acquire", "open volume") { handle throws(SystemError) in
                    _ = try rbdChecked(
                        "rbd_lock_acquire", Int(unsafe rbd_lock_acquire(handle, RBD_LOCK_MODE_EXCLUSIVE)))
                }
            } catch {
                guard error.code == .readOnly || error.code == .busy else { throw error }
                // Somebody was faster.
                let owner = try await image.lockOwner() ?? "another client"
                throw busy(image, try await image.holder(), owner)
            }
            try await waitForOthers(image, except: broken)
            guard let address = try await image.lockOwner() else {
                throw StorageError(
                    .conflict, "open volume", at: "\(image.connection.settings.pool)/\(image.name)",
                    why: "its lock was broken just now")
            }
            guard let metadata = RBDHolder(address: address)?.metadata else {
                return RBDLock(image, isRecorded: false)
            }
            try await image.setMetadata(RBDHolder.metadataKey, metadata)
            return RBDLock(image, isRecorded: true)
        }

        /// Gives an image that has no exclusive lock one, as old versions of CloudStack made them, while nobody else has it
        /// open. Returns whether it did, and the image has to be opened again to have it.
        static func enable(on image: RBDImage) async throws(StorageError) -> Bool {
            guard try await !image.hasLock() else { return false }
            try await waitForOthers(image, except: nil)
            try await image.enableLock()
            return true
        }

        private static func waitForOthers(_ image: RBDImage, except broken: String?) async throws(StorageError) {
            if let other = try await image.waitForOthers(atMost: patience, except: broken) {
                throw busy(image, nil, other.address)
            }
        }

        private static func busy(_ image: RBDImage, _ holder: RBDHolder?, _ address: String) -> StorageError {
            StorageError(
                .busy, "open volume", at: "\(image.connection.settings.pool)/\(image.name)",
                why: "it is held by \(holder.map { "\($0) (\(address))" } ?? address)")
        }

        /// Gives the lock back.
        func release() async throws(StorageError) {
            if isRecorded { try? await image.removeMetadata(RBDHolder.metadataKey) }
            unsafe try await image.call("rbd_lock_release", "close volume", mustRun: true) {
                handle throws(SystemError) in
                _ = try rbdChecked("rbd_lock_release", Int(unsafe rbd_lock_release(handle)))
            }
        }
    }

    /// A client that has an image open for writing.
    struct RBDWatcher: Equatable, Sendable {
        /// As the cluster names it.
        var address: String
        var id: UInt64
    }

    extension RBDImage {
        fileprivate func hasLock() async throws(StorageError) -> Bool {
            unsafe try await call("rbd_get_features", "open volume") { handle throws(SystemError) in
                var features: UInt64 = 0
                try rbdChecked("rbd_get_features", Int(unsafe rbd_get_features(handle, &features)))
                return features & RBDFeatures.exclusiveLock != 0
            }
        }

        fileprivate func enableLock() async throws(StorageError) {
            unsafe try await call("rbd_update_features", "open volume") { handle throws(SystemError) in
                _ = try rbdChecked(
                    "rbd_update_features", Int(unsafe rbd_update_features(handle, RBDFeatures.exclusiveLock, 1)))
            }
        }

        /// The address of the client that has the exclusive lock, dead or alive; nil for nobody.
        func lockOwner() async throws(StorageError) -> String? {
            try await isReadOnly ? recordedLockOwner() : currentLockOwner()
        }

        private func currentLockOwner() async throws(StorageError) -> String? {
            unsafe try await call("rbd_lock_get_owners", "look for the lock") { handle throws(SystemError) in
                var mode = RBD_LOCK_MODE_EXCLUSIVE
                var owners = unsafe [UnsafeMutablePointer<CChar>?](repeating: nil, count: 8)
                var count = unsafe owners.count
                let result = unsafe rbd_lock_get_owners(handle, &mode, &owners, &count)
                // EINVAL: the image has no such lock.
                if result == -ENOENT || result == -EINVAL { return nil }
                try rbdChecked("rbd_lock_get_owners", Int(result))
                defer { unsafe rbd_lock_get_owners_cleanup(&owners, count) }
                return unsafe owners.prefix(count).first.flatMap { unsafe $0 }.map { unsafe String(cString: $0) }
            }
        }

        /// As the image's header had it when it was opened: an image that is open for reading only has no lock to ask.
        private func recordedLockOwner() async throws(StorageError) -> String? {
            unsafe try await call("rbd_list_lockers", "look for the lock") { handle throws(SystemError) in
                var (tags, clients, cookies, addresses) = ([CChar](), [CChar](), [CChar](), [CChar]())
                var (tagCount, clientCount, cookieCount, addressCount) = (256, 256, 256, 256)
                var isExclusive: Int32 = 0
                while true {
                    tags = [CChar](repeating: 0, count: tagCount)
                    clients = [CChar](repeating: 0, count: clientCount)
                    cookies = [CChar](repeating: 0, count: cookieCount)
                    addresses = [CChar](repeating: 0, count: addressCount)
                    let result = unsafe rbd_list_lockers(
                        handle, &isExclusive, &tags, &tagCount, &clients, &clientCount, &cookies, &cookieCount,
                        &addresses, &addressCount)
                    if result == -Int(ERANGE) { continue }
                    if try rbdChecked("rbd_list_lockers", result) == 0 { return nil }
                    break
                }
                // Other tags are those of locks that people take by `rbd lock add`.
                return String(upToZero: tags) == "internal" ? String(upToZero: addresses) : nil
            }
        }

        /// Who has the image open for writing, this process among them.
        func watchers() async throws(StorageError) -> [RBDWatcher] {
            unsafe try await call("rbd_watchers_list", "look for watchers") { handle throws(SystemError) in
                var count = 16
                while true {
                    var list = unsafe [rbd_image_watcher_t](repeating: rbd_image_watcher_t(), count: count)
                    let result = unsafe rbd_watchers_list(handle, &list, &count)
                    if result == -ERANGE, unsafe count > list.count, count < 4096 { continue }
                    try rbdChecked("rbd_watchers_list", Int(result))
                    defer { unsafe rbd_watchers_list_cleanup(&list, count) }
                    return unsafe list.prefix(count).map { watcher in
                        unsafe RBDWatcher(
                            address: watcher.addr.map { unsafe String(cString: $0) } ?? "",
                            id: UInt64(bitPattern: watcher.id))
                    }
                }
            }
        }

        /// Waits until no other client has the image open for writing, but for one with that address. Returns one that
        /// still has after `patience`.
        func waitForOthers(
            atMost patience: Duration, except address: String?
        ) async throws(StorageError) -> RBDWatcher? {
            let end = ContinuousClock.now + patience
            while true {
                let others = try await watchers().filter { $0.id != connection.instance && $0.address != address }
                guard !others.isEmpty, ContinuousClock.now < end else { return others.first }
                await IOExecutor.sleep(for: .milliseconds(50))
            }
        }

        /// Ends another client's hold on the image, and shuts it out of the cluster.
        func breakLock(of owner: String) async throws(StorageError) {
            unsafe try await call("rbd_lock_break", "break lock") { handle throws(SystemError) in
                let result = unsafe rbd_lock_break(handle, RBD_LOCK_MODE_EXCLUSIVE, owner)
                // Gone meanwhile.
                if result == -ENOENT { return }
                try rbdChecked("rbd_lock_break", Int(result))
            }
        }

        /// Who the image says holds it; nil where nobody has said so.
        func holder() async throws(StorageError) -> RBDHolder? {
            try await metadata(RBDHolder.metadataKey).flatMap(RBDHolder.init(metadata:))
        }

        /// A value of the image's metadata, of at most 64 KiB; nil where there is none.
        func metadata(_ key: String) async throws(StorageError) -> String? {
            unsafe try await call("rbd_metadata_get", "read metadata") { handle throws(SystemError) in
                var value = [CChar](repeating: 0, count: 64 << 10)
                var count = value.count
                let result = unsafe rbd_metadata_get(handle, key, &value, &count)
                if result == -ENOENT { return nil }
                try rbdChecked("rbd_metadata_get", Int(result))
                return String(upToZero: value.prefix(count))
            }
        }

        func setMetadata(_ key: String, _ value: String) async throws(StorageError) {
            unsafe try await call("rbd_metadata_set", "write metadata") { handle throws(SystemError) in
                _ = try rbdChecked("rbd_metadata_set", Int(unsafe rbd_metadata_set(handle, key, value)))
            }
        }

        /// Removes a value; one that is not there is removed already.
        func removeMetadata(_ key: String) async throws(StorageError) {
            unsafe try await call("rbd_metadata_remove", "write metadata") { handle throws(SystemError) in
                let result = unsafe rbd_metadata_remove(handle, key)
                if result != -ENOENT { try rbdChecked("rbd_metadata_remove", Int(result)) }
            }
        }
    }
#endif
