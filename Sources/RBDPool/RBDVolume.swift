#if RBD
    import BlockStorage
    import CRBD
    import Glibc
    import IORuntime
    import Synchronization
    import SystemPackage

    /// An image, or a snapshot of one, that is open.
    ///
    /// Every request has the pool's deadline. librbd cannot take a request back: one that is late ends with `timedOut`
    /// while librbd goes on, and after a late change everything throws `timedOut` until the cluster has answered that
    /// change, so that it can fall on nothing newer. A cancelled read ends at once; a cancelled change is waited for.
    public final class RBDVolume: ResizableVolume {
        let image: RBDImage
        /// Nil for a volume that is open for reading only.
        let lock: RBDLock?
        private let requests: RBDRequests
        private let size: Atomic<UInt64>
        private let isClosed = Atomic(false)
        /// The first failed flush. One that was only late is not one: what it was to write is still there.
        private let flushFailure = Locked<StorageError?>(nil)
        private let hasFastExtents: Bool

        /// A discard or zeroing of more is done in parts, because librbd begins it for every object at once.
        private static let largestRange: UInt64 = 1 << 30
        /// Objects are looked through this far at a time.
        static let largestMap: UInt64 = 64 << 30

        /// Opens an image or a snapshot of it. `.exclusive` takes the image's exclusive lock; see `RBDLock`.
        static func open(
            _ name: RBDImage.Name, snapshot: String? = nil, mode: OpenMode,
            _ connection: RBDConnection
        ) async throws(StorageError) -> RBDVolume {
            let isExclusive = mode == .exclusive && snapshot == nil
            var image = try await RBDImage.open(name, snapshot: snapshot, isReadOnly: !isExclusive, connection)
            do throws(StorageError) {
                if isExclusive, try await RBDLock.enable(on: image) {
                    try await image.close()
                    image = try await RBDImage.open(name, isReadOnly: false, connection)
                }
                let lock = isExclusive ? try await RBDLock.acquire(image) : nil
                let size = unsafe try await image.call("rbd_get_size", "open volume") { handle throws(SystemError) in
                    var size: UInt64 = 0
                    try rbdChecked("rbd_get_size", Int(unsafe rbd_get_size(handle, &size)))
                    return size
                }
                return try await RBDVolume(image, lock, size: size, hasFastExtents: image.hasFastDifferences())
            } catch {
                try? await image.close()
                throw error
            }
        }

        private init(
            _ image: RBDImage, _ lock: RBDLock?, size: UInt64, hasFastExtents: Bool
        ) throws(StorageError) {
            (self.image, self.lock, self.hasFastExtents) = (image, lock, hasFastExtents)
            self.size = Atomic(size)
            requests = try RBDRequests(image)
        }

        deinit { requests.stop() }

        public var geometry: VolumeGeometry {
            VolumeGeometry(
                size: size.load(ordering: .acquiring), largestTransfer: 32 << 20, isReadOnly: image.isReadOnly)
        }

        /// Whether `close` has not been called.
        var isOpen: Bool { !isClosed.load(ordering: .acquiring) }

        public var stack: String { "rbd:\(image.connection.settings.pool)/\(image.name)" }

        public func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
            let byteCount = buffer.byteCount
            guard byteCount > 0 else { return try checkOpen(offset, 0) }
            try await read(0..<byteCount, of: byteCount, at: offset).copy(to: &buffer)
        }

        public func read(
            into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64
        ) async throws(StorageError) {
            guard part.count > 0 else { return try checkOpen(offset, 0) }
            try await read(part, of: buffer.byteCount, at: offset).exchange(&buffer)
        }

        /// Reads into part of a buffer of the request's own, of that many bytes.
        private func read(
            _ part: Range<Int>, of bufferByteCount: Int, at offset: UInt64
        ) async throws(StorageError) -> RBDRequest {
            try checkOpen(offset, part.count)
            precondition(part.lowerBound >= 0 && part.upperBound <= bufferByteCount, "a part outside of the buffer")
            let request = unsafe try start(.read, byteCount: bufferByteCount) { image, completion, memory in
                let target = unsafe memory.baseAddress?.advanced(by: part.lowerBound)
                return unsafe rbd_aio_read(
                    image, offset, part.count, target?.assumingMemoryBound(to: CChar.self), completion)
            }
            let done = try await finish(request)
            guard done == part.count else {
                throw StorageError(
                    .inputOutput, "read", at: stack, why: "the image ends at byte \(offset + UInt64(done))")
            }
            return request
        }

        public func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
            try checkOpen(offset, bytes.byteCount)
            try geometry.checkWritable()
            if bytes.byteCount > 0 {
                // librbd copies the bytes before it returns: see `rbd_disable_zero_copy_writes`.
                let memory = unsafe bytes.pinned
                let request = unsafe try start(.write) { image, completion, _ in
                    unsafe rbd_aio_write(
                        image, offset, memory.count, memory.baseAddress?.assumingMemoryBound(to: CChar.self),
                        completion)
                }
                try await finish(request)
            }
            if options.contains(.forceUnitAccess) { try await flush() }
        }

        public func flush() async throws(StorageError) {
            try checkOpen(0, 0)
            if image.isReadOnly { return }
            try checkFlushes()
            let request = unsafe try start(.flush) { image, completion, _ in unsafe rbd_aio_flush(image, completion) }
            do throws(StorageError) {
                try await finish(request)
            } catch {
                if error.code != .timedOut { flushFailure.withLock { $0 = $0 ?? error } }
                throw error
            }
            // Another one may have failed meanwhile.
            try checkFlushes()
        }

        /// Throws the error of a flush that failed, also of one that failed when nobody waited for it any more.
        private func checkFlushes() throws(StorageError) {
            if let number = requests.lateFlushFailure {
                let error = SystemError(Errno(rawValue: CInt(truncatingIfNeeded: -number)), "rbd_aio_flush")
                let late = image.connection.error(error, "flush", at: image.name)
                flushFailure.withLock { $0 = $0 ?? late }
            }
            if let failure = flushFailure.withLock({ $0 }) { throw failure }
        }

        /// Frees the objects in the range. Parts of objects stay as they are, unless they are at the end of one.
        public func discard(_ range: Range<UInt64>) async throws(StorageError) {
            try checkWritable(range)
            for part in range.parts(of: Self.largestRange) {
                unsafe try await finish(
                    start(.discard) { image, completion, _ in
                        unsafe rbd_aio_discard(image, part.lowerBound, UInt64(part.count), completion)
                    })
            }
        }

        public func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
            try checkWritable(range)
            let flags = options.contains(.keepAllocated) ? RBDFeatures.thickZeroes : 0
            for part in range.parts(of: Self.largestRange) {
                unsafe try await finish(
                    start(.writeZeroes) { image, completion, _ in
                        unsafe rbd_aio_write_zeroes(image, part.lowerBound, part.count, completion, flags, 0)
                    })
            }
            if options.contains(.forceUnitAccess) { try await flush() }
        }

        public func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
            try checkOpen(range.lowerBound, Int(clamping: range.upperBound - range.lowerBound))
            var map = RBDExtents(range)
            for part in range.parts(of: Self.largestMap) {
                map.add(try await image.difference(in: part, since: nil, isFast: hasFastExtents))
            }
            return map.finished()
        }

        public func resize(to size: UInt64) async throws(StorageError) {
            try checkOpen(0, 0)
            try geometry.checkWritable()
            try await image.resize(to: size, allowShrink: true)
            self.size.store(size, ordering: .releasing)
        }

        public func close() async throws(StorageError) {
            if isClosed.exchange(true, ordering: .acquiringAndReleasing) { return }
            try await uncancelled { () async throws(StorageError) in try await self.closeOnce() }
        }

        private func closeOnce() async throws(StorageError) {
            var failure: StorageError?
            do throws(StorageError) { try checkFlushes() } catch { failure = error }
            if await requests.settle(), !image.isReadOnly, failure == nil {
                do throws(StorageError) {
                    let request = unsafe try start(.flush) { image, completion, _ in
                        unsafe rbd_aio_flush(image, completion)
                    }
                    try await finish(request)
                } catch {
                    failure = error
                }
            }
            let isSettled = await requests.settle(andStop: true)
            requests.stop()
            if isSettled {
                do throws(StorageError) { try await letGo() } catch { failure = failure ?? error }
            } else {
                // librbd still has something that is late: the image closes after that.
                Task.detached { try? await self.letGo() }
                failure =
                    failure
                    ?? StorageError(
                        .timedOut, "close volume", at: stack,
                        why: "the cluster has not answered a request: the volume closes when it does")
            }
            if let failure { throw failure }
        }

        /// Gives the lock and the image back, once nothing is in flight.
        private func letGo() async throws(StorageError) {
            await requests.ended()
            var failure: StorageError?
            do throws(StorageError) { try await lock?.release() } catch { failure = error }
            do throws(StorageError) { try await image.close() } catch { failure = failure ?? error }
            if let failure { throw failure }
        }

        // MARK: -

        private func start(
            _ call: RBDRequest.Call, byteCount: Int = 0,
            _ submit: (rbd_image_t, rbd_completion_t, UnsafeMutableRawBufferPointer) -> Int32
        ) throws(StorageError) -> RBDRequest {
            if Task.isCancelled { throw StorageError(.cancelled, call.what, at: stack) }
            do throws(SystemError) {
                return unsafe try requests.start(call, byteCount: byteCount, submit)
            } catch {
                throw failure(error, call)
            }
        }

        @discardableResult
        private func finish(_ request: RBDRequest) async throws(StorageError) -> Int {
            let result = await request.result()
            if result >= 0 { return result }
            throw failure(
                SystemError(Errno(rawValue: CInt(truncatingIfNeeded: -result)), request.call.rawValue), request.call)
        }

        private func failure(_ error: SystemError, _ call: RBDRequest.Call) -> StorageError {
            switch error.errno {
            case .readOnlyFileSystem where lock != nil:
                StorageError(
                    .fenced, call.what, at: stack, why: "another client has taken the image's exclusive lock over")
            case .timedOut where requests.isShut:
                StorageError(
                    .timedOut, call.what, at: stack,
                    why: "the cluster has not answered a write: nothing is done before it has")
            default: image.connection.error(error, call.what, at: image.name)
            }
        }

        private func checkOpen(_ offset: UInt64, _ byteCount: Int) throws(StorageError) {
            if isClosed.load(ordering: .acquiring) {
                throw StorageError(.notAttached, "access volume", at: stack, why: "the volume is closed")
            }
            try geometry.check(offset, byteCount)
        }

        private func checkWritable(_ range: Range<UInt64>) throws(StorageError) {
            try checkOpen(0, 0)
            try geometry.checkWritable()
            try geometry.check(range)
        }
    }

    extension RBDRequest.Call {
        /// As errors say it.
        fileprivate var what: String {
            switch self {
            case .read: "read"
            case .write: "write"
            case .flush: "flush"
            case .discard: "discard"
            case .writeZeroes: "write zeros"
            }
        }
    }

    /// Constants whose C forms are macros that Swift does not see.
    enum RBDFeatures {
        static let layering: UInt64 = 1 << 0
        static let exclusiveLock: UInt64 = 1 << 2
        static let objectMap: UInt64 = 1 << 3
        static let fastDiff: UInt64 = 1 << 4
        static let deepFlatten: UInt64 = 1 << 5
        static let dataPool: UInt64 = 1 << 7
        /// Of an image's flags: the object map or the fast differences do not hold.
        static let invalidMaps: UInt64 = 1 << 0 | 1 << 1
        /// Of `rbd_aio_write_zeroes`: allocate the space.
        static let thickZeroes: Int32 = 1 << 0
    }
#endif
