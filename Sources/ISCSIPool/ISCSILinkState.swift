#if ISCSI
    import BlockStorage
    import IORuntime

    /// Where the commands of one unit are, and what becomes of those that come back.
    @safe
    struct ISCSILinkState {
        var session: ISCSISession?
        /// For a session, or for one of those in flight to end; the first is sent first.
        private var waiting: [ISCSICommand] = []
        /// For the target to be less busy.
        private var delayed: [ISCSICommand] = []
        /// How many commands the target takes at once, as far as is known.
        private var limit: Int
        private let largestLimit: Int
        /// Commands that were done since the target last had too many.
        private var doneSinceFull = 0
        /// A task makes sessions, and has what comes for them received.
        private var isDriven = false
        /// Commands are queued that were not sent yet, and somebody will.
        private var isPushDue = false
        private var isPushPlanned = false
        /// A task waits until the socket takes more.
        private var isSending = false
        /// A task looks for what is late.
        private var isWatched = false
        /// A task waits for the target to be less busy.
        private var isDelayTimed = false
        /// A task sees to it that no answer waits long for others.
        private var isModerationWatched = false
        private(set) var isClosed = false
        /// Changes may be left over from an earlier session.
        var needsReset = false
        /// Why no commands are taken any more.
        private var fence: StorageError?
        /// The unit is ours alone, by a reservation.
        private let isExclusive: Bool
        /// The unit has said something after which it must be looked at again, by a new session.
        private var mustLook = false
        /// The session there is, or was last, has done a command.
        private(set) var isProven = false
        /// The session was ended because it left something unanswered: another portal may be better.
        private(set) var wasLate = false
        /// Nobody has asked for anything yet, but the target may.
        private var isIdleServed = false
        /// Why no command was done since the last one was.
        var trouble: StorageError?
        /// The unit has said that its size or more has changed.
        private var hasChanged = false
        /// Who waits for the end of the last command.
        private var idleWaiters: [UnsafeContinuation<Void, Never>] = unsafe []

        /// How long a busy target is left alone.
        static let delay = Duration.milliseconds(20)
        /// Whoever is put off more often waits so long, whatever the reason.
        private static let largestRefusalCount = 8

        init(_ session: ISCSISession, limit: Int, isExclusive: Bool) {
            (self.session, self.limit, largestLimit, self.isExclusive) = (session, limit, limit, isExclusive)
        }

        /// There will be no session any more.
        var isOver: Bool { isClosed || fence != nil }

        /// Commands that the target has.
        private var inFlightCount: Int { session?.commandCount ?? 0 }

        var hasCommands: Bool { inFlightCount > 0 || !waiting.isEmpty || !delayed.isEmpty }

        /// Tasks that are to be started.
        struct Needs {
            /// One that makes sessions, and has what comes for them received.
            var driver = false
            /// Somebody calls `push` when all that is runnable has added its commands.
            var push = false
            /// One that sends what the socket of a session did not take.
            var sender: ISCSISession?
            /// One that ends the wait for what is late.
            var watch = false
            /// One that calls `endDelay` after `delay`.
            var delay = false
            /// One that calls `lookForStillness` every `ISCSIModeration.interval`.
            var moderation = false
            /// One that looks at the unit again.
            var change = false

            var hasTasks: Bool { driver || sender != nil || watch || delay || moderation || change }
            var isEmpty: Bool { !push && !hasTasks }
        }

        /// What is needed since the last call.
        mutating func takeNeeds() -> Needs {
            var needs = Needs()
            if !isDriven, hasCommands || isIdleServed && session != nil { (isDriven, needs.driver) = (true, true) }
            if isPushDue, !isPushPlanned { (isPushPlanned, needs.push) = (true, true) }
            if !isSending, !isPushPlanned, let session, session.wantsToSend {
                (isSending, needs.sender) = (true, session)
            }
            if !isWatched, hasCommands { (isWatched, needs.watch) = (true, true) }
            if !isDelayTimed, !delayed.isEmpty { (isDelayTimed, needs.delay) = (true, true) }
            if !isModerationWatched, session?.isModerated == true {
                (isModerationWatched, needs.moderation) = (true, true)
            }
            if hasChanged { (hasChanged, needs.change) = (false, true) }
            return needs
        }

        /// Sends a command, or lets it wait.
        mutating func add(_ command: ISCSICommand) {
            if isClosed { return command.finish(.closed) }
            if let fence { return command.finish(.fenced(fence)) }
            guard waiting.isEmpty, let session, session.commandCount < limit, session.queue(command) else {
                return waiting.append(command)
            }
            isPushDue = true
        }

        /// From now on the session is served also while there are no commands.
        mutating func serveIdle() { isIdleServed = true }

        /// Takes a session over.
        mutating func begin(_ session: ISCSISession) {
            (self.session, isSending, isProven, wasLate) = (session, false, false, false)
            sendWaiting()
        }

        /// Sends what waits, as much as the target takes.
        mutating func sendWaiting() {
            guard let session, !waiting.isEmpty else { return }
            var sent = 0
            while sent < waiting.count, session.commandCount < limit, session.queue(waiting[sent]) { sent += 1 }
            if sent == 0 { return }
            waiting.removeFirst(sent)
            isPushDue = true
        }

        /// Lets the session send.
        mutating func push() {
            (isPushDue, isPushPlanned) = (false, false)
            serve { $0.send() }
        }

        /// Sends what the socket of `session` did not take before. True when nothing is left of it.
        mutating func sendMore(_ session: ISCSISession) -> Bool {
            guard self.session === session else { return true }
            push()
            isSending = self.session?.wantsToSend == true
            return !isSending
        }

        /// Lets a session receive, answer what that asks for, and take more commands; `handler` hears of what comes
        /// next. False when there is nothing to wait for any more: it is not this link's session.
        mutating func receive(
            _ count: Int?, from session: ISCSISession, then handler: any IOCompletionHandler
        ) -> Bool {
            guard self.session === session else { return false }
            serve { $0.receive(count) }
            if session.wantsToSend { isPushDue = true }
            sendWaiting()
            guard self.session === session else { return false }
            session.wait(then: handler)
            return true
        }

        /// Ends a wait for several answers that do not come. False when there is no such wait any more.
        mutating func lookForStillness() -> Bool {
            session?.lookForStillness()
            isModerationWatched = session?.isModerated == true
            return isModerationWatched
        }

        private mutating func serve(_ body: (ISCSISession) -> Bool) {
            guard let session else { return }
            var isAlive = body(session)
            session.takeReturned { command in
                switch command.outcome {
                case .good(let missing)?:
                    (isProven, trouble) = (true, nil)
                    doneSinceFull += 1
                    command.finish(.good(missing: missing))
                case .refused(let status)?: settle(command, status)
                default:
                    isAlive = false
                    requeue(command)
                }
            }
            if !isAlive || mustLook { lose() }
            wakeIfIdle()
            // The target may have more room than it had once.
            if limit < largestLimit, doneSinceFull >= 4 * limit { (limit, doneSinceFull) = (limit + 1, 0) }
        }

        /// Decides about a command that the target did not do.
        private mutating func settle(_ command: ISCSICommand, _ status: SCSIStatus) {
            if status.changesGeometry { hasChanged = true }
            if isExclusive, status.code == SCSIStatus.reservationConflict {
                // Whoever has taken it may have given it up again before the next command: that must not be done.
                fence(
                    fence ?? StorageError(.fenced, "use volume", why: "another initiator has taken the unit over"))
            }
            if let fence { return command.finish(.fenced(fence)) }
            if status.remedy == .againAfterLook || isExclusive && status.changesReservations { mustLook = true }
            // One that was aborted may have been done before.
            if status.mayHaveBeenDone, !command.request.isRepeatable { return command.finish(.lost) }
            if status.remedy != .none, command.isCancelled { return command.finish(.cancelled) }
            if status.remedy == .none { return command.finish(.refused(status)) }
            if status.remedy == .againWithFewer { (limit, doneSinceFull) = (max(1, min(limit, inFlightCount)), 0) }
            command.reset()
            command.refusalCount += 1
            // A target that always has something to say is not asked as fast as it answers.
            if [.again, .againAfterLook].contains(status.remedy), command.refusalCount <= Self.largestRefusalCount {
                waiting.insert(command, at: 0)
            } else {
                command.refusal = status
                delayed.append(command)
            }
        }

        /// A command whose session is lost: the target may have done it.
        private mutating func requeue(_ command: ISCSICommand) {
            if command.request.isChange { needsReset = true }
            command.isUncertain = true
            if let fence { return command.finish(.fenced(fence)) }
            guard command.request.isRepeatable else { return command.finish(.lost) }
            if command.isCancelled { return command.finish(.cancelled) }
            command.reset()
            waiting.insert(command, at: 0)
        }

        /// Ends the session: the target has no command any more that counts, and no memory of one is used.
        mutating func lose() {
            defer { mustLook = false }
            guard let lost = session else { return }
            session = nil
            trouble = lost.objection ?? trouble ?? lost.failure(.connectionLost, "use session")
            for command in lost.end().reversed() { requeue(command) }
        }

        /// Ends the wait for what is late or cancelled. True when there are no commands any more.
        mutating func expire(_ now: UInt64) -> Bool {
            // A target that has nothing to do, and takes nothing, is as good as gone.
            let isStuck = session?.commandCount == 0 && waiting.contains { $0.due <= now }
            waiting.removeAll { Self.isOver($0, now) }
            delayed.removeAll { Self.isOver($0, now) }
            if isStuck || session?.isLate(now) == true {
                wasLate = true
                // What the target does not answer in time is taken back, and everything else sent again.
                trouble =
                    trouble ?? StorageError(.timedOut, "use session", why: "the target has not answered a command")
                lose()
                waiting.removeAll { Self.isOver($0, now) }
            } else {
                // What the session did not take once.
                sendWaiting()
            }
            wakeIfIdle()
            isWatched = hasCommands
            return !isWatched
        }

        /// Whether nobody needs to wait for a command any more; then it is finished.
        private static func isOver(_ command: ISCSICommand, _ now: UInt64) -> Bool {
            if command.isCancelled {
                command.finish(.cancelled)
            } else if command.due <= now {
                command.finish(command.refusal.map { .refused($0) } ?? .late)
            } else {
                return false
            }
            return true
        }

        /// Sends again what was delayed.
        mutating func endDelay() {
            isDelayTimed = false
            waiting.append(contentsOf: delayed)
            delayed = []
            sendWaiting()
        }

        /// Takes no more commands because somebody else has the unit.
        mutating func fence(_ error: StorageError) {
            fence = error
            for command in waiting + delayed { command.finish(.fenced(error)) }
            (waiting, delayed) = ([], [])
            wakeIfIdle()
        }

        /// Takes no more commands, and gives the session away.
        mutating func close() -> ISCSISession? {
            isClosed = true
            if hasCommands { lose() }
            for command in waiting + delayed { command.finish(.closed) }
            (waiting, delayed) = ([], [])
            defer { session = nil }
            return session
        }

        /// Lets `waiter` go on when there are no commands.
        mutating func wait(_ waiter: UnsafeContinuation<Void, Never>) {
            unsafe idleWaiters.append(waiter)
            wakeIfIdle()
        }

        private mutating func wakeIfIdle() {
            guard unsafe !idleWaiters.isEmpty, !hasCommands else { return }
            unsafe idleWaiters.forEach { unsafe $0.resume() }
            unsafe idleWaiters = []
        }
    }
#endif
