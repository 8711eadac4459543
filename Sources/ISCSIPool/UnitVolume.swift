#if ISCSI
    import BlockStorage
    import IORuntime
    import QCOW2

    /// A unit that is open, which the pool can have pause its writes, and asks what follows when it is closed.
    final class UnitVolume: ResizableVolume {
        /// The unit itself, or the image on it.
        private let base: any Volume
        let unit: ISCSIVolume
        let gate: WriteGate
        let isImage: Bool
        private let grow: (@Sendable (UInt64) async throws(StorageError) -> Void)?
        private let leave: @Sendable () async throws(StorageError) -> Void
        private enum Phase { case open, closing, closed }

        private let phase = Locked(Phase.open)

        /// `grow` makes the unit larger; nil where that is not for whoever has it open. `leave` is called once, after
        /// the session has ended. A write waits for a copy that is being made no longer than `deadline`.
        init(
            _ base: any Volume, on unit: ISCSIVolume, deadline: Duration,
            grow: (@Sendable (UInt64) async throws(StorageError) -> Void)? = nil,
            leave: @escaping @Sendable () async throws(StorageError) -> Void
        ) {
            (self.base, self.unit, self.grow, self.leave) = (base, unit, grow, leave)
            isImage = base is QCOW2Volume
            gate = WriteGate(deadline: deadline)
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
            try await gate.enter(stack)
            defer { gate.leave() }
            try await base.write(bytes, at: offset, options: options)
        }

        func readv(_ vector: IOVector) async throws(StorageError) { try await base.readv(vector) }

        func writev(_ vector: IOVector, options: WriteOptions) async throws(StorageError) {
            try await gate.enter(stack)
            defer { gate.leave() }
            try await base.writev(vector, options: options)
        }

        func flush() async throws(StorageError) { try await base.flush() }

        func discard(_ range: Range<UInt64>) async throws(StorageError) {
            try await gate.enter(stack)
            defer { gate.leave() }
            try await base.discard(range)
        }

        func writeZeroes(_ range: Range<UInt64>, options: ZeroOptions) async throws(StorageError) {
            try await gate.enter(stack)
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

    /// Lets writes through, or none, and says when none is under way. Nobody waits longer than the deadline.
    final class WriteGate: Sendable {
        private struct State {
            var active = 0
            /// How many want it shut.
            var shutCount = 0
        }

        private let state = Locked(State())
        private let deadline: Duration

        init(deadline: Duration) { self.deadline = deadline }

        /// Whether writes are let through.
        var isOpen: Bool { state.withLock { $0.shutCount == 0 } }

        /// Waits until writes are let through; `leave` must follow.
        ///
        /// Throws `timedOut` where that takes too long: nothing was written then.
        func enter(_ place: String) async throws(StorageError) {
            func enters() -> Bool {
                state.withLock { state in
                    if state.shutCount > 0 { return false }
                    state.active += 1
                    return true
                }
            }
            if enters() { return }
            try await wait(
                StorageError(
                    .timedOut, "write", at: place,
                    why: "a copy of the volume is being made, and takes longer than \(deadline)"), until: enters)
        }

        func leave() { state.withLock { $0.active -= 1 } }

        /// Lets no write through any more, and returns when none is under way; `open` must follow.
        ///
        /// Throws `timedOut` where that takes too long. Then writes go on.
        func shut(_ place: String) async throws(StorageError) {
            state.withLock { $0.shutCount += 1 }
            do throws(StorageError) {
                try await wait(
                    StorageError(.timedOut, "copy volume", at: place, why: "writes to it do not come to an end")
                ) {
                    state.withLock { $0.active == 0 }
                }
            } catch {
                open()
                throw error
            }
        }

        func open() { state.withLock { $0.shutCount -= 1 } }

        /// Looks again and again: it is seldom that anybody waits at all.
        private func wait(_ failure: StorageError, until isOver: () -> Bool) async throws(StorageError) {
            let end = ContinuousClock.now + deadline
            var pause = 1
            while !isOver() {
                if Task.isCancelled { throw StorageError(.cancelled, failure.what, at: failure.place) }
                guard ContinuousClock.now < end else { throw failure }
                await IOExecutor.sleep(for: .milliseconds(pause))
                pause = min(2 * pause, 16)
            }
        }
    }
#endif
