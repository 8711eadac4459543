#if RBD
    import BlockStorage
    import CRBD
    import IORuntime
    import SystemPackage

    /// An open image. It closes when nobody refers to it any more, or by `close`.
    @safe
    final class RBDImage: @unchecked Sendable {
        /// What to open.
        struct Name: Sendable {
            let id: String
            /// For people, and in errors.
            let text: String

            static func id(_ id: String, name: String? = nil) -> Name { Name(id: id, text: name ?? id) }
        }

        // Sound: open for as long as this object, which every call holds; librbd locks for itself.
        var handle: rbd_image_t { unsafe opened.handle }
        let connection: RBDConnection
        /// For people, and in errors: the image's name when it was opened.
        let name: String
        let isReadOnly: Bool
        private let opened: Opened
        private let use = Locked(Use())

        /// Calls that run, though nobody may wait for them any more, and whether the image is to be closed after them.
        private struct Use: Sendable {
            var calls = 0
            var isClosing = false
            var isClosed = false

            /// Whether it is to be closed now, which it is from then on.
            mutating func takeClose() -> Bool {
                guard isClosing, !isClosed, calls == 0 else { return false }
                isClosed = true
                return true
            }
        }
        /// What librbd counts finished requests with, from `startEvents` to the image's end.
        private let events = Locked<EventCounter?>(nil)

        /// Opens an image, or a snapshot of it, which can only be read. One that is open for writing is watched, so that
        /// others see it.
        static func open(
            _ name: Name, snapshot: String? = nil, isReadOnly: Bool,
            _ connection: RBDConnection, what: String = "open volume"
        ) async throws(StorageError) -> RBDImage {
            let place = name.text + (snapshot.map { "@\($0)" } ?? "")
            let opened = try await connection.call(
                "rbd_open", what, at: place,
                ifLate: { (opened: Opened) in opened.close() }
            ) { connection throws(SystemError) in
                var made: rbd_image_t?
                let result =
                    isReadOnly
                    ? unsafe rbd_open_by_id_read_only(connection.pool, name.id, &made, snapshot)
                    : unsafe rbd_open_by_id(connection.pool, name.id, &made, snapshot)
                try rbdChecked("rbd_open", Int(result))
                guard let handle = unsafe made else { throw SystemError(.noMemory, "rbd_open") }
                return unsafe Opened(handle: handle)
            }
            return RBDImage(opened, connection, name: name.text, isReadOnly: isReadOnly || snapshot != nil)
        }

        /// What librbd has open, and since when.
        ///
        /// `ImageState::complete_action_unlock` wakes who waits for an image to open, and then looks at the image once more,
        /// on another thread, which may take a while on a busy host. An image that has been closed and freed by then is
        /// memory of somebody else's, which it changes (16.2.15). So no image is closed right after it was opened.
        @safe
        private struct Opened: @unchecked Sendable {
            // Sound: see `RBDImage.handle`.
            let handle: rbd_image_t
            private let time = MonotonicTime.nanoseconds()

            init(handle: rbd_image_t) { unsafe self.handle = handle }

            private func rest(of limit: Duration) -> Duration {
                max(.zero, limit - .nanoseconds(MonotonicTime.nanoseconds() - time))
            }

            /// Closes it, on a thread that may block. What was opened for writing is waited for: a little while only, as
            /// closing takes some, too.
            @discardableResult
            func close() -> Int32 {
                usleep(UInt32(clamping: rest(of: .milliseconds(20)).components.attoseconds / 1_000_000_000_000))
                return unsafe rbd_close(handle)
            }

            /// Calls `body`, which closes it, on a thread that may block, after a long while: nobody else sees whether an
            /// image is open that is only read.
            func later(_ connection: RBDConnection, _ body: @escaping @Sendable () -> Void) {
                Task.detached {
                    await IOExecutor.sleep(for: rest(of: .seconds(1)))
                    connection.blocking.enqueue(body)
                }
            }
        }

        private init(_ opened: Opened, _ connection: RBDConnection, name: String, isReadOnly: Bool) {
            (self.opened, self.connection, self.name, self.isReadOnly) = (opened, connection, name, isReadOnly)
        }

        deinit {
            guard !use.withLock({ $0.isClosing }) else { return }
            let opened = opened
            let connection = connection
            let events = events.withLock { $0 }
            let close = { @Sendable in
                opened.close()
                // Not before the image is closed.
                withExtendedLifetime((connection, events)) {}
            }
            if isReadOnly { opened.later(connection, close) } else { connection.blocking.enqueue(close) }
        }

        /// Runs calls on the image that block.
        func call<Result: Sendable>(
            _ name: String, _ what: String, mustRun: Bool = false,
            _ body: @escaping @Sendable (rbd_image_t) throws(SystemError) -> Result
        ) async throws(StorageError) -> Result {
            try await connection.call(name, what, at: self.name, mustRun: mustRun) { _ throws(SystemError) in
                try self.begin()
                defer { self.end() }
                return try unsafe body(self.handle)
            }
        }

        private func begin() throws(SystemError) {
            let isOpen = use.withLock { use in
                if !use.isClosing { use.calls += 1 }
                return !use.isClosing
            }
            if !isOpen { throw SystemError(.badFileDescriptor, "the image is closed") }
        }

        /// The last call closes an image that is to be closed: also one that was late, and whose caller has done that.
        private func end() {
            let isLast = use.withLock { use in
                use.calls -= 1
                return use.takeClose()
            }
            if isLast { opened.close() }
        }

        /// As `call`, for what may take long: `body` gives librbd `rbdProgress` and the pointer that it gets.
        func longCall<Result: Sendable>(
            _ name: String, _ what: String,
            _ body: @escaping @Sendable (rbd_image_t, UnsafeMutableRawPointer) throws(SystemError) -> Result
        ) async throws(StorageError) -> Result {
            unsafe try await connection.longCall(name, what, at: self.name) { _, progress throws(SystemError) in
                try self.begin()
                defer { self.end() }
                return try unsafe body(self.handle, progress)
            }
        }

        /// Closes the image, once; no request may be in flight. It is closed however late, though the call ends at the
        /// deadline, and not before calls that are late themselves have ended.
        func close() async throws(StorageError) {
            let isFirst = use.withLock { use in
                defer { use.isClosing = true }
                return !use.isClosing
            }
            guard isFirst else { return }
            if isReadOnly {
                return opened.later(connection) { if self.use.withLock({ $0.takeClose() }) { self.opened.close() } }
            }
            try await connection.call("rbd_close", "close volume", at: name, mustRun: true) { _ throws(SystemError) in
                guard self.use.withLock({ $0.takeClose() }) else { return }
                try rbdChecked("rbd_close", Int(self.opened.close()))
            }
        }

        /// Has librbd count finished asynchronous requests, from now on. Once.
        func startEvents() throws(StorageError) -> EventCounter {
            do throws(SystemError) {
                let counter = try EventCounter()
                events.withLock { $0 = counter }
                let result = unsafe rbd_set_image_notification(handle, counter.descriptor, Int32(EVENT_TYPE_EVENTFD))
                try rbdChecked("rbd_set_image_notification", Int(result))
                return counter
            } catch {
                throw connection.error(error, "open volume", at: name)
            }
        }
    }

    /// Tells of a call's progress. (librbd calls what it is given for that unchecked, also where it is nothing.)
    let rbdProgress: librbd_progress_fn_t = { _, _, progress in
        guard let progress = unsafe progress else { return 0 }
        // Sound: the call's body holds it until librbd has returned.
        unsafe Unmanaged<CallProgress>.fromOpaque(progress).takeUnretainedValue().advance()
        return 0
    }

    extension RBDConnection {
        /// As `call`, for what may take long: `body` gives librbd `rbdProgress` and the pointer that it gets.
        func longCall<Result: Sendable>(
            _ name: String, _ what: String, at place: String,
            _ body: @escaping @Sendable (RBDConnection, UnsafeMutableRawPointer) throws(SystemError) -> Result
        ) async throws(StorageError) -> Result {
            let progress = CallProgress(blocking)
            return try await call(name, what, at: place, progress: progress) { connection throws(SystemError) in
                let pointer = unsafe Unmanaged.passUnretained(progress).toOpaque()
                defer { withExtendedLifetime(progress) {} }
                return unsafe try body(connection, pointer)
            }
        }

        /// Runs `body` with an image that is open for that long.
        func withImage<Result>(
            _ name: RBDImage.Name, snapshot: String? = nil, isReadOnly: Bool = true, _ what: String,
            _ body: (RBDImage) async throws(StorageError) -> Result
        ) async throws(StorageError) -> Result {
            let image = try await RBDImage.open(name, snapshot: snapshot, isReadOnly: isReadOnly, self, what: what)
            let result: Swift.Result<Result, StorageError>
            do throws(StorageError) {
                result = .success(try await body(image))
            } catch {
                result = .failure(error)
            }
            // What was done is done; an image that does not close in time is nobody's any more.
            try? await image.close()
            return try result.get()
        }
    }
#endif
