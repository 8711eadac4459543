#if ISCSI
    import BlockStorage
    import Glibc
    import IORuntime
    import SystemPackage

    /// The way to one logical unit that outlives its sessions.
    ///
    /// Commands go to the session there is, up to a number that the target takes at once; the others wait. When the
    /// session is lost they come back, and go to the next one, until their deadlines. Anyone may ask from any task; one
    /// task makes sessions, and what comes is received on the executor of who asks first.
    ///
    /// What a lost session had of changes may still happen at a target that is slow to notice, and must not fall on
    /// newer bytes: before anything else is sent, the unit is reset, which ends every command it has.
    @safe
    final class ISCSILink: Sendable, IOTurnHandler {
        let login: ISCSILogin
        let deadline: IODeadline
        /// Called for each later session before commands go to it, and when the unit says that it has changed.
        private let prepare: @Sendable (ISCSISession, _ needsReset: Bool) async throws(StorageError) -> Void
        private let changed: @Sendable (ISCSILink) async -> Void
        private let state: Locked<ISCSILinkState>
        private let driver = Locked<Task<Void, Never>?>(nil)

        /// Takes a session over that is ready for commands. At most `depth` commands are at the target at once. Whoever
        /// uses the unit alone is fenced for good by a reservation conflict.
        init(
            _ session: ISCSISession, _ login: ISCSILogin, depth: Int, isExclusive: Bool,
            prepare: @escaping @Sendable (ISCSISession, Bool) async throws(StorageError) -> Void,
            changed: @escaping @Sendable (ISCSILink) async -> Void
        ) {
            (self.login, deadline, self.prepare, self.changed) = (login, login.deadline, prepare, changed)
            state = Locked(ISCSILinkState(session, limit: depth, isExclusive: isExclusive))
            // Whoever asks first decides where the session is served; one that nobody asks is served all the same. No
            // weak reference: after one, counting any reference takes much longer.
            Task.detached(executorPreference: IOExecutorGroup.shared.next()) { [self] in
                await IOExecutor.sleep(for: .seconds(1))
                change { $0.serveIdle() }
            }
        }

        // MARK: - For those who ask

        /// A command with the link's deadline, to which memory is added and which is then started.
        func command(_ request: SCSICommand) -> ISCSICommand { ISCSICommand(request, due: deadline.due) }

        /// Does a command: sends it, or lets it wait. Its memory belongs to it until this returns.
        ///
        /// A cancelled task's command ends soon unless the target has it; then it is waited for.
        func perform(_ command: ISCSICommand) async -> ISCSICommand.Outcome {
            unsafe await withUnsafeContinuation { continuation in
                unsafe command.continuation = continuation
                start(command)
            }
            return command.outcome ?? .lost
        }

        /// As `perform`, without waiting: `outcome` does, and must be called by the same task.
        func start(_ command: ISCSICommand) {
            command.asker = .current
            if Task.isCancelled { command.finish(.cancelled) } else { change { $0.add(command) } }
        }

        func outcome(of command: ISCSICommand) async -> ISCSICommand.Outcome {
            unsafe await withUnsafeContinuation { continuation in
                let isDone = state.withLock { _ in
                    if command.outcome != nil { return true }
                    unsafe command.continuation = continuation
                    return false
                }
                if isDone { unsafe continuation.resume() }
            }
            return command.outcome ?? .lost
        }

        /// Why there is no session, or none that has done anything; nil while there is one.
        var trouble: StorageError? { state.withLock { $0.trouble } }

        /// Whether each answer is taken alone for a while: see `ISCSIModeration`.
        var isModerationPaused: Bool { state.withLock { $0.session?.isModerationPaused == true } }

        /// Ends the session as a network does that fails.
        func breakSession() { change { $0.lose() } }

        /// Ends the session when everything is back, or late.
        func close() async {
            await unsafe withUnsafeContinuation { continuation in
                state.withLock { unsafe $0.wait(continuation) }
            }
            let session = state.withLock { $0.close() }
            if let session { await login.end(session) }
            let task = driver.withLock { task in
                defer { task = nil }
                return task
            }
            task?.cancel()
            await task?.value
        }

        // MARK: - Tasks

        /// Changes the state, and starts the tasks that it then needs.
        private func change<Result>(_ body: (inout ISCSILinkState) -> Result) -> Result {
            let (result, needs) = state.withLock { state in (body(&state), state.takeNeeds()) }
            if !needs.isEmpty { meet(needs) }
            return result
        }

        private func meet(_ needs: ISCSILinkState.Needs) {
            if needs.push, !IOExecutor.atEndOfTurn(self) { endTurn() }
            guard needs.hasTasks else { return }
            let executor = IOExecutor.current ?? IOExecutorGroup.shared.next()
            if needs.driver {
                let task = Task.detached(executorPreference: executor) { [self] in await run() }
                driver.withLock { $0 = task }
            }
            if let session = needs.sender {
                Task.detached(executorPreference: executor) { [self] in await send(session) }
            }
            if needs.watch { Task.detached(executorPreference: executor) { [self] in await watch() } }
            if needs.delay {
                Task.detached(executorPreference: executor) { [self] in
                    await IOExecutor.sleep(for: ISCSILinkState.delay)
                    change { $0.endDelay() }
                }
            }
            if needs.moderation {
                Task.detached(executorPreference: executor) { [self] in
                    repeat {
                        await IOExecutor.sleep(for: ISCSIModeration.interval)
                    } while change { $0.lookForStillness() }
                }
            }
            if needs.change { Task.detached(executorPreference: executor) { [self] in await changed(self) } }
        }

        /// Sends what this turn has queued.
        func endTurn() { change { $0.push() } }

        /// Receives from the session, and makes another when it is lost, until the link is closed.
        private func run() async {
            var failures = 0
            // A session that is lost is followed by one of the next portal: who fell silent would be asked in vain.
            var turn = 0
            // Somebody answers who does not let us in.
            var isRefused = false
            func serve(_ session: ISCSISession) async {
                await receive(session)
                turn = session.turn + 1
                // A target that takes sessions but no command is left alone as one that takes none. Nor is one by which
                // something was late asked again at once.
                failures = state.withLock { $0.isProven && !$0.wasLate } ? 0 : failures + 1
            }
            if let first = state.withLock({ $0.session }) {
                await serve(first)
                // Nobody may have asked it for anything yet.
                if !state.withLock({ $0.wasLate }) { failures = 0 }
            }
            while !state.withLock({ $0.isOver }) {
                let needsReset = state.withLock { $0.needsReset }
                do throws(StorageError) {
                    if isRefused { await login.remind() }
                    let session = try await login.session(turn) { (session) async throws(StorageError) in
                        try await self.prepare(session, needsReset)
                    }
                    let isWanted = change { state in
                        guard !state.isOver else { return false }
                        if needsReset { state.needsReset = false }
                        state.begin(session)
                        return true
                    }
                    guard isWanted else {
                        session.end()
                        return
                    }
                    isRefused = false
                    await serve(session)
                    if failures > 0 { await IOExecutor.sleep(for: login.backoff(after: failures)) }
                } catch {
                    if error.code == .fenced { return change { $0.fence(error) } }
                    state.withLock { $0.trouble = error }
                    isRefused = ![.connectionLost, .timedOut].contains(error.code)
                    turn += 1
                    failures += 1
                    await IOExecutor.sleep(for: login.backoff(after: failures))
                }
            }
        }

        /// Receives from a session until it is not this link's any more.
        private func receive(_ session: ISCSISession) async {
            unsafe await withUnsafeContinuation { continuation in
                // What came behind the last answer of the login is there.
                receive(nil, by: unsafe Receiver(self, session, continuation))
            }
        }

        private func receive(_ count: Int?, by receiver: Receiver) {
            if !change({ $0.receive(count, from: receiver.session, then: receiver) }) {
                unsafe receiver.continuation.resume()
            }
        }

        /// Hears what comes for a session.
        @safe
        private final class Receiver: IOCompletionHandler {
            private let link: ISCSILink
            let session: ISCSISession
            /// Who waits for the end.
            let continuation: UnsafeContinuation<Void, Never>

            init(_ link: ISCSILink, _ session: ISCSISession, _ continuation: UnsafeContinuation<Void, Never>) {
                (self.link, self.session) = (link, session)
                unsafe self.continuation = continuation
            }

            func complete(_ result: Int) { link.receive(result, by: self) }
        }

        /// Sends what the socket did not take at once.
        private func send(_ session: ISCSISession) async {
            while true {
                guard (try? await IOExecutor.ready(session.descriptor, for: POLLOUT)) != nil else { return }
                if change({ $0.sendMore(session) }) { return }
            }
        }

        /// Ends the wait for what is late or cancelled, as long as there are commands.
        private func watch() async {
            let interval = min(max(deadline.limit / 16, .milliseconds(5)), .milliseconds(50))
            while true {
                await IOExecutor.sleep(for: interval)
                if change({ $0.expire(MonotonicTime.nanoseconds()) }) { return }
            }
        }
    }
#endif
