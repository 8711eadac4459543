#if ISCSI
    import BlockStorage
    import IORuntime
    import QCOW2

    /// A unit that is open, which the pool can have pause its writes, and asks what follows when it is closed.
    final class UnitVolume: ResizableVolume {
        /// The unit itself, or the image on it.
        private let base: any Volume
        private let unit: ISCSIVolume
        let gate = WriteGate()
        let isImage: Bool
        private let grow: (@Sendable (UInt64) async throws(StorageError) -> Void)?
        private let leave: @Sendable () async throws(StorageError) -> Void
        private enum Phase { case open, closing, closed }

        private let phase = Locked(Phase.open)

        /// `grow` makes the unit larger; nil where that is not for whoever has it open. `leave` is called once, after
        /// the session has ended.
        init(
            _ base: any Volume, on unit: ISCSIVolume,
            grow: (@Sendable (UInt64) async throws(StorageError) -> Void)? = nil,
            leave: @escaping @Sendable () async throws(StorageError) -> Void
        ) {
            (self.base, self.unit, self.grow, self.leave) = (base, unit, grow, leave)
            isImage = base is QCOW2Volume
        }

        var isOpen: Bool { phase.withLock { $0 == .open } }

        /// Whether something of it may still be under way: it is open, or closing.
        var isPresent: Bool { phase.withLock { $0 != .closed } }

        var geometry: VolumeGeometry { base.geometry }
        var stack: String { base.stack }

        func read(into buffer: inout MutableRawSpan, at offset: UInt64) async throws(StorageError) {
            try await base.read(into: &buffer, at: offset)
        }

        func read(into buffer: inout IOBuffer, _ part: Range<Int>, at offset: UInt64) async throws(StorageError) {
            try await base.read(into: &buffer, part, at: offset)
        }

        func write(_ bytes: RawSpan, at offset: UInt64, options: WriteOptions) async throws(StorageError) {
            await gate.enter()
            defer { gate.leave() }
            try await base.write(bytes, at: offset, options: options)
        }

        func readv(_ vector: IOVector) async throws(StorageError) { try await base.readv(vector) }

        func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
            await gate.enter()
            defer { gate.leave() }
            try await base.writev(vector, options: options)
        }

        func flush() async throws(StorageError) { try await base.flush() }

        func discard(_ range: Range<UInt64>) async throws(StorageError) {
            await gate.enter()
            defer { gate.leave() }
            try await base.discard(range)
        }

        func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
            await gate.enter()
            defer { gate.leave() }
            try await base.writeZeroes(range, options: options)
        }

        func extents(in range: Range<UInt64>) async throws(StorageError) -> [Extent] {
            try await base.extents(in: range)
        }

        func resize(to size: UInt64) async throws(StorageError) {
            guard let grow else {
                throw StorageError(.notSupported, "resize volume", at: stack, why: "the pool resizes it")
            }
            try await grow(size)
            try await unit.rescan()
        }

        /// Has the session see that the unit has grown.
        func rescan() async throws(StorageError) { try await unit.rescan() }

        /// Sets the size of the image's disk.
        func resizeImage(to size: UInt64) async throws(StorageError) {
            guard let image = base as? QCOW2Volume else { return }
            try await image.resize(to: size)
        }

        func close() async throws(StorageError) {
            let wasOpen = phase.withLock { phase in
                guard phase == .open else { return false }
                phase = .closing
                return true
            }
            guard wasOpen else { return }
            defer { phase.withLock { $0 = .closed } }
            var failure: StorageError?
            do throws(StorageError) { try await base.close() } catch { failure = error }
            let leave = leave
            do throws(StorageError) {
                try await uncancelled { () async throws(StorageError) in try await leave() }
            } catch let error {
                failure = failure ?? error
            }
            if let failure { throw failure }
        }
    }

    /// Lets writes through, or none, and says when none is under way.
    final class WriteGate: Sendable {
        private struct State {
            var active = 0
            /// How many want it shut.
            var shutCount = 0
            var waiting: [CheckedContinuation<Void, Never>] = []
            var draining: [CheckedContinuation<Void, Never>] = []
        }

        private let state = Locked(State())

        /// Waits until writes are let through; `leave` must follow.
        func enter() async {
            let isFree = state.withLock { state in
                if state.shutCount > 0 { return false }
                state.active += 1
                return true
            }
            if isFree { return }
            await withCheckedContinuation { continuation in
                let isFree = state.withLock { state in
                    if state.shutCount > 0 {
                        state.waiting.append(continuation)
                        return false
                    }
                    state.active += 1
                    return true
                }
                if isFree { continuation.resume() }
            }
        }

        func leave() {
            let drained = state.withLock { state in
                state.active -= 1
                guard state.active == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { state.draining = [] }
                return state.draining
            }
            for continuation in drained { continuation.resume() }
        }

        /// Lets no write through any more, and returns when none is under way; `open` must follow.
        func shut() async {
            state.withLock { $0.shutCount += 1 }
            await withCheckedContinuation { continuation in
                let isQuiet = state.withLock { state in
                    if state.active == 0 { return true }
                    state.draining.append(continuation)
                    return false
                }
                if isQuiet { continuation.resume() }
            }
        }

        func open() {
            let waiting = state.withLock { state in
                state.shutCount -= 1
                guard state.shutCount == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { state.waiting = [] }
                state.active += state.waiting.count
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }
    }
#endif
