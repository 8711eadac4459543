#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import SystemPackage

    /// An object in the pool, as far as Sluice looks at objects itself: its map of keys and values, and the methods that
    /// Ceph's object classes give it. Each of these calls is one request to one OSD.
    struct RADOSObject: Sendable {
        let connection: RBDConnection
        let name: String

        typealias Values = [String: [UInt8]]

        /// Values of the object's map by their keys; those that there are. Nil where there is no object.
        func values(of keys: [String], _ what: String) async throws(StorageError) -> Values? {
            unsafe try await read(what) { operation, iterator in
                let list = RADOSKeys(keys)
                unsafe rados_read_op_omap_get_vals_by_keys2(
                    operation, list.pointers, keys.count, list.byteCounts, iterator, nil)
                // librados has copied them.
            }?.values
        }

        /// All of the map whose keys begin with `prefix`, in many requests where it is large.
        func allValues(prefix: String = "", _ what: String) async throws(StorageError) -> Values? {
            var all: Values = [:]
            var last = ""
            while true {
                let start = last
                let page = unsafe try await read(what) { operation, iterator in
                    unsafe rados_read_op_omap_get_vals2(
                        operation, start, prefix, Self.pageSize, iterator, nil, nil)
                }
                guard let page else { return nil }
                all.merge(page.values) { _, new in new }
                guard let next = page.last else { return all }
                // A key with a NUL, which ends where it is asked for what follows it.
                guard next != last else { throw Self.notText(name, what) }
                last = next
            }
        }

        private static func notText(_ name: String, _ what: String) -> StorageError {
            StorageError(.corrupt, what, at: name, why: "a key of its map is no text")
        }

        private static let pageSize: UInt64 = 1024

        private func read(
            _ what: String,
            _ prepare: @escaping @Sendable (rados_read_op_t, UnsafeMutablePointer<rados_omap_iter_t?>) -> Void
        ) async throws(StorageError) -> (values: Values, last: String?)? {
            try await connection.call("rados_read_op_operate", what, at: name) { connection throws(SystemError) in
                guard let operation = unsafe rados_create_read_op() else {
                    throw SystemError(.noMemory, "rados_create_read_op")
                }
                var iterator: rados_omap_iter_t?
                // Sound: librados fills the iterator during `operate`, and both outlive that.
                defer {
                    if let iterator = unsafe iterator { unsafe rados_omap_get_end(iterator) }
                    unsafe rados_release_read_op(operation)
                }
                unsafe prepare(operation, &iterator)
                let result = unsafe rados_read_op_operate(operation, connection.pool, name, 0)
                if result == -ENOENT { return nil }
                try rbdChecked("rados_read_op_operate", Int(result))
                var values: Values = [:]
                var last: String?
                while true {
                    var key: UnsafeMutablePointer<CChar>?
                    var value: UnsafeMutablePointer<CChar>?
                    var (keyCount, valueCount) = (0, 0)
                    try rbdChecked(
                        "rados_omap_get_next",
                        Int(unsafe rados_omap_get_next2(iterator, &key, &value, &keyCount, &valueCount)))
                    guard let key = unsafe key else { break }
                    guard
                        let text = unsafe String(
                            validating: UnsafeRawBufferPointer(start: key, count: keyCount), as: UTF8.self)
                    else { throw SystemError(.illegalByteSequence, "a key that is no text") }
                    values[text] = unsafe [UInt8](UnsafeRawBufferPointer(start: value, count: valueCount))
                    last = text
                }
                return (values, last)
            }
        }

        /// Changes the map in one step, if `key` has the value `expected` then (nothing, where that is empty). Returns
        /// false, and changes nothing, where it has another. The object must be there.
        func replace(
            ifValueOf key: String, is expected: [UInt8], set: Values, remove: [String], _ what: String
        ) async throws(StorageError) -> Bool {
            try await connection.call("rados_write_op_operate", what, at: name) { connection throws(SystemError) in
                guard let operation = unsafe rados_create_write_op() else {
                    throw SystemError(.noMemory, "rados_create_write_op")
                }
                defer { unsafe rados_release_write_op(operation) }
                let (compared, new) = (RADOSBytes([expected]), RADOSBytes(set.map(\.value)))
                let (newKeys, oldKeys) = (RADOSKeys(set.map(\.key)), RADOSKeys(remove))
                unsafe rados_write_op_omap_cmp2(
                    operation, key, UInt8(LIBRADOS_CMPXATTR_OP_EQ), compared.pointers[0], key.utf8.count,
                    expected.count, nil)
                if !set.isEmpty {
                    unsafe rados_write_op_omap_set2(
                        operation, newKeys.pointers, new.pointers, newKeys.byteCounts, new.byteCounts, set.count)
                }
                if !remove.isEmpty {
                    unsafe rados_write_op_omap_rm_keys2(
                        operation, oldKeys.pointers, oldKeys.byteCounts, remove.count)
                }
                let result = unsafe rados_write_op_operate(operation, connection.pool, name, nil, 0)
                if result == -ECANCELED { return false }
                try rbdChecked("rados_write_op_operate", Int(result))
                return true
            }
        }

        /// Makes the object, where it is not there.
        func create(_ what: String) async throws(StorageError) {
            try await connection.call("rados_write_op_operate", what, at: name) { connection throws(SystemError) in
                guard let operation = unsafe rados_create_write_op() else {
                    throw SystemError(.noMemory, "rados_create_write_op")
                }
                defer { unsafe rados_release_write_op(operation) }
                unsafe rados_write_op_create(operation, Int32(LIBRADOS_CREATE_IDEMPOTENT), nil)
                let result = unsafe rados_write_op_operate(operation, connection.pool, name, nil, 0)
                _ = try rbdChecked("rados_write_op_operate", Int(result))
            }
        }

        /// The object's data, if that is at most 4 KiB; nil where there is no object.
        func data(_ what: String) async throws(StorageError) -> [UInt8]? {
            try await connection.call("rados_read", what, at: name) { connection throws(SystemError) in
                var bytes = [CChar](repeating: 0, count: 4096)
                let result = unsafe rados_read(connection.pool, name, &bytes, bytes.count, 0)
                if result == -ENOENT { return nil }
                let count = try rbdChecked("rados_read", Int(result))
                return bytes.prefix(count).map { UInt8(bitPattern: $0) }
            }
        }

        /// Removes the object; one that is not there is removed already.
        func remove(_ what: String) async throws(StorageError) {
            try await connection.call("rados_remove", what, at: name) { connection throws(SystemError) in
                let result = unsafe rados_remove(connection.pool, name)
                if result != -ENOENT { try rbdChecked("rados_remove", Int(result)) }
            }
        }

        /// Runs a method of an object class, whose answer is at most 64 KiB; nil where there is no object.
        func execute(
            _ method: String, of objectClass: String = "rbd", _ input: [UInt8], _ what: String
        ) async throws(StorageError) -> [UInt8]? {
            try await connection.call("rados_exec", what, at: name) { connection throws(SystemError) in
                let argument = RADOSBytes([input])
                var output = [CChar](repeating: 0, count: 64 << 10)
                let result = unsafe rados_exec(
                    connection.pool, name, objectClass, method, argument.pointers[0], input.count, &output,
                    output.count)
                if result == -ENOENT { return nil }
                let count = try rbdChecked("\(objectClass).\(method)", Int(result))
                return output.prefix(count).map { UInt8(bitPattern: $0) }
            }
        }
    }

    /// Byte strings as librados takes them: pointers and counts that live as long as this does.
    @safe
    final class RADOSBytes {
        // Sound: allocated here, written once, and freed with this object.
        let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>
        let byteCounts: UnsafeMutablePointer<Int>
        private let storage: UnsafeMutablePointer<CChar>

        init(_ strings: [[UInt8]]) {
            let total = strings.reduce(0) { $0 + $1.count }
            unsafe storage = .allocate(capacity: max(1, total))
            unsafe pointers = .allocate(capacity: max(1, strings.count))
            unsafe byteCounts = .allocate(capacity: max(1, strings.count))
            var position = 0
            for (index, string) in strings.enumerated() {
                unsafe (pointers + index).initialize(to: UnsafePointer(storage + position))
                unsafe (byteCounts + index).initialize(to: string.count)
                for byte in string {
                    unsafe (storage + position).initialize(to: CChar(bitPattern: byte))
                    position += 1
                }
            }
        }

        deinit {
            unsafe storage.deallocate()
            unsafe pointers.deallocate()
            unsafe byteCounts.deallocate()
        }
    }

    /// Keys of an object's map.
    func RADOSKeys(_ keys: [String]) -> RADOSBytes { RADOSBytes(keys.map { Array($0.utf8) }) }
#endif
