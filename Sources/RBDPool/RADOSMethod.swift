#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import SystemPackage

    /// A method of Ceph's class for images that only reads, and its argument.
    struct RADOSMethod: Sendable {
        typealias Answer = Result<[UInt8], SystemError>

        var name: String
        var input: [UInt8]

        init(_ name: String, _ input: [UInt8]) { (self.name, self.input) = (name, input) }
    }

    extension RBDConnection {
        /// So many objects are asked at once.
        private static let requestsInFlight = 128

        /// Runs methods on objects, those of one object in one request, many objects at once. Nil for an object that is
        /// not there.
        func execute(
            _ requests: [(object: String, methods: [RADOSMethod])], _ what: String
        ) async throws(StorageError) -> [[RADOSMethod.Answer]?] {
            var answers: [[RADOSMethod.Answer]?] = []
            answers.reserveCapacity(requests.count)
            var rest = requests[...]
            while !rest.isEmpty {
                let part = rest.prefix(Self.requestsInFlight)
                rest = rest.dropFirst(part.count)
                answers += try await call("rados_aio_read_op_operate", what, at: part.first?.object ?? "") {
                    connection throws(SystemError) in
                    let running = part.map { RADOSExecution($0.object, $0.methods, connection) }
                    // All of them end before their memory goes.
                    let results = running.map { $0.wait() }
                    var answers: [[RADOSMethod.Answer]?] = []
                    for result in results { answers.append(try result.get()) }
                    return answers
                }
            }
            return answers
        }
    }

    /// Methods that are being run on one object.
    @safe
    private final class RADOSExecution {
        // Sound: librados writes into this memory until the completion, which `wait` waits for before anything is freed.
        private let operation: rados_read_op_t?
        private var completion: rados_completion_t?
        private let methods: [RADOSMethod]
        private let outputs: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
        private let counts: UnsafeMutablePointer<Int>
        private let results: UnsafeMutablePointer<Int32>
        private var submitted: Int32

        init(_ object: String, _ methods: [RADOSMethod], _ connection: RBDConnection) {
            self.methods = methods
            let count = max(1, methods.count)
            unsafe outputs = .allocate(capacity: count)
            unsafe counts = .allocate(capacity: count)
            unsafe results = .allocate(capacity: count)
            unsafe outputs.initialize(repeating: nil, count: count)
            unsafe counts.initialize(repeating: 0, count: count)
            unsafe results.initialize(repeating: 0, count: count)
            unsafe operation = rados_create_read_op()
            submitted = -ENOMEM
            guard let operation = unsafe operation else { return }
            for (index, method) in methods.enumerated() {
                let input = RADOSBytes([method.input])
                unsafe rados_read_op_exec(
                    operation, "rbd", method.name, input.pointers[0], method.input.count, outputs + index,
                    counts + index, results + index)
                // One that fails does not keep the others from being run.
                unsafe rados_read_op_set_flags(operation, Int32(LIBRADOS_OP_FLAG_FAILOK))
            }
            submitted = unsafe rados_aio_create_completion2(nil, nil, &completion)
            guard submitted == 0 else { return }
            submitted = unsafe rados_aio_read_op_operate(operation, connection.pool, completion, object, 0)
        }

        /// Waits for the answers; nil where there is no such object.
        func wait() -> Result<[RADOSMethod.Answer]?, SystemError> {
            var result = Int(submitted)
            if submitted == 0 {
                unsafe rados_aio_wait_for_complete(completion)
                result = Int(unsafe rados_aio_get_return_value(completion))
            }
            if result == -Int(ENOENT) { return .success(nil) }
            if result < 0 {
                return .failure(
                    SystemError(Errno(rawValue: CInt(truncatingIfNeeded: 0 &- result)), "rados_aio_read_op_operate"))
            }
            return .success(
                methods.indices.map { index in
                    let failure = unsafe results[index]
                    if failure < 0 {
                        return .failure(SystemError(Errno(rawValue: 0 &- failure), "rbd.\(methods[index].name)"))
                    }
                    return unsafe .success(
                        [UInt8](
                            UnsafeRawBufferPointer(
                                start: outputs[index], count: outputs[index] == nil ? 0 : counts[index])))
                })
        }

        deinit {
            for index in methods.indices { unsafe rados_buffer_free(outputs[index]) }
            if let completion = unsafe completion { unsafe rados_aio_release(completion) }
            if let operation = unsafe operation { unsafe rados_release_read_op(operation) }
            unsafe outputs.deallocate()
            unsafe counts.deallocate()
            unsafe results.deallocate()
        }
    }
#endif
