#if RBD
    import BlockStorage
    import IORuntime

    /// The names of the pool's images, as librbd keeps them: the object `rbd_directory` maps names to ids and back, and
    /// changes in one step. What it does not list is no image: a call that died may have left other objects.
    struct RBDDirectory: Sendable {
        let connection: RBDConnection

        private var object: RADOSObject { RADOSObject(connection: connection, name: "rbd_directory") }
        private static let namePrefix = "name_"
        private static let idPrefix = "id_"

        /// The id of the image of that name; nil where there is none.
        func id(of name: String, _ what: String) async throws(StorageError) -> String? {
            try await string(Self.namePrefix + name, what)
        }

        /// The name of the image with that id; nil where there is none.
        func name(of id: String, _ what: String) async throws(StorageError) -> String? {
            try await string(Self.idPrefix + id, what)
        }

        /// All images: names by ids.
        func names(_ what: String) async throws(StorageError) -> [String: String] {
            var names: [String: String] = [:]
            for (key, value) in try await object.allValues(prefix: Self.idPrefix, what) ?? [:] {
                names[String(key.dropFirst(Self.idPrefix.count))] = try decode(value, what)
            }
            return names
        }

        /// The id that the object of a name holds: it is made before the image is listed under it, and removed after.
        func claimedID(of name: String, _ what: String) async throws(StorageError) -> String? {
            guard let data = try await claim(of: name).data(what) else { return nil }
            return try decode(data, what)
        }

        /// Removes the object of a name under which no image is listed.
        func removeClaim(of name: String, _ what: String) async throws(StorageError) {
            try await claim(of: name).remove(what)
        }

        /// Takes an image off the list.
        func remove(_ name: String, id: String, _ what: String) async throws(StorageError) {
            _ = try await object.execute(
                "dir_remove_image", CephDecoder.encode(name) + CephDecoder.encode(id), what)
        }

        private func claim(of name: String) -> RADOSObject {
            RADOSObject(connection: connection, name: "rbd_id.\(name)")
        }

        private func string(_ key: String, _ what: String) async throws(StorageError) -> String? {
            guard let value = try await object.values(of: [key], what)?[key] else { return nil }
            return try decode(value, what)
        }

        private func decode(_ value: [UInt8], _ what: String) throws(StorageError) -> String {
            var decoder = CephDecoder(value)
            do throws(SystemError) {
                return try decoder.string()
            } catch {
                throw StorageError(
                    .corrupt, what, at: "\(connection.settings.pool)/\(object.name)", why: "an entry is not a string")
            }
        }
    }
#endif
